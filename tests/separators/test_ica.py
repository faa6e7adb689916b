"""ICA against scikit-learn, and on known mixing matrices."""

import numpy as np
import pytest
import torch
from scenes import noise
from sklearn.decomposition import FastICA

from torchsep.functional.ica._newton import CONTRASTS
from torchsep.functional.ica.fastica import independent_rotation
from torchsep.separators.ica import ICA

MIXING = torch.tensor([[1.0, 0.6, -0.3], [0.4, 1.0, 0.5], [-0.2, 0.3, 1.0]], dtype=torch.float64)


def sources(count=3, length=20000):
    """Signals that are peaked, flat and two-valued, all of mean zero and power one."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(2, length, dtype=torch.float64, generator=generator)
    peaked = (uniform[0] - 0.5).sign() * -uniform[1].clamp(min=1e-12).log()
    time = torch.arange(length, dtype=torch.float64)
    signals = torch.stack((peaked, torch.sin(0.3 * time), torch.sin(0.0441 * time + 1).sign()))[:count]
    signals = signals - signals.mean(-1, keepdim=True)
    return signals / signals.square().mean(-1, keepdim=True).sqrt()


def amari(product):
    """How far a matrix is from one with a single element in every row and column: 0 to 1."""
    size = len(product)
    share = product.abs()
    rows, columns = share / share.amax(1, keepdim=True), share / share.amax(0, keepdim=True)
    return ((rows.sum() + columns.sum() - 2 * size) / (2 * size * (size - 1))).item()


@pytest.mark.parametrize("fun", ["logcosh", "exp", "cube"])
@pytest.mark.parametrize("algorithm", ["parallel", "deflation"])
def test_it_agrees_with_the_reference(algorithm, fun):
    mixture = MIXING @ sources()
    peer = FastICA(3, algorithm=algorithm, fun=fun, whiten="unit-variance", random_state=0, max_iter=400)
    peer.fit(mixture.T.numpy())
    separator = ICA(algorithm, fun, prediction_order=0, sample_rate=8000)
    unmixing = separator.unmixing(mixture)
    assert amari(unmixing @ torch.from_numpy(peer.mixing_)) < 0.02
    assert amari(unmixing @ MIXING) < 0.05
    assert amari(separator.unmixing(mixture.float()).double() @ MIXING) < 0.05


def test_prediction_residuals_improve_separation():
    """Signals with a memory are nearer to Gaussian than what drives them."""
    drive = torch.stack((sources(1)[0], sources(1)[0].flip(0), sources(1)[0].roll(7000)))
    signals = torch.zeros_like(drive)
    for number, (one, two) in enumerate([(1.6, -0.8), (0.9, 0.0), (1.2, -0.6)]):
        first = second = torch.zeros(())
        for time, value in enumerate(drive[number]):
            first, second = value + one * first + two * second, first
            signals[number, time] = first
    separators = [ICA(prediction_order=order, sample_rate=8000) for order in (0, 2)]
    plain, left = (amari(separator.unmixing(MIXING @ signals) @ MIXING) for separator in separators)
    assert left < 0.5 * plain


@pytest.mark.parametrize("order", [0, 1, 2, 16])
def test_any_order_unmixes_signals_of_any_length(order):
    separator = ICA(prediction_order=order, sample_rate=8000)
    assert amari(separator.unmixing(MIXING @ sources()) @ MIXING) < 0.05
    for length in (1, 2, 3, 17):
        assert separator(MIXING @ noise(3, length)).isfinite().all()


@pytest.mark.parametrize("algorithm", ["parallel", "deflation"])
def test_all_seeds_converge_to_the_same_result(algorithm):
    mixture = MIXING @ sources()
    first = ICA(algorithm, sample_rate=8000)(mixture)
    for seed in range(1, 5):
        assert torch.allclose(ICA(algorithm, seed=seed, sample_rate=8000)(mixture), first, atol=1e-6)


def test_sources_are_as_loud_as_their_loudest_image():
    signals = sources() * torch.tensor([[0.1], [3.0], [1.0]], dtype=torch.float64)
    estimates = ICA(sample_rate=8000)(MIXING @ signals)
    assert estimates.shape == (3, 1, 20000)
    order = (MIXING * signals.square().mean(-1).sqrt()).square().sum(0).argsort(descending=True)
    assert order.tolist() == [1, 2, 0]
    for estimate, number in zip(estimates[:, 0], order, strict=True):
        loudest = MIXING[:, number].abs().argmax()
        image = MIXING[loudest, number] * signals[number]
        assert (estimate - image).square().mean() < 0.01 * image.square().mean()


def test_the_matrices_belong_to_the_sources():
    mixture = torch.stack((MIXING @ sources(), MIXING.flip(0) @ sources()))
    separator = ICA(sample_rate=8000)
    unmixing, mixing = separator.unmixing(mixture), separator.mixing(mixture)
    assert torch.allclose(unmixing @ mixing, torch.eye(3, dtype=torch.float64).expand(2, 3, 3), atol=1e-9)
    assert torch.allclose(mixing.abs().amax(-2), torch.ones(2, 3, dtype=torch.float64))
    assert torch.allclose(separator(mixture)[:, :, 0], unmixing @ mixture)
    assert torch.allclose(separator.mixing(mixture[1]), mixing[1], atol=1e-9)
    assert separator.unmixing(mixture[0]).shape == (3, 3)


def test_channels_of_any_level():
    mixture = MIXING @ sources()
    level = torch.tensor([[1.0], [1e-6], [1e5]], dtype=torch.float64)
    mixing = ICA(sample_rate=8000).mixing(mixture * level)
    for column in (mixing / level).T:
        assert min(amari_of_columns(column, other) for other in MIXING.T) < 1e-3


def amari_of_columns(first, second):
    return 1 - (first @ second).abs().item() / (first.norm() * second.norm()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("algorithm", ["parallel", "deflation"])
def test_channels_that_depend_on_one_another(algorithm, dtype):
    signal = sources(1).to(dtype)
    twice = torch.cat((signal, 0.5 * signal)).requires_grad_()
    estimates = ICA(algorithm, sample_rate=8000)(twice)
    assert torch.allclose(estimates[0], signal, atol=1e-4)
    assert estimates[1].abs().max() < 1e-4
    estimates.square().sum().backward()
    assert twice.grad.isfinite().all()
    silent = torch.cat((MIXING[:2, :2] @ sources(2), torch.zeros(1, 20000))).to(dtype)
    separator = ICA(algorithm, sample_rate=8000)
    assert torch.allclose(separator(silent)[:2], separator(silent[:2]), atol=1e-4)
    assert separator(silent)[2].abs().max() == 0


@pytest.mark.parametrize("length", [500, 140001])
def test_items_are_independent(length):
    signals = sources(length=length)
    batch = torch.stack((MIXING @ signals, MIXING.T @ signals, MIXING @ signals.flip(0), MIXING.T @ signals)).float()
    batch[1, 0, 100] = torch.inf
    batch[2, 2, -1] = torch.nan
    separator = ICA(sample_rate=8000)
    estimates = separator(batch)
    assert estimates[1:3].isnan().all()
    for item in (0, 3):
        alone = separator(batch[item])
        assert torch.allclose(alone, estimates[item], rtol=0, atol=1e-5 * alone.abs().max().item())


def test_gaussian_channels_give_something_finite():
    generator = torch.Generator().manual_seed(0)
    for seed in range(5):
        mixture = torch.randn(2, 3, 300, generator=generator, requires_grad=True)
        estimates = ICA(seed=seed, sample_rate=8000)(mixture)
        estimates.square().sum().backward()
        assert estimates.isfinite().all()
        assert mixture.grad.isfinite().all()


def test_a_constant_channel_is_silent():
    mixture = torch.cat((MIXING[:2, :2] @ sources(2), torch.full((1, 20000), 0.3))).float()
    assert ICA(sample_rate=8000).mixing(mixture)[2].abs().max() == 0


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("fun", ["logcosh", "exp", "cube"])
@pytest.mark.parametrize("algorithm", ["parallel", "deflation"])
def test_the_gradient_is_exact(algorithm, fun, order):
    mixture = torch.stack((MIXING @ sources(length=60), MIXING.T @ sources(length=60))).requires_grad_()
    separator = ICA(algorithm, fun, prediction_order=order, sample_rate=8000)
    assert torch.autograd.gradcheck(separator, mixture, fast_mode=True)


def test_contrasts_are_derivatives():
    signal = torch.linspace(-30, 30, 1001, dtype=torch.float64, requires_grad=True)
    contrasts = {"logcosh": signal.cosh().log(), "exp": -(-0.5 * signal.square()).exp(), "cube": signal**4 / 4}
    assert contrasts.keys() == CONTRASTS.keys()
    for name, contrast in contrasts.items():
        slope, bend = CONTRASTS[name](signal)
        (expected,) = torch.autograd.grad(contrast.sum(), signal, create_graph=True)
        assert torch.allclose(slope, expected, rtol=1e-12, atol=1e-14)
        (expected,) = torch.autograd.grad(slope.sum(), signal)
        assert torch.allclose(bend, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", [20000, 140001])  # the longer is begun with a part of its samples
def test_the_estimating_equations_hold(length):
    white = sources(2, length)
    root = np.linalg.inv(np.linalg.cholesky(np.cov(white.numpy(), bias=True)))
    white = torch.from_numpy(root) @ white
    turned = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64) @ white
    identity = torch.eye(2, dtype=torch.float64)[None]
    rotation = independent_rotation(turned[None], identity, identity)[0]
    found = rotation @ turned
    slope, bend = found.tanh(), 1 - found.tanh().square()
    moments = slope @ found.T / found.shape[-1]
    signs = (moments.diagonal() - bend.mean(-1)).sign()
    assert abs(signs[0] * moments[0, 1] - signs[1] * moments[1, 0]) < 1e-14


@pytest.mark.parametrize("shape", [(1, 100), (3, 1, 100)])
def test_one_channel_is_refused(shape):
    for call in (ICA(sample_rate=8000), ICA(sample_rate=8000).mixing):
        with pytest.raises(ValueError, match=r"mixture must have at least 2 channels, .* got 1"):
            call(torch.randn(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "serial"}, "algorithm must be one of parallel, deflation, got 'serial'"),
        ({"fun": "tanh"}, "fun must be one of logcosh, exp, cube, got 'tanh'"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tol": 0.0}, r"tol must be above 0, got 0\.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"prediction_order": -1}, "prediction_order must be at least 0, got -1"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        ICA(**arguments, sample_rate=8000)
