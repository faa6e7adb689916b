"""Random arguments and inputs: every call keeps the promises of its separator, or raises a ValueError."""

import random

import pytest
import torch
from contract.cases import CASES

from torchsep import build

CALLS = 3000
PARTS = 30  # run in parallel

OPTIONS = {
    "mask_type": ("soft", "binary"),
    "mask_threshold": (0.0, 0.3, 0.5, 1.0),
    "seed": (0, 1, 12345),
    "percentile": (0.0, 50.0, 90.0, 99.9),
    "beta": (0.0, 1.0, 2.0, 50.0),
    "num_sources": (2, 3, 5),
    "clustering_type": ("kmeans", "minibatch_kmeans", "gaussian_mixture"),
    "covariance_type": ("full", "tied", "diag", "spherical"),
    "n_components": (2, 3, 7),
    "n_mfcc": (2, 13, 40),
    "beta_loss": ("kullback_leibler", "itakura_saito", "frobenius", 0.5, 1.5),
    "max_iter": (1, 2, 7),
    "high_pass_cutoff_hz": (0.0, 100.0, 5000.0),
    "kernel_size": (1, 2, 5, (3, 8)),
    "power": (0.5, 1.0, 2.0, 20.0),
    "algorithm": ("parallel", "deflation"),
    "fun": ("logcosh", "exp", "cube"),
    "prediction_order": (0, 1, 5),
    "min_period": (0.002, 0.01),
    "num_iterations": (1, 2),
    "alpha": (0.5, 1.0, 2.0),
    "max_delay": (0.0, 0.001, 1.0),
    "stft": tuple(
        {"name": "stft", "n_fft": n_fft, "hop_length": hop} for n_fft, hop in ((2, 1), (16, 4), (64, 16), (63, 20))
    ),
}
LEVELS = (1e-45, 1e-39, 1e-30, 1e-10, 1e-3, 1.0, 1.0, 1.0, 3e4, 1e12, 1e30)


def drawn_arguments(case, chance):
    arguments = dict(case.arguments)
    known = case.build().arguments()
    for name, values in OPTIONS.items():
        if name in known and name not in {"separators", "network"} and chance.random() < 0.3:
            arguments[name] = chance.choice(values)
    return arguments


def drawn_signal(shape, chance, generator):
    """Noise, tones, clicks, steps or a constant, of any level in each channel and memory layout."""
    *_, length = shape
    kind = chance.choice(("noise", "noise", "tone", "click", "constant", "half", "equal"))
    signal = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "tone":
        signal = signal[..., :1] * torch.sin(chance.random() * torch.arange(length, dtype=torch.float64))
    elif kind == "click":
        signal = torch.nn.functional.pad(signal[..., :1], (chance.randrange(length), 0))
        signal = torch.nn.functional.pad(signal, (0, length))[..., :length]
    elif kind == "constant":
        signal = signal[..., :1].expand(shape).clone()
    elif kind == "half":
        signal[..., : length // 2] = 0.0
    elif kind == "equal":
        signal = signal[..., :1, :].expand(shape).clone()
    if chance.random() < 0.3:
        signal[..., 0, :] *= chance.choice((0.0, 1e-42, 1e-20, 1e-4))
    return signal


def laid_out(tensor, chance):
    layout = chance.choice(("plain", "transposed", "strided"))
    if layout == "transposed":
        return tensor.mT.contiguous().mT
    return torch.stack((tensor, tensor), -1)[..., 0] if layout == "strided" else tensor


def drawn_inputs(case, chance):
    generator = torch.Generator().manual_seed(chance.randrange(1 << 30))
    channels = case.channels or chance.choice((1, 2, 2, 3))
    length = chance.choice((1, 2, 17, 63, 64, 200, 401))
    shape = (chance.choice((1, 1, 2, 3)), case.num_sources, channels, length)
    dtype = chance.choice((torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16))
    level = chance.choice(LEVELS) if dtype != torch.float16 else 1.0
    sources = (level * drawn_signal(shape, chance, generator)).to(dtype)
    mixture = laid_out(sources.double().sum(1).to(dtype), chance)
    return mixture, {name: laid_out(sources, chance) for name in case.requires}, level


def check(separator, mixture, required):
    before = [tensor.clone() for tensor in (mixture, *required.values())]
    estimates = separator(mixture, **required)
    assert estimates.dtype == mixture.dtype, "dtype"
    assert estimates.shape[0] == len(mixture), "items"
    assert estimates.shape[-1] == mixture.shape[-1], "samples"
    assert estimates.isfinite().all(), "finite"
    assert torch.equal(estimates, separator(mixture, **required)), "same twice"
    for tensor, copy in zip((mixture, *required.values()), before, strict=True):
        assert torch.equal(tensor, copy), "inputs are unchanged"
    if separator.conservative and mixture.dtype.itemsize >= 4:
        peak = max(tensor.abs().max().item() for tensor in before)
        error = (estimates.double().sum(1) - mixture.double()).abs().max().item()
        smallest = torch.finfo(mixture.dtype).smallest_normal * torch.finfo(mixture.dtype).eps
        assert error <= 1e-4 * peak + 10 * smallest, f"sum to the mixture, off by {error:.3g} of {peak:.3g}"


def fuzz(seed, calls):
    """The descriptions of calls that break a promise, and the number of calls that are refused."""
    chance, broken, refused = random.Random(seed), [], 0  # noqa: S311 - for tests
    for number in range(calls):
        case = chance.choice(CASES)
        arguments = drawn_arguments(case, chance)
        mixture, required, level = drawn_inputs(case, chance)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                separator = build(case.name, **arguments).eval()
            with torch.no_grad():
                check(separator, mixture, required)
        except ValueError:
            refused += 1
        except Exception as error:  # noqa: BLE001 - whatever else is raised is what is looked for
            shape = f"{tuple(mixture.shape)} {mixture.dtype} at {level:g}"
            broken.append(f"seed {seed}, call {number}: {case} {arguments} {shape}: {type(error).__name__}: {error}")
    return broken, refused


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(PARTS))
def test_random_calls_keep_the_promises(seed):
    calls = CALLS // PARTS
    broken, refused = fuzz(seed, calls)
    assert not broken, "\n".join(broken)
    assert refused < calls / 2
