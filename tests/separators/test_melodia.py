"""Melodia: pitch accuracy on sung notes over chords, separation in dB, and its parameters."""

import math

import pytest
import torch
from scenes import RATE, improvement, noise

from torchsep.functional import harmonic_mask, vowel_envelope
from torchsep.separators.melodia import Melodia
from torchsep.transforms import STFT

SMALL = {"sample_rate": 8000, "stft": STFT(256, 64)}
_VOWELS = ((760.0, 1180.0, 2700.0), (470.0, 830.0, 2600.0), (350.0, 680.0, 2500.0), (530.0, 1720.0, 2550.0))


def _uniform(seed, low, high):
    return low + (high - low) * torch.rand(1, generator=torch.Generator().manual_seed(seed)).item()


def sung_notes(lowest, rate, seconds, seed):
    """A voice with vibrato on the notes of an octave from the lowest, and its pitch, zero in rests; both ``(T,)``."""
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    pitch, level, formants = torch.zeros_like(time), torch.zeros_like(time), torch.ones(3, len(time)).double()
    start, number = 0.3, 100 * seed
    while start < seconds - 0.8:
        end = start + _uniform(number, 0.35, 0.8)
        note = (start <= time) & (time < end)
        local = time[note] - start
        swing = 0.5 * (local / 0.15).clamp(max=1.0) * torch.sin(2 * math.pi * _uniform(number + 1, 5.0, 6.0) * local)
        pitch[note] = lowest * 2 ** ((int(_uniform(number + 2, 0.0, 12.0)) + swing) / 12)
        level[note] = (local / 0.04).clamp(max=1.0) * ((end - start - local) / 0.05).clamp(max=1.0)
        formants[:, note] = torch.tensor(_VOWELS[number % 4]).double()[:, None]
        start, number = end + (0.4 if number % 3 == 0 else 0.0), number + 7
    phase = 2 * math.pi * (pitch / rate).cumsum(0)
    voice = torch.zeros_like(time)
    for harmonic in range(1, int(0.45 * rate / lowest) + 1):
        hertz = harmonic * pitch
        gains = zip((1.0, 0.7, 0.5), (130.0, 150.0, 220.0), formants, strict=True)
        weight = 0.02 + sum(gain / (1 + ((hertz - centre) / width).square()) for gain, width, centre in gains)
        voice += weight * (hertz < 0.45 * rate) * torch.sin(harmonic * phase) / harmonic
    return voice * level, pitch


def chords(rate, seconds, seed):
    """A triad a second, of decaying tones."""
    time = torch.arange(rate, dtype=torch.float64) / rate
    parts = []
    for beat in range(math.ceil(seconds)):
        root = 130.8 * 2 ** (int(_uniform(1000 * seed + beat, 0.0, 8.0)) / 12)
        tones = [root * 2 ** (step / 12) for step in (0, 3 + beat % 2, 7)]
        tone = sum(
            torch.sin(2 * math.pi * h * hertz * time + h * hertz) * torch.exp(-time * h**0.5) / h**1.3
            for hertz in tones
            for h in range(1, 9)
        )
        parts.append(tone * (time / 0.01).clamp(max=1.0) * ((1 - time) / 0.02).clamp(max=1.0))
    return torch.cat(parts)[: round(seconds * rate)]


def song(lowest=220.0, rate=RATE, seconds=4.0, seed=0):
    """Chords and a voice of the same power, ``(2, 1, T)``, with the pitch of the voice ``(T,)``."""
    voice, pitch = sung_notes(lowest, rate, seconds, seed)
    music = chords(rate, seconds, seed)
    voice = voice * (music.square().mean() / voice.square().mean()).sqrt()
    return torch.stack((music, voice))[:, None], pitch


def overall_accuracy(melody, pitch, hop):
    """The share of frames that are rightly silent, or within 50 cents of the true pitch."""
    truth = pitch[(torch.arange(len(melody)) * hop).clamp(max=len(pitch) - 1)]
    sung, found = truth > 0, melody > 0
    cents = 1200 * (melody.where(found, 1.0) / truth.where(sung, 1.0)).log2().abs()
    return torch.where(sung, found & (cents < 50), ~found).double().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(("lowest", "rate", "seed"), [(220.0, 44100, 1), (150.0, 22050, 2), (300.0, 16000, 3)])
def test_melody_is_found(lowest, rate, seed):
    sources, pitch = song(lowest, rate, 6.0, seed)
    separator = Melodia(sample_rate=rate)
    melody = separator.melody(sources.sum(0).float())
    assert overall_accuracy(melody, pitch, separator.melody_hop_length) >= 0.80


@pytest.mark.parametrize(("mask_type", "floor"), [("soft", 6.0), ("binary", 6.0)])
def test_vocals_and_chords_are_separated(mask_type, floor):
    sources, pitch = song()
    separator = Melodia(sample_rate=RATE, mask_type=mask_type)
    assert overall_accuracy(separator.melody(sources.sum(0)), pitch, separator.melody_hop_length) > 0.85
    assert improvement(separator(sources.sum(0)), sources) > floor


def test_masks_are_lobes_around_the_melody():
    sources, _ = song()
    mixture = sources.sum(0)[None]
    separator = Melodia(smooth_length=1, **SMALL)
    background, foreground = separator.masks(separator.stft(mixture))[0, :, 0]
    melody = separator.melody(mixture[0])
    nearest = torch.arange(foreground.shape[-1]) * 64 / separator.melody_hop_length
    pitch = melody[(nearest + 0.5).floor().long()]
    lobes = harmonic_mask(pitch.view(1, 1, 1, -1), torch.arange(129).double()[:, None] * 31.25, 46.875, 40)[0, 0]
    assert torch.allclose(foreground, 0.1 + 0.8 * lobes, rtol=0, atol=1e-9)  # the main lobe ends 1.5 bins off
    assert torch.equal(background, 1 - foreground)
    assert pitch.count_nonzero() > 200


def test_lobes_are_the_plain_ones():
    melody = torch.tensor([110.0, 463.1, 0.0, 1700.0])
    hertz = torch.arange(200) * 20.0
    lobes = harmonic_mask(melody.view(1, 1, 1, -1), hertz[:, None], 30.0, 7)[0, 0]
    for frame, pitch in enumerate(melody.tolist()):
        for number, frequency in enumerate(hertz.tolist()):
            off = [abs(frequency - h * pitch) - (2 ** (1 / 24) - 1) * h * pitch for h in range(1, 8)]
            share = math.cos(math.pi / 2 * min(1.0, max(0.0, min(off)) / 30)) ** 2 if pitch else 0.0
            assert lobes[number, frame].item() == pytest.approx(share, abs=2e-5)


def test_masks_are_averaged_over_frames():
    mixture = song()[0].sum(0)[None]
    plain, smooth = (Melodia(smooth_length=length, **SMALL) for length in (1, 5))
    spectrogram = plain.stft(mixture)
    sharp, soft = plain.masks(spectrogram), smooth.masks(spectrogram)
    assert torch.allclose(soft[..., 2:-2], sharp.unfold(-1, 5, 1).mean(-1), rtol=0, atol=1e-9)


def test_the_lower_octave_is_added():
    mixture = song()[0].sum(0)[None]
    plain, more = Melodia(**SMALL), Melodia(add_lower_octave=True, **SMALL)
    spectrogram = plain.stft(mixture)
    mask, wider = plain.masks(spectrogram)[:, 1], more.masks(spectrogram)[:, 1]
    assert (wider >= mask - 1e-9).all()
    assert wider.sum() > 1.3 * mask.sum()


def test_the_vowel_filter_weighs_frequencies():
    mixture = song()[0].sum(0)[None]
    plain, voiced = Melodia(**SMALL), Melodia(apply_vowel_filter=True, **SMALL)
    spectrogram = plain.stft(mixture)
    mask, weighed = plain.masks(spectrogram)[:, 1], voiced.masks(spectrogram)[:, 1]
    envelope = vowel_envelope(plain.stft.frequencies(8000))[:, None]
    assert torch.allclose(weighed - 0.1, envelope * (mask - 0.1), rtol=0, atol=1e-9)
    assert envelope[16] == envelope.max() == 1.0  # 500 Hz


@pytest.mark.parametrize("compression", [0.5, 3.0])
def test_the_mask_of_harmonics_is_compressed(compression):
    mixture = song()[0].sum(0)[None]
    shared = {"smooth_length": 1, "apply_vowel_filter": True, **SMALL}
    plain, compressed = Melodia(**shared), Melodia(compression=compression, **shared)
    spectrogram = plain.stft(mixture)
    mask, raised = plain.masks(spectrogram)[:, 1], compressed.masks(spectrogram)[:, 1]
    expected = 0.1 + 0.8 * ((mask - 0.1).clamp(min=0) / 0.8) ** compression
    assert torch.allclose(raised, expected, rtol=0, atol=1e-7)
    assert not torch.allclose(raised, mask, atol=0.1)


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
def test_what_is_below_the_cutoff_is_background(mask_type):
    mixture = song()[0].sum(0)[None]
    plain, high = (Melodia(mask_type=mask_type, high_pass_cutoff_hz=cutoff, **SMALL) for cutoff in (0.0, 700.0))
    spectrogram = plain.stft(mixture)
    mask, passed = plain.final_masks(spectrogram), high.final_masks(spectrogram)
    low = high.stft.bins_below(700.0, 8000)
    assert 0 < low.sum() < len(low)
    assert not passed[:, 1, :, low].any()
    assert (passed[:, 0, :, low] == 1).all()
    assert mask[:, 1, :, low].any()
    assert torch.equal(passed[..., ~low, :], mask[..., ~low, :])
    estimates = high(mixture)
    assert torch.allclose(estimates.sum(1), mixture, atol=1e-9)


def test_more_overtones_take_more():
    mixture = song()[0].sum(0)[None]
    few, many = (Melodia(num_overtones=number, **SMALL) for number in (3, 40))
    spectrogram = few.stft(mixture)
    above = few.stft.frequencies(8000) > 3.4 * few.melody(mixture[0]).max()
    assert few.masks(spectrogram)[:, 1, :, above].max() == pytest.approx(0.1)
    assert many.masks(spectrogram)[:, 1, :, above].max() > 0.89


def test_the_range_bounds_the_melody():
    mixture = song()[0].sum(0)
    melody = Melodia(min_frequency_hz=300.0, max_frequency_hz=400.0, sample_rate=RATE).melody(mixture)
    sung = melody[melody > 0]
    assert len(sung) > 20
    assert 299 < sung.min() < sung.max() < 401


def test_stereo_out_of_phase_has_a_melody():
    sources, pitch = song()
    mixture = sources.sum(0)
    separator = Melodia(sample_rate=RATE)
    melody = separator.melody(torch.cat((mixture, -mixture)))
    assert overall_accuracy(melody, pitch, separator.melody_hop_length) > 0.85
    masks = separator.masks(separator.stft(torch.cat((mixture, -mixture))[None]))
    assert masks.shape[2] == 1


def test_items_are_independent():
    first, second = (song(lowest, seed=seed)[0].sum(0).float() for lowest, seed in ((220.0, 0), (160.0, 4)))
    batch = torch.stack((first, 1e-6 * second, 0 * first, 1e4 * first))
    separator = Melodia(sample_rate=RATE)
    melody = separator.melody(batch)
    for item in range(4):
        assert torch.equal(melody[item], separator.melody(batch[item]))
    assert torch.equal(melody[2], torch.zeros_like(melody[2]))
    assert torch.allclose(melody[3], melody[0], rtol=1e-6)


@pytest.mark.parametrize("level", [1e-15, 1e-4, 1e10])
def test_the_level_plays_no_part(level):
    mixture = song()[0].sum(0).float()
    separator = Melodia(sample_rate=RATE)
    plain, scaled = separator(mixture), separator(mixture * level)
    assert torch.allclose(separator.melody(mixture * level), separator.melody(mixture), rtol=1e-5)
    assert torch.allclose(scaled / level, plain, rtol=0, atol=1e-3 * plain.abs().max().item())


def test_silence_is_background():
    sources, _ = song()
    separator = Melodia(sample_rate=RATE)
    silent = torch.zeros(1, 1, 16000)
    masks = separator.masks(separator.stft(silent))
    assert torch.equal(masks, torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1).expand_as(masks))
    assert torch.equal(separator(silent[0]), torch.zeros(2, 1, 16000))
    partly = torch.cat((sources.sum(0), torch.zeros(1, 16000)), -1)[None]
    assert torch.equal(separator.melody(partly[0])[-250:], torch.zeros(250, dtype=torch.float64))
    assert (separator.masks(separator.stft(partly))[:, 1, ..., -200:] == 0).all()


@pytest.mark.parametrize("length", [1, 47, 500])
def test_what_has_no_melody_is_background(length):
    mixture = noise(2, length)
    background, foreground = Melodia(sample_rate=8000)(mixture)
    assert torch.allclose(background, mixture, rtol=0, atol=1e-12)
    assert torch.allclose(foreground, torch.zeros_like(mixture), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rate", "hop"), [(1, 1), (8000, 48), (16000, 96), (22050, 128), (44100, 256), (48000, 288), (192000, 1152)]
)
def test_hops_are_about_six_milliseconds(rate, hop):
    separator = Melodia(sample_rate=rate)
    assert separator.melody_hop_length == hop
    assert separator.melody(noise(2, 1, 3 * hop + 1)).shape == (2, 5)


def test_melody_takes_one_mixture_or_a_batch():
    mixture = song()[0].sum(0)
    separator = Melodia(sample_rate=RATE)
    assert torch.equal(separator.melody(mixture), separator.melody(mixture[None])[0])
    assert separator.melody(mixture.float()).dtype == torch.float32
    assert separator.melody(mixture).dtype == torch.float64
    with pytest.raises(ValueError, match=r"\(B, C, T\) or \(C, T\)"):
        separator.melody(mixture[0])


def test_the_gradient_is_that_of_a_held_mask():
    mixture = song()[0].sum(0)[:, 2000:4000].clone().requires_grad_()
    separator = Melodia(**SMALL)
    masks = separator.masks(separator.stft(mixture[None]))
    assert not masks.requires_grad
    assert masks[:, 1].max() > 0.89
    weights = noise(2, 1, 2000)
    (grad,) = torch.autograd.grad((separator(mixture) * weights).sum(), mixture)
    spectrogram = separator.stft(mixture[None])
    held = separator.stft.inverse(spectrogram[:, None], 2000, masks)[0]
    (expected,) = torch.autograd.grad((held * weights).sum(), mixture)
    assert torch.allclose(grad, expected, rtol=1e-9)


@pytest.mark.parametrize("window", ["hann", "rectangular", "blackman", ("kaiser", 8.0), ("exponential", 20.0)])
def test_any_window_has_a_lobe(window):
    separator = Melodia(sample_rate=8000, stft=STFT(256, 64, window))
    estimates = separator(song(seconds=1.5)[0].sum(0))
    assert estimates.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_frequency_hz": 0.0}, "min_frequency_hz must be above 0"),
        ({"max_frequency_hz": 55.0}, "max_frequency_hz must be above 55"),
        ({"voicing_tolerance": math.inf}, "voicing_tolerance must be finite"),
        ({"min_peak_salience": 101.0}, "min_peak_salience must be at most 100"),
        ({"num_overtones": 0}, "num_overtones must be at least 1"),
        ({"compression": 0.0}, "compression must be above 0, got 0.0"),
        ({"high_pass_cutoff_hz": -1.0}, "high_pass_cutoff_hz must be at least 0, got -1.0"),
        ({"smooth_length": 0}, "smooth_length must be at least 1"),
        ({"add_lower_octave": 1}, "add_lower_octave must be True or False"),
        ({"apply_vowel_filter": "yes"}, "apply_vowel_filter must be True or False"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Melodia(sample_rate=8000, **arguments)
