"""The filter compared with its definition and with norbert, and edge cases."""

import weakref

import numpy as np
import pytest
import torch
from scenes import noise

from torchsep import STFT
from torchsep.data import music_and_voice
from torchsep.functional._chunks import BlockSize
from torchsep.functional.spatial import wiener
from torchsep.functional.spatial.wiener import multichannel_wiener_filter


def complex_noise(*shape, seed=0):
    return torch.view_as_complex(noise(*shape, 2, seed=seed))


def plain_filter(mixture, estimates, num_iterations, noise=1.5e-10):
    """The filter of one mixture ``(C, F, N)`` as in the paper."""
    floor = noise * np.abs(mixture).max() ** 2
    channels, bins, frames = mixture.shape
    sources = estimates.copy()
    for _ in range(num_iterations):
        power = (np.abs(sources) ** 2).mean(1)
        filtered = np.zeros_like(sources)
        for f in range(bins):
            directions = [
                sum(np.outer(y[:, f, n], y[:, f, n].conj()) for n in range(frames)) / v[f].sum()
                for y, v in zip(sources, power, strict=True)
            ]
            for n in range(frames):
                parts = [v[f, n] * direction for v, direction in zip(power, directions, strict=True)]
                whitened = np.linalg.solve(sum(parts) + floor * np.eye(channels), mixture[:, f, n])
                for source, part in enumerate(parts):
                    filtered[source, :, f, n] = part @ whitened
        sources = filtered
    return sources


@pytest.mark.parametrize("num_iterations", [1, 2, 5])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("sources", [1, 2, 4])
def test_equals_the_definition(sources, channels, num_iterations):
    estimates = complex_noise(3, sources, channels, 3, 6)
    mixture = complex_noise(3, channels, 3, 6, seed=1)
    filtered = multichannel_wiener_filter(mixture, estimates, num_iterations)
    for item in range(3):
        expected = plain_filter(mixture[item].numpy(), estimates[item].numpy(), num_iterations)
        assert np.abs(filtered[item].numpy() - expected).max() < 1e-6 * np.abs(expected).max()
    assert torch.allclose(filtered.sum(1), mixture, rtol=0, atol=1e-13)


@pytest.mark.parametrize("num_iterations", [1, 3])
@pytest.mark.parametrize("sources", [2, 3, 4])
def test_it_agrees_with_norbert(sources, num_iterations):
    norbert = pytest.importorskip("norbert")
    music = [torch.stack(list(music_and_voice(2.0, sample_rate=16000, seed=seed).values())) for seed in (0, 1)]
    true = torch.cat(music)[:sources].double()
    front = STFT(512)
    spectrograms = front(true)
    mixture = 20 * spectrograms.sum(0)
    masks = spectrograms.abs() / spectrograms.abs().sum(0)
    ours = multichannel_wiener_filter(mixture, masks * mixture, num_iterations)
    x = np.ascontiguousarray(mixture.permute(2, 1, 0).numpy())
    theirs = norbert.wiener(np.ascontiguousarray(masks.permute(3, 2, 1, 0).numpy()), x, num_iterations)
    theirs = torch.from_numpy(theirs).permute(3, 2, 1, 0)
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()
    assert torch.linalg.vector_norm(ours - theirs) < 1e-3 * torch.linalg.vector_norm(theirs)


def corners():
    """Estimates ``(3, C, 5, 30)`` with one to three channels."""
    for channels in (1, 2, 3):
        independent = complex_noise(3, channels, 5, 30)
        common = complex_noise(3, 1, 5, 30)
        panned = noise(3, channels, 1, 1, seed=2)
        yield pytest.param(common.expand_as(independent), id=f"{channels}-same_in_all_channels")
        yield pytest.param(common * panned[:1], id=f"{channels}-one_direction")
        yield pytest.param(common * panned, id=f"{channels}-one_direction_each")
        yield pytest.param(independent[:1].expand_as(independent), id=f"{channels}-identical")
        yield pytest.param(independent * (torch.arange(3) > 0)[:, None, None, None], id=f"{channels}-silent_source")
        yield pytest.param(independent * (torch.arange(30) > 9), id=f"{channels}-silent_frames")
        yield pytest.param(independent * torch.logspace(-12, 3, 30, dtype=torch.float64), id=f"{channels}-levels")
        yield pytest.param(independent[..., :1], id=f"{channels}-one_frame")
        if channels > 1:
            yield pytest.param(
                independent * (torch.arange(channels) > 0)[:, None, None], id=f"{channels}-silent_channel"
            )


@pytest.mark.parametrize("num_iterations", [1, 8])
@pytest.mark.parametrize("estimates", list(corners()))
def test_corners(estimates, num_iterations):
    mixture = estimates.sum(0)
    peak = mixture.abs().max()
    filtered = multichannel_wiener_filter(mixture, estimates, num_iterations)
    assert torch.allclose(filtered.sum(0), mixture, rtol=0, atol=1e-13 * peak)
    single = [tensor.to(torch.complex64) for tensor in (mixture, estimates)]
    assert (multichannel_wiener_filter(*single, num_iterations) - filtered).abs().max() < 1e-3 * peak
    for gain in (1e-3, 1e3):
        scaled = multichannel_wiener_filter(*(gain * tensor for tensor in single), num_iterations)
        assert (scaled - gain * filtered).abs().max() < 1e-3 * gain * peak
    for inputs in (single, (mixture, estimates)):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        weights = complex_noise(*estimates.shape, seed=3).to(leaves[0].dtype)
        for gradient in torch.autograd.grad(multichannel_wiener_filter(*leaves, num_iterations), leaves, weights):
            assert gradient.isfinite().all()


def test_the_residual_is_distributed_equally():
    mixture = complex_noise(2, 4, 6)
    filtered = multichannel_wiener_filter(mixture, torch.zeros(3, 2, 4, 6, dtype=torch.complex128))
    assert torch.allclose(filtered, mixture / 3, rtol=0, atol=1e-15)


@pytest.mark.parametrize("gain", [1e-15, 1e-3, 1e3, 1e15])
def test_scale_equivariance(gain):
    mixture, estimates = complex_noise(2, 4, 6).to(torch.complex64), complex_noise(3, 2, 4, 6).to(torch.complex64)
    plain = multichannel_wiener_filter(mixture, estimates, 3)
    scaled = multichannel_wiener_filter(gain * mixture, gain * estimates, 3)
    assert (scaled / gain - plain).abs().max() < 1e-5 * plain.abs().max()


def test_directions_of_the_sources_are_used():
    """Two panned sources that overlap in every bin cannot be separated by masks."""
    pan = torch.tensor([[1.0, 0.2], [0.3, 1.0]], dtype=torch.float64)[:, :, None, None]
    sources = pan * complex_noise(2, 1, 9, 200)
    rough = sources + 0.3 * sources.flip(0)
    filtered = multichannel_wiener_filter(sources.sum(0), rough, 100)
    before, after = ((estimate - sources).abs().square().mean() for estimate in (rough, filtered))
    assert after < 0.1 * before


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("num_iterations", [1, 3])
def test_gradients_are_those_of_finite_differences(channels, num_iterations):
    mixture = complex_noise(channels, 2, 3).requires_grad_()
    estimates = complex_noise(2, channels, 2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: multichannel_wiener_filter(x, y, num_iterations), (mixture, estimates))


@pytest.mark.parametrize("size", [1, 100, 3000])
def test_block_sizes_change_nothing(size, monkeypatch):
    inputs = [complex_noise(4, 2, 7, 9).requires_grad_(), complex_noise(4, 3, 2, 7, 9, seed=1).requires_grad_()]
    weights = complex_noise(4, 3, 2, 7, 9, seed=2)

    def results():
        filtered = multichannel_wiener_filter(*inputs, 3)
        return filtered, *torch.autograd.grad(filtered, inputs, weights)

    whole = results()
    monkeypatch.setattr(wiener, "_BLOCK", BlockSize(size, size))
    monkeypatch.setattr(wiener, "_STORED", BlockSize(2 * size, 2 * size))
    for part, expected in zip(results(), whole, strict=True):
        assert torch.allclose(part, expected, rtol=0, atol=1e-12)


def saved_and_peak(num_iterations, monkeypatch):
    """Bytes saved for backward, and the peak memory of the models of all iterations in it."""
    inputs = complex_noise(1, 1, 8, 100).requires_grad_(), complex_noise(1, 2, 1, 8, 100, seed=1).requires_grad_()
    saved, stored, peak = [], [0], [0]
    fit = wiener._Model.of

    def change(size):
        stored[0] += size
        peak[0] = max(peak[0], stored[0])

    def counted(sources):
        model = fit(sources)
        size = sum(tensor.nbytes for tensor in vars(model).values())
        change(size)
        weakref.finalize(model, change, -size)
        return model

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        filtered = multichannel_wiener_filter(*inputs, num_iterations)
    with monkeypatch.context() as patched:
        patched.setattr(wiener._Model, "of", counted)
        torch.autograd.grad(filtered, inputs, torch.ones_like(filtered))
    assert stored == [0]
    return sum(tensor.nbytes for tensor in saved), peak[0]


def test_memory_of_the_gradient_does_not_grow_with_iterations(monkeypatch):
    """Two inputs are saved; with more iterations, fewer bins are recomputed at a time."""
    monkeypatch.setattr(wiener, "_STORED", BlockSize(2 * 200 * 100, 2 * 200 * 100))
    (saved, stored), (many_saved, many_stored) = (saved_and_peak(count, monkeypatch) for count in (20, 200))
    assert saved == many_saved == 3 * 8 * 100 * 16
    assert 0 < many_stored < 1.5 * stored


def test_layouts_and_leading_axes():
    mixture, estimates = complex_noise(2, 3, 2, 4, 6), complex_noise(2, 3, 5, 2, 4, 6, seed=1)
    expected = multichannel_wiener_filter(mixture, estimates)
    transposed = multichannel_wiener_filter(mixture.mT.contiguous().mT, estimates.mT.contiguous().mT)
    assert torch.allclose(transposed, expected, rtol=0, atol=1e-13)
    conjugate = multichannel_wiener_filter(mixture.conj(), estimates.conj()).conj()
    assert torch.allclose(conjugate, expected, rtol=0, atol=1e-13)
    assert torch.allclose(multichannel_wiener_filter(mixture[1, 2], estimates[1, 2]), expected[1, 2], atol=1e-13)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_non_finite_items_are_isolated(channels):
    mixture, estimates = complex_noise(3, channels, 4, 6), complex_noise(3, 2, channels, 4, 6, seed=1)
    expected = multichannel_wiener_filter(mixture, estimates, 2)
    for spoiled in (mixture.clone(), mixture):
        given = estimates.clone()
        (given if spoiled is mixture else spoiled)[1, ..., 0, 2, 3] = torch.nan
        filtered = multichannel_wiener_filter(spoiled, given, 2)
        assert not filtered[1].isfinite().all()
        assert torch.allclose(filtered[::2], expected[::2], rtol=0, atol=1e-13)


def test_invalid_arguments():
    mixture, estimates = complex_noise(2, 4, 6), complex_noise(3, 2, 4, 6)
    with pytest.raises(ValueError, match="num_iterations must be at least 1, got 0"):
        multichannel_wiener_filter(mixture, estimates, 0)
    with pytest.raises(ValueError, match="must have the complex dtype of the mixture"):
        multichannel_wiener_filter(mixture, estimates.to(torch.complex64))
    with pytest.raises(ValueError, match="must have the complex dtype of the mixture"):
        multichannel_wiener_filter(mixture.abs(), estimates.abs())
    for wrong in (estimates[..., 1:], estimates[:, :1], estimates[None], estimates[0]):
        with pytest.raises(ValueError, match=r"estimates must have shape \(\.\.\., S, C, F, N\)"):
            multichannel_wiener_filter(mixture, wrong)
