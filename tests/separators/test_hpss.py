"""HPSS against librosa, on a synthetic scene, and its parameters."""

import librosa
import numpy as np
import pytest
import torch
from scenes import improvement, noise, tones_and_clicks

from torchsep.functional import hpss_masks
from torchsep.separators import HPSS
from torchsep.transforms import STFT


def power_of_a_scene():
    sources, rate = tones_and_clicks()
    return STFT.from_sample_rate(rate)(sources.sum((0, 1))).abs()


@pytest.mark.parametrize("magnitude", [noise(70, 90).abs(), power_of_a_scene()], ids=["noise", "scene"])
@pytest.mark.parametrize("kernel_size", [(31, 31), (17, 9), (8, 20), (1, 5)])
@pytest.mark.parametrize("power", [1.0, 2.0, 5.0])
def test_masks_are_those_of_librosa(magnitude, kernel_size, power):
    expected = librosa.decompose.hpss(magnitude.numpy(), kernel_size=kernel_size, power=power, mask=True)
    for ours, theirs in zip(hpss_masks(magnitude, kernel_size, power), expected, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-12
    single = hpss_masks(magnitude.float(), kernel_size, power)
    for ours, theirs in zip(single, expected, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-5


@pytest.mark.parametrize("margin", [(1.5, 1.5), (1.0, 3.0), (4.0, 1.2)])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_masks_with_a_residual_are_those_of_librosa(margin, power):
    magnitude = noise(70, 90).abs()
    magnitude[:, 20:60] = 0.0
    expected = librosa.decompose.hpss(magnitude.numpy(), kernel_size=(11, 15), power=power, mask=True, margin=margin)
    harmonic, percussive, residual = hpss_masks(magnitude, (11, 15), power, margin)
    assert np.abs(harmonic.numpy() - expected[0]).max() < 1e-12
    assert np.abs(percussive.numpy() - expected[1]).max() < 1e-12
    assert torch.allclose(harmonic + percussive + residual, torch.ones(70, 90, dtype=torch.float64), rtol=0, atol=1e-15)
    assert residual.min() >= 0


def test_the_whole_separation_is_that_of_librosa():
    sources, rate = tones_and_clicks()
    mixture = sources.sum(0)
    separator = HPSS((31, 17), 2.0, sample_rate=rate, stft=STFT(256, 64, "hann"))
    masks = separator.masks(separator.stft(mixture[None]))
    spectrogram = librosa.stft(mixture[0].numpy(), n_fft=256, hop_length=64, window="hann", pad_mode="constant")
    expected = librosa.decompose.hpss(spectrogram, kernel_size=(31, 17), mask=True)
    for ours, theirs in zip(masks[0, :, 0], expected, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-6
    estimates = separator(mixture)
    again = separator.stft.inverse(separator.stft(mixture) * torch.from_numpy(expected[0]), mixture.shape[-1])
    assert torch.allclose(estimates[0], again, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
def test_tones_and_clicks_are_separated(mask_type):
    sources, rate = tones_and_clicks()
    estimates = HPSS(sample_rate=rate, mask_type=mask_type)(sources.sum(0))
    assert improvement(estimates, sources) > 15


def test_a_residual_takes_what_is_neither():
    sources, rate = tones_and_clicks()
    hiss = 0.3 * noise(*sources.shape[1:], seed=5)
    mixture = (sources.sum(0) + hiss)[None]
    shares = []
    for margin in (1.5, 3.0, 6.0):
        estimates = HPSS(margin=margin, sample_rate=rate)(mixture)
        assert estimates.shape == (1, 3, *mixture.shape[1:])
        assert torch.allclose(estimates.sum(1), mixture, rtol=0, atol=1e-10)
        shares.append(estimates[0, 2].square().mean().item())
    assert shares == sorted(shares)
    residual = HPSS(margin=2.0, sample_rate=rate)(mixture)[0, 2]
    alike = torch.nn.functional.cosine_similarity(residual, hiss, dim=-1).item()
    assert alike > 0.8 > abs(torch.nn.functional.cosine_similarity(residual, sources[0], dim=-1).item())


@pytest.mark.parametrize(
    ("margin", "names"),
    [
        (1.0, ("harmonic", "percussive")),
        (1, ("harmonic", "percussive")),
        ([1.0, 1.0], ("harmonic", "percussive")),
        (1.5, ("harmonic", "percussive", "residual")),
        ((1.0, 2.0), ("harmonic", "percussive", "residual")),
    ],
)
def test_names_follow_the_margin(margin, names):
    separator = HPSS(margin=margin, sample_rate=8000)
    assert separator.names == names
    assert separator(noise(4, 1, 300)).shape == (4, len(names), 1, 300)


def test_the_pair_is_harmonic_first():
    magnitude = noise(5, 3, 40, 50).abs()
    spectrogram = magnitude + 0j
    separator = HPSS((3, 21), 2.0, (1.5, 4.0), sample_rate=8000)
    masks = separator.masks(spectrogram)
    harmonic = librosa.util.softmask(
        *(
            scale * torch.stack([channel for item in filtered for channel in item]).numpy()
            for scale, filtered in (
                (1.0, [[median(c, 3, 1) for c in item] for item in magnitude]),
                (1.5, [[median(c, 21, 0) for c in item] for item in magnitude]),
            )
        ),
        power=2.0,
    )
    assert np.abs(masks[:, 0].flatten(0, 1).numpy() - harmonic).max() < 1e-12


def median(x, size, dim):
    """A median by NumPy, with the edge repeated as in a mirror."""
    width = [(size // 2, size // 2) if axis == dim else (0, 0) for axis in range(2)]
    padded = np.pad(x.numpy(), width, mode="symmetric")
    return torch.from_numpy(np.median(np.lib.stride_tricks.sliding_window_view(padded, size, axis=dim), axis=-1))


def test_a_large_power_is_nearly_binary():
    spectrogram = noise(2, 3, 40, 50) + 0j
    sure = []
    for power in (0.5, 1.0, 2.0, 8.0, 64.0):
        mask = HPSS(9, power, sample_rate=8000).masks(spectrogram)[:, 0]
        sure.append((mask - 0.5).abs().mean().item())
    assert sure == sorted(sure)
    assert sure[-1] > 0.45
    assert torch.equal(HPSS(9, 0.0, sample_rate=8000).masks(spectrogram), torch.full((2, 2, 3, 40, 50), 0.5).double())


def test_the_threshold_is_of_the_percussive_mask():
    spectrogram = noise(2, 3, 40, 50) + 0j
    soft = HPSS(9, sample_rate=8000).masks(spectrogram)
    for threshold in (0.2, 0.5, 0.9):
        hard = HPSS(9, sample_rate=8000, mask_type="binary", mask_threshold=threshold).final_masks(spectrogram)
        assert torch.equal(hard[:, 1], (soft[:, 1] > threshold).double())
        assert torch.equal(hard.sum(1), torch.ones(2, 3, 40, 50, dtype=torch.float64))


def test_power_is_learned():
    mixture = noise(1, 1, 1500).float()
    target = HPSS(9, 4.0, sample_rate=8000)(mixture)
    separator = HPSS(9, 1.0, sample_rate=8000, trainable=("power",))
    optimizer = torch.optim.Adam(separator.parameters(), lr=0.2)
    losses = []
    for _ in range(80):
        loss = (separator(mixture) - target).square().sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.01 * losses[0]
    assert separator.power.item() == pytest.approx(4.0, abs=0.2)
    assert separator.config["power"] == pytest.approx(separator.power.item())


@pytest.mark.parametrize("margin", [2.0, (1.5, 3.0)])
def test_margin_is_learned(margin):
    mixture = noise(2, 1, 1500).float()
    separator = HPSS(9, margin=margin, sample_rate=8000, trainable=("margin", "power"))
    assert {name for name, _ in separator.named_parameters()} == {"free_margin", "free_power"}
    plain = HPSS(9, margin=margin, sample_rate=8000)(mixture)
    assert torch.allclose(separator(mixture), plain, rtol=0, atol=1e-5)
    separator(mixture)[:, 2].square().sum().backward()
    assert (separator.free_margin.grad > 0).all()  # a larger margin leaves more residual


def test_gradient_into_the_mixture_is_that_of_finite_differences():
    separator = HPSS((5, 3), 1.5, sample_rate=8000, stft=STFT(8, 3, "hamming"), trainable=("power",)).double()
    mixture = noise(2, 1, 25).requires_grad_()
    assert torch.autograd.gradcheck(separator, mixture)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 3.0}, r"kernel_size must be an integer, got 3\.0"),
        ({"kernel_size": (3, 0)}, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": (3, 5, 7)}, r"kernel_size must be one value or a pair, got \(3, 5, 7\)"),
        ({"power": -1.0}, r"power must be at least 0, got -1\.0"),
        ({"power": float("nan")}, "power must be finite, got nan"),
        ({"power": (1.0, 2.0)}, r"power must be a number, got \(1\.0, 2\.0\)"),
        ({"power": "2"}, "power must be a number, got '2'"),
        ({"margin": 0.9}, r"margin must be at least 1, got 0\.9"),
        ({"margin": (2.0, 0.5)}, r"margin must be at least 1, got 0\.5"),
        ({"margin": (2.0, 2.0, 2.0)}, "margin must be one value or a pair"),
        ({"margin": 1.0, "trainable": ("margin",)}, r"margin must be above 1 to be trainable, got 1\.0"),
        ({"margin": (1.0, 2.0), "trainable": ("margin",)}, "margin must be above 1 to be trainable"),
        ({"power": 0.0, "trainable": ("power",)}, r"power must be above 0 to be trainable, got 0\.0"),
        ({"trainable": ("kernel_size",)}, "trainable must name parameters out of: power, margin; got 'kernel_size'"),
        ({"trainable": "power"}, "trainable must be a sequence of names, got 'power'"),
        ({"trainable": 5}, "trainable must be a sequence of names, got 5"),
        ({"mask_type": "hard"}, "mask_type must be one of soft, binary, got 'hard'"),
        ({"mask_threshold": 1.5}, r"mask_threshold must be at most 1, got 1\.5"),
        ({"stft": 256}, "stft must be an STFT or None, got 256"),
        ({"sample_rate": 0}, "sample_rate must be at least 1, got 0"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        HPSS(**{"sample_rate": 8000, **arguments})
