"""DUET on synthetic scenes: peaks, masks and errors."""

import math

import pytest
import torch
from scenes import RATE, bursts, delayed, improvement, noise

from torchsep.functional import likelihood_masks, optimal_assignment
from torchsep.separators import OverlapAdd
from torchsep.separators.duet import DUET


def scene(*places):
    """Sources ``(S, 2, T)`` whose second channel has a gain and a delay in samples each."""
    signals = [bursts(seed) for seed in range(len(places))]
    return torch.stack(
        [torch.stack((x, gain * delayed(x, late))) for x, (gain, late) in zip(signals, places, strict=True)]
    )


PANNED = ((0.4, 0.0), (2.2, 0.0))
DELAYED = ((0.9, -5.3), (1.1, 3.6))
SEVERAL = ((0.8, -0.8), (1.0, 0.0), (1.25, 0.85))


@pytest.mark.parametrize("places", [PANNED, DELAYED, SEVERAL], ids=["panned", "delayed", "several"])
def test_sources_are_found_and_separated(places):
    sources = scene(*places)
    separator = DUET(len(places), sample_rate=RATE)
    peaks = separator.peaks(sources.sum(0))
    order = [(peaks - torch.tensor(place)).abs().sum(-1).argmin().item() for place in places]
    assert sorted(order) == list(range(len(places)))
    found = peaks[order]
    assert (found[:, 1] - torch.tensor(places)[:, 1]).abs().max() < 0.1
    wanted = torch.tensor(places, dtype=torch.float64)[:, 0]
    symmetric = (found[:, 0] - 1 / found[:, 0]) - (wanted - 1 / wanted)
    assert symmetric.abs().max() < 0.13
    assert improvement(separator(sources.sum(0))[order], sources) > 10
    soft = DUET(len(places), mask_type="soft", sample_rate=RATE)
    assert improvement(soft(sources.sum(0))[order], sources) > 10


def test_masks_are_those_of_the_likelihood():
    spectrogram = torch.complex(noise(1, 2, 5, 6), noise(1, 2, 5, 6, seed=1))
    attenuation, delay = torch.tensor([[0.5, 1.5, 2.0]]).double(), torch.tensor([[-1.0, 0.0, 0.5]]).double()
    masks = likelihood_masks(spectrogram, attenuation, delay)
    shares = torch.empty(3, 5, 6, dtype=torch.float64)
    least = torch.zeros(5, 6, dtype=torch.float64)
    power = spectrogram[0].abs().square().sum(0)
    for bin_ in range(5):
        for frame in range(6):
            one, two = spectrogram[0, :, bin_, frame].tolist()
            errors = []
            for a, d in zip(attenuation[0].tolist(), delay[0].tolist(), strict=True):
                turn = complex(math.cos(math.pi * bin_ / 4 * d), -math.sin(math.pi * bin_ / 4 * d))
                errors.append(abs(a * turn * one - two) ** 2 / (1 + a * a))
            shares[:, bin_, frame] = torch.tensor(errors, dtype=torch.float64)
            least[bin_, frame] = min(errors)
    variance = least.sum() / power.sum()
    assert (masks[0, :, 0] - (-shares / power / (2 * variance)).softmax(0)).abs().max() < 1e-12


def test_the_histogram_has_the_axes_asked_for():
    mixture = scene(*PANNED).sum(0)
    separator = DUET(2, delay_range_samples=(-2, 2), num_bins=(20, 9), sample_rate=RATE)
    histogram = separator.histogram(mixture)
    assert histogram.shape == (20, 9)
    assert histogram.max() == pytest.approx(1.0)
    rows = histogram[:, 4]
    # The symmetric attenuations are -2.1 and 1.75, of bins 0.3 wide from -3 up.
    assert {rows[:10].argmax().item(), 10 + rows[10:].argmax().item()} == {3, 15}


def test_a_source_without_a_peak_is_empty_and_leaves_the_batch_alone():
    good, one_source = scene(*PANNED).sum(0), scene((0.7, 1.0))[0]
    separator = DUET(2, sample_rate=RATE)
    estimates = separator(torch.stack((good, one_source)))
    assert torch.equal(estimates[0], separator(good))
    assert torch.equal(estimates[1], separator(one_source))
    assert torch.allclose(estimates[1, 0], one_source, atol=1e-5)
    assert (estimates[1, 1] == 0).all()
    assert separator.peaks(one_source).isnan().tolist() == [[False, False], [True, True]]
    beside = torch.stack((good, torch.zeros(2, 16000), torch.full((2, 16000), math.nan)))
    estimates = separator(beside)
    assert (estimates[1] == 0).all()
    assert torch.equal(estimates[0], separator(good))


def test_windows_with_fewer_peaks_than_sources_are_separated():
    mixture = scene(*PANNED).sum(0)
    mixture[1, 8000:] = mixture[0, 8000:]
    windows = OverlapAdd(DUET(2, sample_rate=RATE), window_duration=0.25, sample_rate=RATE)
    assert torch.allclose(windows(mixture).sum(0), mixture, atol=1e-5)


def ratios(sources, estimates):
    """The SNR in dB of each source over both channels, in the best order."""
    errors = (
        (estimates[None] - sources[:, None]).square().sum((-2, -1)) / sources.square().sum((-2, -1))[:, None]
    ).log10()
    order = optimal_assignment(errors)
    return -10 * errors.gather(1, order[:, None])[:, 0]


@pytest.mark.parametrize("polarity", [1.0, -1.0])
@pytest.mark.parametrize("left", [0.0, 1e-4, 0.01])
@pytest.mark.parametrize("right", [0.0, 0.003, 0.01])
def test_sources_panned_hard_are_no_worse_than_those_panned_at_26_db(left, right, polarity):
    first, second = (bursts(seed) for seed in range(2))

    def panned(low, high):
        return torch.stack((torch.stack((first, polarity * low * first)), torch.stack((high * second, second))))

    separator = DUET(2, sample_rate=RATE)
    reference = ratios(panned(0.05, 0.05), separator(panned(0.05, 0.05).sum(0)))
    sources = panned(left, right)
    assert (ratios(sources, separator(sources.sum(0))) > reference - 1.0).all()
    ends = separator.peaks(sources.sum(0))[:, 0].abs().sort().values
    assert ends[0] < 0.35
    assert ends[1] > 1 / 0.35


@pytest.mark.parametrize(
    "places",
    [((-0.6, 0.0), (-1.8, 0.0)), ((1.0, 0.0), (-1.0, 0.0)), ((-0.9, -5.3), (-1.1, 3.6)), ((0.0, 0.0), (-1.0, 1.0))],
)
def test_sources_inverted_in_one_channel_are_found(places):
    sources = scene(*places)
    separator = DUET(2, sample_rate=RATE)
    assert (ratios(sources, separator(sources.sum(0))) > 10).all()
    assert (separator.peaks(sources.sum(0))[:, 0] < 0).sum() == sum(gain < 0 for gain, _ in places)


def test_exchanged_channels_exchange_attenuations():
    mixture = scene(*SEVERAL).sum(0)
    separator = DUET(3, num_bins=(51, 333), sample_rate=RATE)
    peaks, exchanged = separator.peaks(mixture), separator.peaks(mixture.flip(0))
    assert torch.allclose(peaks[:, 0].sort().values, 1 / exchanged[:, 0].sort(descending=True).values, atol=0.05)
    assert torch.allclose(peaks[:, 1].sort().values, -exchanged[:, 1].sort(descending=True).values, atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 1}, "num_sources must be at least 2"),
        ({"delay_range_samples": (3.0, 3.0)}, "delay_range_samples must be above 3"),
        ({"attenuation_range": 3.0}, "attenuation_range must be a pair, got 3.0"),
        ({"min_peak_distance": (5, -1)}, "min_peak_distance must be at least 0"),
        ({"num_bins": (50, 0)}, "num_bins must be at least 1"),
        ({"peak_threshold": 2.0}, "peak_threshold must be below 1"),
        ({"peak_threshold": 1.0}, "peak_threshold must be below 1"),
        ({"p": -1.0}, "p must be at least 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DUET(**{"num_sources": 2, "sample_rate": RATE, **arguments})


def test_it_needs_two_channels():
    with pytest.raises(ValueError, match="mixture must have 2 channels, got 3"):
        DUET(2, sample_rate=RATE)(noise(3, 1000))


def test_names():
    assert DUET(3, sample_rate=RATE).names == ("source_1", "source_2", "source_3")
