"""REPET-SIM against a plain reference, on a synthetic scene, and its parameters."""

import math

import numpy as np
import pytest
import torch
from scenes import LOOP_SAMPLES, improvement, loop_and_voice, noise

from torchsep.separators.repet_sim import RepetSim
from torchsep.transforms import STFT

SMALL = {"sample_rate": 8000, "stft": STFT(64, 16)}


def plain_repet_sim(magnitude, distance, limit, threshold):
    """The background mask of one mixture ``(C, F, N)``, one frame and one choice at a time."""
    frames = magnitude.shape[-1]
    unit = magnitude.mean(0) / np.linalg.norm(magnitude.mean(0), axis=0)
    mask = np.empty_like(magnitude)
    for frame in range(frames):
        cosine = unit.T @ unit[:, frame]
        cosine[max(0, frame - distance + 1) : frame + distance] = -1.0
        similar = []
        while len(similar) < limit and cosine.max() > threshold:
            best = int(np.argmax(cosine))
            similar.append(best)
            cosine[max(0, best - distance + 1) : best + distance] = -1.0
        common = np.median(magnitude[..., similar or [frame]], axis=-1)
        mask[..., frame] = np.minimum(common, magnitude[..., frame]) / magnitude[..., frame]
    return mask


def shuffled_loop_and_voice():
    """The scene of REPET, whose beats follow one another in no order, so that there is no period."""
    sources, rate = loop_and_voice()
    beats = sources[0].unflatten(-1, (-1, LOOP_SAMPLES // 4))
    order = noise(beats.shape[1], seed=3).argsort()
    return torch.stack((beats[:, order].flatten(1), sources[1])), rate


@pytest.mark.parametrize(
    ("seconds", "limit", "threshold"), [(0.01, 100, 0.0), (0.03, 3, 0.0), (0.002, 20, 0.8), (0.0, 7, 0.0), (9, 5, 0.0)]
)
def test_it_is_the_plain_one(seconds, limit, threshold):
    mixture = noise(3, 2, 2000) * (1 + torch.sin(0.01 * torch.arange(2000)))
    separator = RepetSim(threshold, seconds, limit, high_pass_cutoff_hz=0.0, **SMALL)
    spectrogram = separator.stft(mixture)
    masks = separator.masks(spectrogram)
    distance = max(1, math.ceil(seconds * 500))
    for item in range(3):
        mask = plain_repet_sim(spectrogram[item].abs().numpy(), distance, limit, threshold)
        assert np.abs(masks[item, 0].numpy() - mask).max() < 1e-12
        assert np.abs(masks[item, 1].numpy() - (1 - mask)).max() < 1e-12


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
@pytest.mark.parametrize(
    ("scene", "seconds", "limit", "floor"), [(loop_and_voice, 1.0, 100, 14.0), (shuffled_loop_and_voice, 0.3, 5, 12.0)]
)
def test_background_and_vocals_are_separated(scene, seconds, limit, floor, mask_type):
    sources, rate = scene()
    separator = RepetSim(0.0, seconds, limit, sample_rate=rate, mask_type=mask_type)
    assert improvement(separator(sources.sum(0)), sources) > floor


def test_what_recurs_exactly_is_background():
    beats = noise(1, 3, 1600)
    mixture = beats[:, torch.tensor([0, 1, 2, 0, 0, 2, 1, 1, 2, 0])].flatten(1)
    separator = RepetSim(min_distance_between_frames=0.1, max_repeating_frames=2, high_pass_cutoff_hz=0.0, **SMALL)
    frames = separator.similar_frames(mixture)
    inside = torch.arange(4, 96)  # of the first beat, frames that hold no other
    assert sorted(frames[50].tolist()) == [350, 450]
    assert torch.equal((frames[inside] - inside[:, None]) % 100, torch.zeros(92, 2).long())
    background, foreground = separator(mixture)
    assert torch.allclose(background[:, 200:1400], mixture[:, 200:1400], rtol=0, atol=1e-9)
    assert foreground[:, 200:1400].abs().max() < 1e-9


def test_channels_are_compared_together():
    """A loud channel decides which frames are alike, and the silent channel stays silent."""
    loud, soft = noise(1, 4000), 1e-3 * noise(1, 4000, seed=1)
    separator = RepetSim(min_distance_between_frames=0.05, **SMALL)
    mixture = torch.cat((loud, soft, torch.zeros_like(loud)))
    agree = separator.similar_frames(mixture) == separator.similar_frames(loud)
    assert agree.float().mean() > 0.99
    assert torch.equal(separator(mixture)[:, 2], torch.zeros(2, 4000, dtype=torch.float64))


def test_items_are_independent():
    mixture = noise(4, 2, 6000).float() * torch.tensor([1.0, 1e-5, 0.0, 1e5])[:, None, None]
    separator = RepetSim(min_distance_between_frames=0.1, sample_rate=8000)
    together, alone = separator(mixture), torch.stack([separator(item) for item in mixture])
    peak = mixture.abs().amax((1, 2))[:, None, None, None]
    assert ((together - alone).abs() <= 1e-5 * peak).all()


def test_similar_frames_have_the_minimum_distance():
    mixture = noise(2, 1, 16000)
    frames = RepetSim(min_distance_between_frames=0.25, sample_rate=8000).similar_frames(mixture)
    assert frames.shape == (2, 251, 7)
    own = torch.arange(251).expand(2, -1)[..., None]
    chosen = torch.cat((own, frames), -1).sort(-1).values.double()
    chosen[chosen < 0] = -torch.inf
    gaps = chosen.diff(dim=-1)
    assert gaps[gaps.isfinite()].min() >= 32  # 31.25 hops of 8 ms


@pytest.mark.parametrize("level", [1e-6, 1e-20, 1e10])
def test_the_level_plays_no_part(level):
    sources, rate = loop_and_voice()
    mixture = sources.sum(0).float()
    separator = RepetSim(min_distance_between_frames=0.3, sample_rate=rate)
    plain, scaled = separator(mixture), separator(mixture * level)
    assert torch.allclose(scaled / level, plain, rtol=0, atol=1e-3 * plain.abs().max().item())


def test_silence():
    silence = torch.zeros(2, 3, 24000)
    separator = RepetSim(sample_rate=8000)
    assert torch.equal(separator(silence), torch.zeros(2, 2, 3, 24000))
    assert torch.equal(separator.similar_frames(silence)[..., 0], torch.arange(376).expand(2, -1))


@pytest.mark.parametrize("length", [1, 50, 7900])
def test_where_nothing_recurs_all_is_background(length):
    mixture = noise(2, length)
    background, foreground = RepetSim(sample_rate=8000)(mixture)
    assert torch.allclose(background, mixture, rtol=0, atol=1e-12)
    assert torch.allclose(foreground, torch.zeros_like(mixture), atol=1e-12)


@pytest.mark.parametrize("cutoff", [0.0, 500.0, 4000.1])
def test_bins_below_the_cutoff_are_background(cutoff):
    separator = RepetSim(min_distance_between_frames=0.01, high_pass_cutoff_hz=cutoff, **SMALL)
    free = RepetSim(min_distance_between_frames=0.01, high_pass_cutoff_hz=0.0, **SMALL)
    spectrogram = separator.stft(noise(3, 2, 1000))
    masks, plain = separator.masks(spectrogram), free.masks(spectrogram)
    first = math.floor(cutoff / 125 + 0.5)  # the bin nearest to the cutoff
    assert torch.equal(masks[:, 0, :, :first], torch.ones_like(masks[:, 0, :, :first]))
    assert torch.equal(masks[..., first:, :], plain[..., first:, :])


def test_the_gradient_is_exact_for_the_frames_found():
    mixture = noise(2, 1, 200).requires_grad_()
    separator = RepetSim(0.0, 0.004, high_pass_cutoff_hz=0.0, sample_rate=8000, stft=STFT(16, 4, "hamming"))
    assert torch.autograd.gradcheck(separator, mixture, fast_mode=True)


def test_similar_frames_take_one_mixture_or_a_batch():
    mixture = noise(3, 2, 4000)
    separator = RepetSim(min_distance_between_frames=0.05, **SMALL)
    frames = separator.similar_frames(mixture)
    assert frames.shape == (3, 251, 10)
    assert torch.equal(separator.similar_frames(mixture[1]), frames[1])
    with pytest.raises(ValueError, match=r"mixture must have shape \(B, C, T\) or \(C, T\), got \(4000,\)"):
        separator.similar_frames(mixture[0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"similarity_threshold": -0.5}, r"similarity_threshold must be at least 0, got -0\.5"),
        ({"similarity_threshold": 1.5}, r"similarity_threshold must be at most 1, got 1\.5"),
        ({"min_distance_between_frames": -1.0}, r"min_distance_between_frames must be at least 0, got -1\.0"),
        ({"min_distance_between_frames": math.inf}, "min_distance_between_frames must be finite, got inf"),
        ({"max_repeating_frames": 0}, "max_repeating_frames must be at least 1, got 0"),
        ({"max_repeating_frames": 2.5}, r"max_repeating_frames must be an integer, got 2\.5"),
        ({"high_pass_cutoff_hz": -1.0}, r"high_pass_cutoff_hz must be at least 0, got -1\.0"),
        ({"mask_type": "ratio"}, "mask_type must be one of soft, binary, got 'ratio'"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        RepetSim(**arguments, sample_rate=8000)
