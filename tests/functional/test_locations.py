"""Maximum-likelihood locations of the sources of stereo mixtures."""

import pytest
import torch
from scenes import RATE, delayed, delayed_bursts, noise

from torchsep.functional import refine_locations
from torchsep.transforms import STFT

STEREO = STFT.from_sample_rate(RATE)
PLACES = torch.tensor([[0.8, -1.5], [-1.25, 2.25], [1.0, 4.0]], dtype=torch.float64)  # attenuation and delay


def mixture(places=PLACES):
    first = delayed_bursts([0.0] * len(places))[:, 0]
    second = [gain * delayed(source, late) for source, (gain, late) in zip(first, places.tolist(), strict=True)]
    return torch.stack((first.sum(0), torch.stack(second).sum(0)))


def start(offset=0.0):
    given = PLACES + offset
    return given[None, :, 0], given[None, :, 1]


@pytest.mark.parametrize("offset", [0.0, 0.15, -0.15])
def test_true_locations_are_found_from_near_ones(offset):
    attenuation, delay = refine_locations(STEREO(mixture())[None], *start(offset), (-6.0, 6.0))
    assert (attenuation[0] / PLACES[:, 0]).log2().abs().max() < 0.15  # octaves; the sources overlap
    assert (delay[0] - PLACES[:, 1]).abs().max() < 0.2


def test_each_round_reduces_the_errors_of_the_nearest_bins():
    spectrogram = STEREO(mixture())[None]
    omega = torch.arange(STEREO.num_bins, dtype=torch.float64)[:, None] * (2 * torch.pi / STEREO.n_fft)
    total = []
    for rounds in range(6):
        attenuation, delay = refine_locations(spectrogram, *start(0.4), (-6.0, 6.0), max_rounds=rounds)
        errors = [
            (gain * torch.polar(torch.ones_like(omega), -omega * late) * spectrogram[0, 0] - spectrogram[0, 1])
            .abs()
            .square()
            / (1 + gain.square())
            for gain, late in zip(attenuation[0], delay[0], strict=True)
        ]
        total.append(torch.stack(errors).amin(0).sum())
    assert torch.stack(total).diff().max() < 1e-3 * total[0]
    assert total[-1] < 0.8 * total[0]


def test_no_rounds_change_nothing_and_missing_sources_stay_missing():
    spectrogram = STEREO(noise(2, 2, 4000))
    attenuation = torch.tensor([[0.5, torch.nan], [2.0, -1.0]])
    delay = torch.tensor([[1.0, torch.nan], [0.0, 0.5]])
    kept = refine_locations(spectrogram, attenuation, delay, (-2.0, 2.0), max_rounds=0)
    assert kept[0].nan_to_num(9.0).equal(attenuation.nan_to_num(9.0))
    assert kept[1].nan_to_num(9.0).equal(delay.nan_to_num(9.0))
    found = refine_locations(spectrogram, attenuation, delay, (-2.0, 2.0))
    assert found[0].isnan().tolist() == found[1].isnan().tolist() == [[False, True], [False, False]]
    assert (found[0][1] < 0).tolist() == [False, True]
    assert (found[1].nan_to_num().abs() <= 2).all()


def test_silence_moves_nothing():
    attenuation, delay = refine_locations(
        torch.zeros(1, 2, 5, 3) + 0j, torch.ones(1, 2), torch.zeros(1, 2), (-1.0, 1.0)
    )
    assert attenuation.tolist() == [[1.0, 1.0]]
    assert delay.tolist() == [[0.0, 0.0]]


def test_items_are_independent():
    spectrogram = STEREO(torch.stack((mixture(), noise(2, 16000).double())))
    both = refine_locations(spectrogram, *(value.expand(2, -1) for value in start(0.3)), (-6.0, 6.0))
    alone = refine_locations(spectrogram[:1], *start(0.3), (-6.0, 6.0))
    assert all(values[:1].equal(value) for values, value in zip(both, alone, strict=True))


def test_the_operator_keeps_the_rules_of_torch():
    given = STEREO(mixture())[None], *start(0.3), -6.0, 6.0, 3
    torch.library.opcheck(torch.ops.torchsep.refine_locations.default, given)
