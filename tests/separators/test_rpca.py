"""Robust PCA: masks, and a synthetic scene."""

import pytest
import torch
from scenes import improvement, loop_and_voice, noise

from torchsep.functional import low_rank_mask, magnitude
from torchsep.functional.linalg.robust_pca import low_rank_and_sparse
from torchsep.separators.rpca import RPCA
from torchsep.transforms import STFT

SMALL = STFT(64, 16)


def test_masks_are_fractions_of_the_parts():
    separator = RPCA(gain=2.0, high_pass_cutoff_hz=0.0, sample_rate=8000, stft=SMALL)
    spectrogram = SMALL(noise(2, 1, 2000))
    low_rank, sparse = low_rank_and_sparse(magnitude(spectrogram))
    expected = low_rank.abs() / (low_rank.abs() + 2 * sparse.abs())
    background, foreground = separator.masks(spectrogram).unbind(1)
    assert torch.allclose(background, expected, rtol=0, atol=1e-12)
    assert torch.allclose(foreground, 1 - expected, rtol=0, atol=1e-12)


def test_channels_are_one_matrix():
    """A source panned anywhere keeps its place: masks do not depend on how the channels are ordered."""
    heard = magnitude(SMALL(noise(2, 2, 2000)))
    side_by_side = low_rank_mask(torch.cat(heard.unbind(1), -1)[:, None])
    masks = low_rank_mask(heard)
    assert torch.equal(torch.cat(masks.unbind(1), -1)[:, None], side_by_side)
    assert torch.allclose(low_rank_mask(heard.flip(1)), masks.flip(1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
def test_loop_and_vocals_are_separated(mask_type):
    sources, rate = loop_and_voice()
    separator = RPCA(sample_rate=rate, mask_type=mask_type)
    assert improvement(separator(sources.sum(0)), sources) > 3


def test_more_gain_gives_more_to_the_foreground():
    mixture = noise(2, 4000)
    powers = [RPCA(gain=gain, sample_rate=8000, stft=SMALL)(mixture)[1].square().sum() for gain in (0.0, 0.5, 1.0, 2.0)]
    assert powers[0] < 1e-20
    assert powers[0] < powers[1] < powers[2] < powers[3]


def test_gain_can_be_learned():
    separator = RPCA(sample_rate=8000, stft=SMALL, max_iter=8, trainable=("gain",)).double()
    separator(noise(2, 600))[1].square().sum().backward()
    assert separator.free_gain.grad > 0


def test_fewer_iterations_are_less_exact():
    heard = magnitude(SMALL(noise(1, 1, 3000)))
    full, short, loose = (low_rank_mask(heard, 1.0, *limit) for limit in ((100,), (5,), (100, 1e-2)))
    assert (short - full).abs().max() > 0.1
    assert (loose - full).abs().max() > 1e-3


@pytest.mark.parametrize("cutoff", [0.0, 500.0, 4000.1])
def test_bins_below_the_cutoff_are_background(cutoff):
    separator = RPCA(high_pass_cutoff_hz=cutoff, sample_rate=8000, stft=SMALL)
    free = RPCA(high_pass_cutoff_hz=0.0, sample_rate=8000, stft=SMALL)
    spectrogram = SMALL(noise(2, 1, 1000))
    masks, plain = separator.masks(spectrogram), free.masks(spectrogram)
    first = round(cutoff / 125)
    assert (masks[:, 0, :, :first] == 1).all()
    assert torch.equal(masks[..., first:, :], plain[..., first:, :])


def test_what_is_silent_is_background():
    masks = RPCA(sample_rate=8000, stft=SMALL).masks(SMALL(torch.zeros(1, 2, 500)))
    assert (masks[:, 0] == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"high_pass_cutoff_hz": -1.0}, r"high_pass_cutoff_hz must be at least 0, got -1\.0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tol": "small"}, "tol must be a number, got 'small'"),
        ({"gain": -0.5}, r"gain must be at least 0, got -0\.5"),
        ({"mask_type": "ratio"}, "mask_type must be one of soft, binary, got 'ratio'"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        RPCA(**arguments, sample_rate=8000)
