"""FT2D against a plain reference, on a synthetic scene, and its parameters."""

import math

import numpy as np
import pytest
import torch
from scenes import improvement, loop_and_voice, noise
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from torchsep.functional.repetition import ft2d_mask, peak_prominence, strong_peaks
from torchsep.separators import FT2D
from torchsep.transforms import STFT

SMALL = {"sample_rate": 8000, "stft": STFT(64, 16)}


def plain_weights(transform, size, approach):
    """How much each value of a centred 2D Fourier transform belongs to the background, for one channel."""
    largest = maximum_filter(transform, size, mode="wrap")
    peaks = np.isclose(transform, largest, rtol=1e-12, atol=0)  # opposite values are equal, but for rounding
    if approach == "original":
        peaks &= largest - minimum_filter(transform, size, mode="wrap") > transform.std()
        return np.maximum(peaks, np.fliplr(peaks)).astype(float)
    mean = uniform_filter(transform, size, mode="wrap")
    deviation = np.sqrt(uniform_filter(transform**2, size, mode="wrap") - mean**2)
    prominence = np.where(peaks, (transform - mean) / deviation, 0.0)
    prominence /= prominence.max()
    return np.maximum(prominence, np.fliplr(prominence))


def plain_ft2d(magnitude, size, approach, quadrants=(0, 1, 2, 3), use_bg_2dft=True):
    """The background's mask of one channel ``(F, N)``."""
    bins, frames = magnitude.shape
    transform = np.fft.fft2(magnitude)
    weights = np.fft.ifftshift(plain_weights(np.abs(np.fft.fftshift(transform)) / magnitude.sum(), size, approach))
    used = transform * (weights if use_bg_2dft else 1 - weights)
    for number in {0, 1, 2, 3} - set(quadrants):
        rows = slice(bins // 2) if number < 2 else slice(bins // 2, None)
        columns = slice(frames // 2) if number % 2 == 0 else slice(frames // 2, None)
        used[rows, columns] = 0
    mask = np.minimum(np.abs(np.fft.ifft2(used)), magnitude) / magnitude
    return mask if use_bg_2dft else 1 - mask


def ridges(rows, columns, bins=24, frames=40):
    """A plane wave of so many periods over frequency and over time, which falls if both are positive."""
    phase = rows * torch.arange(bins, dtype=torch.float64)[:, None] / bins
    phase = phase + columns * torch.arange(frames, dtype=torch.float64) / frames
    return torch.cos(2 * math.pi * phase)


@pytest.mark.parametrize("frames", [40, 41])
@pytest.mark.parametrize("size", [(1, 25), (3, 5), (5, 1), (1, 101)])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"filter_approach": "original"},
        {"use_bg_2dft": False},
        {"quadrants_to_keep": (0, 3)},
        {"quadrants_to_keep": [2], "filter_approach": "original", "use_bg_2dft": False},
    ],
)
def test_it_is_the_plain_one(arguments, size, frames):
    mixture = noise(3, 2, 16 * (frames - 1))
    separator = FT2D(size, high_pass_cutoff_hz=0.0, **arguments, **SMALL)
    spectrogram = separator.stft(mixture)
    masks = separator.masks(spectrogram)
    for item in range(3):
        for channel in range(2):
            mask = plain_ft2d(
                spectrogram[item, channel].abs().numpy(),
                size,
                separator.filter_approach,
                separator.quadrants_to_keep,
                separator.use_bg_2dft,
            )
            assert np.abs(masks[item, 0, channel].numpy() - mask).max() < 1e-9
            assert np.abs(masks[item, 1, channel].numpy() - (1 - mask)).max() < 1e-9
    single = separator.masks(separator.stft(mixture.float()))
    assert (single - masks).abs().mean() < 1e-5


@pytest.mark.parametrize(
    "arguments", [{}, {"filter_approach": "original"}, {"use_bg_2dft": False}, {"mask_type": "binary"}]
)
def test_loop_and_vocals_are_separated(arguments):
    sources, rate = loop_and_voice()
    assert improvement(FT2D(sample_rate=rate, **arguments)(sources.sum(0)), sources) > 4.5


def test_several_periods_are_background():
    """Two patterns of different periods are both kept, and a single event is not."""
    frames = torch.arange(180)
    beats = (0.1 + (frames % 9 == 0) + (frames % 20 == 0)).double()
    magnitude = beats.repeat(33, 1)
    magnitude[5:9, 50] += 4.0
    mask = ft2d_mask(magnitude, (1, 5), filter_approach="original")
    assert mask[20, frames % 9 == 0].min() > 0.8
    assert mask[20, frames % 20 == 0].min() > 0.8
    assert mask[5:9, 50].max() < 0.5


def test_quadrants_hold_what_rises_and_what_falls():
    falling, rising = ridges(3, 7), ridges(-4, 11)
    magnitude = 2.5 + falling + rising
    kept = {
        (0, 1, 2, 3): magnitude,
        (0, 3): 2.5 + falling,
        (1, 2): rising.abs(),
        (1,): torch.full_like(rising, 0.5),
        (3, 0, 3): 2.5 + falling,
    }
    for quadrants, background in kept.items():
        mask = ft2d_mask(magnitude, (3, 3), quadrants, "original")
        assert torch.allclose(mask * magnitude, torch.minimum(background, magnitude), rtol=0, atol=1e-9)
    rest = ft2d_mask(magnitude, (3, 3), (1, 2), "original", use_bg_2dft=False)
    assert torch.allclose(rest, torch.ones_like(rest), rtol=0, atol=1e-9)


def test_peaks_are_weighed_by_how_far_they_stand_out():
    magnitude = 4 + 2 * ridges(0, 8) + 0.5 * ridges(0, 12) + 0.25 * ridges(0, 13)
    transform = torch.fft.fft2(magnitude).abs() / magnitude.sum()
    weights = peak_prominence(transform, (1, 5))[0]
    assert weights[[0, 8]].tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    assert 0.7 < weights[12] < 0.98
    assert weights[13] == 0
    assert strong_peaks(transform, (1, 5))[0].nonzero().flatten().tolist() == [0, 8, 12, 28, 32]


def test_channels_and_items_have_their_own_transform():
    mixture = noise(3, 2, 3000)
    separator = FT2D(**SMALL)
    together = separator(mixture)
    alone = torch.stack([separator(mixture[:, channel : channel + 1])[:, :, 0] for channel in range(2)], 2)
    assert torch.allclose(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cutoff", [0.0, 500.0, 1000.0, 4000.1])
def test_bins_below_the_cutoff_are_background(cutoff):
    separator, free = FT2D(high_pass_cutoff_hz=cutoff, **SMALL), FT2D(high_pass_cutoff_hz=0.0, **SMALL)
    spectrogram = separator.stft(noise(3, 2, 4000))
    masks, plain = separator.masks(spectrogram), free.masks(spectrogram)
    first = math.floor(cutoff / 125 + 0.5)  # the bin nearest to the cutoff
    assert torch.equal(masks[:, 0, :, :first], torch.ones_like(masks[:, 0, :, :first]))
    assert torch.equal(masks[:, 1, :, :first], torch.zeros_like(masks[:, 0, :, :first]))
    assert torch.equal(masks[..., first:, :], plain[..., first:, :])


@pytest.mark.parametrize("approach", ["local_std", "original"])
@pytest.mark.parametrize("level", [1e-12, 1e-6, 1e10])
def test_the_level_plays_no_part(level, approach):
    sources, rate = loop_and_voice()
    mixture = sources.sum(0).float()
    separator = FT2D(filter_approach=approach, sample_rate=rate)
    plain, scaled = separator(mixture), separator(mixture * level)
    assert torch.allclose(scaled / level, plain, rtol=0, atol=1e-3 * plain.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("approach", ["local_std", "original"])
def test_a_flat_transform_has_no_peaks(dtype, approach):
    """That of a single bin is flat but for rounding, which must not become a background."""
    magnitude = torch.zeros(33, 50, dtype=dtype)
    magnitude[7, 23] = 3.0
    assert ft2d_mask(magnitude, filter_approach=approach)[7, 23] < 1e-2
    silence = torch.zeros(2, 3, 33, 50, dtype=dtype)
    assert torch.equal(ft2d_mask(silence, filter_approach=approach), torch.ones_like(silence))
    assert torch.equal(FT2D(**SMALL)(torch.zeros(2, 3, 4000)), torch.zeros(2, 2, 3, 4000))


@pytest.mark.parametrize("length", [1, 2, 15, 40, 81])
def test_a_few_samples_will_do(length):
    mixture = noise(2, 2, length)
    estimates = FT2D(**SMALL)(mixture)
    assert torch.allclose(estimates.sum(1), mixture, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{}, {"use_bg_2dft": False, "quadrants_to_keep": (0, 1)}])
@pytest.mark.parametrize("length", [300, 304])
def test_the_gradient_is_exact_for_the_peaks_found(arguments, length):
    mixture = noise(2, 1, length).requires_grad_()
    options = {"high_pass_cutoff_hz": 0.0, "sample_rate": 8000, "stft": STFT(16, 4, "hamming")}
    separator = FT2D((3, 7), **arguments, **options)
    assert torch.autograd.gradcheck(separator, mixture, fast_mode=True)
    transform = torch.fft.fft2(noise(2, 9, 20).abs()).abs() / 1000
    assert torch.autograd.gradcheck(lambda x: peak_prominence(x, (3, 7)), transform.requires_grad_())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neighborhood_size": 25}, "neighborhood_size must be a pair of rows and columns, got 25"),
        ({"neighborhood_size": (1, 25, 3)}, r"neighborhood_size must be a pair .* got \(1, 25, 3\)"),
        ({"neighborhood_size": (0, 25)}, "neighborhood_size must be at least 1, got 0"),
        ({"neighborhood_size": (1, 2.5)}, r"neighborhood_size must be an integer, got 2\.5"),
        ({"high_pass_cutoff_hz": -1.0}, r"high_pass_cutoff_hz must be at least 0, got -1\.0"),
        ({"quadrants_to_keep": ()}, r"quadrants_to_keep must be a sequence of numbers from 0 to 3, got \(\)"),
        ({"quadrants_to_keep": 2}, "quadrants_to_keep must be a sequence of numbers from 0 to 3, got 2"),
        ({"quadrants_to_keep": "03"}, "quadrants_to_keep must be a sequence of numbers from 0 to 3, got '03'"),
        ({"quadrants_to_keep": (1, 4)}, "quadrants_to_keep must be from 0 to 3, got 4"),
        ({"quadrants_to_keep": (-1,)}, "quadrants_to_keep must be at least 0, got -1"),
        ({"quadrants_to_keep": (True,)}, "quadrants_to_keep must be an integer, got True"),
        ({"filter_approach": "localstd"}, "filter_approach must be one of local_std, original, got 'localstd'"),
        ({"use_bg_2dft": 1}, "use_bg_2dft must be True or False, got 1"),
        ({"mask_type": "ratio"}, "mask_type must be one of soft, binary, got 'ratio'"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        FT2D(**arguments, sample_rate=8000)
