"""The low-pass and high-pass filter: cutoff, slope and trainable cutoff."""

import math

import pytest
import torch
from scenes import RATE, noise

from torchsep.functional import high_pass_mask
from torchsep.separators import HighLowPassFilter
from torchsep.transforms import STFT


def sweep(seconds=2.0):
    """One channel that rises steadily from 0 Hz to half the sample rate, with its frequency at each sample."""
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    frequency = time / seconds * RATE / 2
    return torch.sin(2 * math.pi * frequency.cumsum(0) / RATE)[None], frequency


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
@pytest.mark.parametrize("cutoff", [500.0, 1000.0, 2300.0])
def test_a_sweep_is_cut_at_its_frequency(cutoff, mask_type):
    signal, frequency = sweep()
    low, high = HighLowPassFilter(cutoff, sample_rate=RATE, mask_type=mask_type)(signal)
    below, above = frequency < cutoff / 1.6 - 40, frequency > cutoff * 1.6 + 40
    for wanted, other, where in ((low, high, below), (high, low, above)):
        assert wanted[0, where].square().mean() > 0.45
        assert other[0, where].square().mean() < 1e-2 * wanted[0, where].square().mean()
    louder = low.abs()[0].unfold(0, 200, 100).mean(-1) > high.abs()[0].unfold(0, 200, 100).mean(-1)
    crossing = frequency.unfold(0, 200, 100).mean(-1)[louder].max().item()
    assert crossing == pytest.approx(cutoff, abs=60)


def test_the_mask_is_that_of_a_butterworth_filter():
    frequencies = torch.linspace(0, 4000, 41, dtype=torch.float64)
    for cutoff in (1e-3, 100.0, 1234.5):
        expected = 1 / (1 + (cutoff / frequencies) ** 8)
        assert torch.allclose(high_pass_mask(frequencies, cutoff), expected, rtol=0, atol=1e-14)


def test_the_mask_is_equal_for_all_channels_frames_and_items():
    separator = HighLowPassFilter(900.0, sample_rate=RATE, stft=STFT(16, 4))
    spectrogram = separator.stft(noise(4, 3, 41))
    masks = separator.final_masks(spectrogram)
    high = (separator.stft.frequencies(RATE) > 900).double()
    expected = torch.stack((1 - high, high))[None, :, None, :, None].expand(4, 2, masks.shape[2], 9, 12)
    assert torch.equal(masks, expected)
    estimates = separator(noise(4, 3, 41))
    assert torch.allclose(estimates.sum(1), noise(4, 3, 41), rtol=0, atol=1e-12)


def test_a_bin_at_the_cutoff_is_low_where_binary():
    spectrogram = noise(1, 1, 9, 5) + 0j
    masks = HighLowPassFilter(1000.0, sample_rate=RATE, stft=STFT(16, 4)).final_masks(spectrogram)
    assert masks[0, 1, 0, :, 0].tolist() == [0.0] * 3 + [1.0] * 6


@pytest.mark.parametrize(("cutoff", "high_bins"), [(0.0, 8), (4000.0, 0)])
def test_cutoffs_at_the_ends(cutoff, high_bins):
    separator = HighLowPassFilter(cutoff, sample_rate=RATE, stft=STFT(16, 4))
    masks = separator.final_masks(noise(1, 1, 9, 5) + 0j)
    assert masks[0, 1, 0, :, 0].sum() == high_bins


def test_the_threshold_moves_the_cut():
    spectrogram = noise(1, 1, 129, 5) + 0j
    counts = [
        HighLowPassFilter(1000.0, sample_rate=RATE, mask_threshold=threshold)
        .final_masks(spectrogram)[0, 1]
        .sum()
        .item()
        for threshold in (0.1, 0.5, 0.9)
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3


@pytest.mark.parametrize("cutoff", [0.5, 40.0, 1000.0, 3999.0])
def test_a_trainable_cutoff_is_what_was_given(cutoff):
    separator = HighLowPassFilter(cutoff, sample_rate=RATE, trainable=("cutoff_hz",))
    assert separator.cutoff_hz.item() == pytest.approx(cutoff, rel=1e-5)
    plain = HighLowPassFilter(cutoff, sample_rate=RATE, mask_type="soft")
    separator = HighLowPassFilter(cutoff, sample_rate=RATE, mask_type="soft", trainable=("cutoff_hz",))
    mixture = noise(2, 1, 500)
    assert torch.allclose(separator(mixture), plain(mixture), rtol=0, atol=1e-4)


def test_the_cutoff_is_learned():
    mixture = noise(3, 1, 2000).float()
    target = HighLowPassFilter(1500.0, sample_rate=RATE, mask_type="soft")(mixture)
    separator = HighLowPassFilter(900.0, sample_rate=RATE, mask_type="soft", trainable=("cutoff_hz",))
    optimizer = torch.optim.Adam(separator.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        loss = (separator(mixture) - target).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 1e-3 * losses[0]
    assert separator.cutoff_hz.item() == pytest.approx(1500, abs=20)


def test_gradient_of_the_cutoff_is_that_of_finite_differences():
    separator = HighLowPassFilter(
        3.0, sample_rate=20, mask_type="soft", stft=STFT(8, 3, "hamming"), trainable=("cutoff_hz",)
    ).double()
    mixture = noise(2, 1, 25).requires_grad_()

    def separated(free, mixture):
        return torch.func.functional_call(separator, {"free_cutoff_hz": free}, (mixture,))

    assert torch.autograd.gradcheck(separated, (separator.free_cutoff_hz, mixture))


def test_the_gradient_of_binary_masks_is_straight_through():
    separator = HighLowPassFilter(1000.0, sample_rate=RATE, trainable=("cutoff_hz",))
    separator(noise(2, 1, 500))[:, 1].square().sum().backward()
    assert separator.free_cutoff_hz.grad < 0  # a higher cutoff leaves less above it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cutoff_hz": -1.0}, r"cutoff_hz must be at least 0, got -1\.0"),
        ({"cutoff_hz": 4001.0}, r"cutoff_hz must be at most 4000, got 4001\.0"),
        ({"cutoff_hz": math.nan}, "cutoff_hz must be finite, got nan"),
        ({"cutoff_hz": "1k"}, "cutoff_hz must be a number, got '1k'"),
        ({"cutoff_hz": [100.0, 200.0]}, "cutoff_hz must be a number"),
        ({"cutoff_hz": 0.0, "trainable": ("cutoff_hz",)}, r"cutoff_hz must be above 0 .*to be trainable, got 0\.0"),
        ({"cutoff_hz": 4000.0, "trainable": ("cutoff_hz",)}, r"below 4000 to be trainable, got 4000\.0"),
        ({"cutoff_hz": 9.0, "trainable": ("cutof",)}, "out of: cutoff_hz; got 'cutof'; did you mean cutoff_hz"),
        ({"cutoff_hz": 9.0, "mask_type": "hard"}, "mask_type must be one of soft, binary"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        HighLowPassFilter(**arguments, sample_rate=RATE)
