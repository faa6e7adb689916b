"""Ideal masks against their definitions, and against each other."""

import itertools

import numpy as np
import pytest
import torch
from scenes import improvement, loop_and_voice, noise, si_sdr, tones_and_clicks

from torchsep.functional import phase_sensitive_magnitude
from torchsep.separators import IdealBinaryMask, IdealRatioMask
from torchsep.transforms import STFT

FRONT = {"sample_rate": 8000, "stft": STFT(16, 4)}


def spectra(separator, sources):
    """NumPy spectrograms of sources ``(B, S, C, T)`` and of their mixture, and the mixture's tensor."""
    mixture = separator.stft(sources.sum(1))
    return separator.stft(sources).numpy(), mixture.numpy(), mixture


@pytest.mark.parametrize("sources", [2, 3, 5])
def test_the_binary_mask_gives_each_bin_to_the_loudest(sources):
    separator, true = IdealBinaryMask(**FRONT), noise(4, sources, 2, 37)
    spectrogram, _, mixture = spectra(separator, true)
    masks = separator.final_masks(mixture, sources=true).numpy()
    for item, channel, f, n in itertools.product(range(4), range(2), range(9), range(11)):
        levels = np.abs(spectrogram[item, :, channel, f, n])
        expected = [float(index == int(np.argmax(levels))) for index in range(sources)]
        assert masks[item, :, channel, f, n].tolist() == expected


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_equally_loud_sources_leave_the_bin_to_the_first(sources):
    same = noise(2, 1, 3, 37)
    true = torch.cat([0.5 * same] + [same] * (sources - 1), dim=1)
    masks = IdealBinaryMask(**FRONT).final_masks(STFT(16, 4)(true.sum(1)), sources=true)
    assert torch.equal(masks[:, 1], torch.ones_like(masks[:, 1]))
    true[:, 0] = true[:, 1]
    masks = IdealBinaryMask(**FRONT).final_masks(STFT(16, 4)(true.sum(1)), sources=true)
    assert torch.equal(masks[:, 0], torch.ones_like(masks[:, 0]))
    silent = IdealBinaryMask(**FRONT).final_masks(STFT(16, 4)(0 * true.sum(1)), sources=0 * true)
    assert torch.equal(silent.sum(1), torch.ones_like(silent[:, 0]))


def test_the_threshold_is_a_share_of_the_second_source():
    true = noise(3, 2, 1, 60)
    mixture = STFT(16, 4)(true.sum(1))
    level = STFT(16, 4)(true).abs()
    for threshold in (0.2, 0.7):
        masks = IdealBinaryMask(**FRONT, mask_threshold=threshold).final_masks(mixture, sources=true)
        assert torch.equal(masks[:, 1], (level[:, 1] / level.sum(1) > threshold).double())
    soft = IdealBinaryMask(**FRONT, mask_type="soft").final_masks(mixture, sources=true)
    assert torch.allclose(soft, level / level.sum(1, keepdim=True), rtol=0, atol=1e-14)


@pytest.mark.parametrize("sources", [2, 3, 5])
@pytest.mark.parametrize("approach", ["msa", "psa"])
def test_ratio_masks_are_their_definitions(approach, sources):
    separator, true = IdealRatioMask(approach, **FRONT), noise(4, sources, 2, 37)
    spectrogram, mixture, tensor = spectra(separator, true)
    masks = separator.masks(tensor, sources=true).numpy()
    for item, channel, f, n in itertools.product(range(4), range(2), range(9), range(11)):
        bins, x = spectrogram[item, :, channel, f, n], mixture[item, channel, f, n]
        if approach == "msa":
            models = np.abs(bins)
        else:
            models = np.abs(bins) * np.cos(np.angle(bins) - np.angle(x))
            models = np.clip(models, 0, np.abs(x))
        assert np.abs(masks[item, :, channel, f, n] - models / models.sum()).max() < 1e-9


def test_the_phase_sensitive_magnitude_is_truncated():
    mixture = torch.tensor([2.0 + 0j, 2.0, 2.0, 2.0, 2j, 0.0])
    source = torch.tensor([1.0 + 0j, 3.0, -1.0, 1 + 1j, 1 + 1j, 5.0])
    assert phase_sensitive_magnitude(source, mixture).tolist() == pytest.approx([1.0, 2.0, 0.0, 1.0, 1.0, 0.0])
    turned = torch.polar(torch.ones(6), torch.arange(6.0))
    magnitude = phase_sensitive_magnitude(source * turned, mixture * turned)
    assert torch.allclose(magnitude, phase_sensitive_magnitude(source, mixture), rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", [1e-18, 1e15])
def test_the_level_plays_no_part(level):
    true = noise(3, 2, 1, 60).float()
    for approach in ("msa", "psa"):
        separator = IdealRatioMask(approach, **FRONT)
        plain = separator(true.sum(1), sources=true)
        scaled = separator(true.sum(1) * level, sources=true * level) / level
        assert torch.allclose(scaled, plain, rtol=0, atol=1e-4 * plain.abs().max().item())


@pytest.mark.parametrize("scene", [tones_and_clicks, loop_and_voice])
def test_they_bound_what_masks_can_reach(scene):
    sources, rate = scene()
    mixture = sources.sum(0)
    scores = {
        name: si_sdr(separator(mixture, sources=sources), sources).mean().item()
        for name, separator in {
            "psa": IdealRatioMask("psa", sample_rate=rate),
            "msa": IdealRatioMask("msa", sample_rate=rate),
            "ibm": IdealBinaryMask(sample_rate=rate),
        }.items()
    }
    start = si_sdr(mixture.expand_as(sources), sources).mean().item()
    assert scores["psa"] > scores["msa"] > start + 10
    assert scores["ibm"] > start + 10
    assert improvement(IdealRatioMask(sample_rate=rate)(mixture, sources=sources), sources) > 15


@pytest.mark.parametrize("kind", [IdealBinaryMask, IdealRatioMask])
def test_sources_come_back_in_the_order_given(kind):
    sources, rate = loop_and_voice()
    separator, mixture = kind(sample_rate=rate), sources.sum(0)
    forward, backward = separator(mixture, sources=sources), separator(mixture, sources=sources.flip(0))
    assert torch.allclose(forward, backward.flip(0), rtol=0, atol=1e-12)
    assert si_sdr(forward, sources).min() > si_sdr(forward.flip(0), sources).max()
    assert separator.names == ()


@pytest.mark.parametrize("approach", ["msa", "psa"])
def test_gradients_are_those_of_finite_differences(approach):
    separator = IdealRatioMask(approach, sample_rate=8000, stft=STFT(8, 3, "hamming"))
    sources = noise(2, 3, 1, 13).requires_grad_()
    mixture = (sources.sum(1) + 0.1 * noise(2, 1, 13, seed=1)).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, s: separator(x, sources=s), (mixture, sources))


@pytest.mark.parametrize("kind", [IdealBinaryMask, IdealRatioMask])
def test_they_ask_for_the_sources(kind):
    separator, mixture = kind(sample_rate=8000), noise(3, 2, 50)
    with pytest.raises(ValueError, match="must be given sources besides the mixture, got none"):
        separator(mixture)
    with pytest.raises(ValueError, match="must be given sources besides the mixture, got estimates"):
        separator(mixture, estimates=noise(3, 4, 2, 50))
    for shape in ((3, 4, 2, 49), (3, 4, 1, 50), (4, 2, 50), (2, 4, 2, 50)):
        with pytest.raises(ValueError, match=r"sources must have shape \(B, S, C, T\) for mixture \(3, 2, 50\), got"):
            separator(mixture, sources=noise(*shape))
    with pytest.raises(ValueError, match=r"sources must have shape \(S, C, T\) for mixture \(2, 50\), got"):
        separator(mixture[0], sources=noise(2, 50))
    with pytest.raises(ValueError, match=r"sources must be floating point, got torch\.int16"):
        separator(mixture, sources=torch.zeros(3, 4, 2, 50, dtype=torch.int16))


def test_approaches_refused():
    with pytest.raises(ValueError, match="approach must be one of psa, msa, got 'wiener'"):
        IdealRatioMask("wiener", sample_rate=8000)
