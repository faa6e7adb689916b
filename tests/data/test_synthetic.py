import math

import pytest
import torch

from torchsep.data.synthetic import music_and_voice

LOOP = 2.0  # seconds


@pytest.fixture(scope="module")
def scene():
    return music_and_voice(9.0, 16000, seed=0)


def power_db(signal):
    return 10 * torch.log10(signal.double().square().mean())


def si_sdr(estimate, reference):
    estimate, reference = estimate.double(), reference.double()
    target = (estimate * reference).sum() / reference.square().sum() * reference
    return (power_db(target) - power_db(estimate - target)).item()


def repeating_part(mixture, rate, size=1024):
    hop, window = size // 4, torch.hann_window(size).sqrt()
    spectrum = torch.stft(mixture, size, hop, window=window, return_complex=True)
    period = round(LOOP * rate / hop)
    segments = spectrum.abs().split(period, dim=-1)
    padded = [torch.nn.functional.pad(s, (0, period - s.shape[-1]), value=math.nan) for s in segments]
    model = torch.stack(padded).nanmedian(0).values.repeat(1, 1, len(segments))[..., : spectrum.shape[-1]]
    mask = torch.minimum(model, spectrum.abs()) / spectrum.abs().clamp_min(1e-9)
    return torch.istft(mask * spectrum, size, hop, window=window, length=mixture.shape[-1])


@pytest.mark.parametrize(
    ("duration", "rate"),
    [(1 / 8000, 8000), (2 / 8000, 8000), (0.01, 44100), (0.3, 16000), (1.00003, 22050), (4.5, 11025), (2.5, 48000)],
)
def test_shape_dtype_and_finiteness(duration, rate):
    scene = music_and_voice(duration, rate)
    assert list(scene) == ["music", "voice"]
    for source in scene.values():
        assert source.shape == (2, round(duration * rate))
        assert source.dtype == torch.float32
        assert source.device.type == "cpu"
        assert source.isfinite().all()


def test_defaults_are_twelve_seconds_at_44100_hertz():
    assert music_and_voice()["music"].shape == (2, 12 * 44100)


def test_one_sample_is_silent():
    assert all((source == 0).all() for source in music_and_voice(1 / 8000, 8000).values())


def test_voice_is_silent_before_its_first_note_while_the_music_plays():
    scene = music_and_voice(0.1, 16000)
    assert (scene["voice"] == 0).all()
    assert scene["music"].abs().max().item() == pytest.approx(0.9, abs=1e-5)


@pytest.mark.parametrize("duration", [0.05, 0.5, 3.0, 9.0])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_mixture_peaks_at_nine_tenths(duration, rate):
    scene = music_and_voice(duration, rate, seed=3)
    assert (scene["music"] + scene["voice"]).abs().max().item() == pytest.approx(0.9, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sources_are_equally_loud(seed):
    scene = music_and_voice(6.0, 8000, seed)
    assert power_db(scene["voice"]).item() == pytest.approx(power_db(scene["music"]).item(), abs=0.1)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
def test_music_repeats_exactly_every_two_seconds(rate):
    music, period = music_and_voice(5.3, rate)["music"], round(LOOP * rate)
    assert (music[:, :-period] - music[:, period:]).abs().max() < 1e-6
    half = period // 2  # the loop itself is not a repetition of something shorter
    assert power_db(music[:, :-half] - music[:, half:]) > power_db(music) - 6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_voice_does_not_repeat(seed):
    rate = 16000
    voice = music_and_voice(9.0, rate, seed)["voice"]
    magnitude = torch.stft(voice[0], 1024, 400, window=torch.hann_window(1024), return_complex=True).abs()
    for lag in (40, 80, 120, 160):  # one to four seconds in frames
        a, b = magnitude[:, :-lag].flatten(), magnitude[:, lag:].flatten()
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) < 0.5


def test_same_seed_gives_the_same_bits():
    first, second = music_and_voice(3.0, 16000, 5), music_and_voice(3.0, 16000, 5)
    assert torch.equal(first["music"], second["music"])
    assert torch.equal(first["voice"], second["voice"])


def test_another_seed_sings_another_melody():
    first, second = (
        torch.stft(
            music_and_voice(6.0, 16000, s)["voice"][0], 2048, 512, window=torch.hann_window(2048), return_complex=True
        ).abs()
        for s in (0, 1)
    )
    assert torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0) < 0.5


def test_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = music_and_voice(1.0, 8000)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(music_and_voice(1.0, 8000)["voice"], first["voice"])


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("source", ["music", "voice"])
def test_nothing_above_the_band(rate, source):
    signal = music_and_voice(4.0, rate)[source].double()
    signal = signal * torch.hann_window(signal.shape[-1], dtype=torch.float64)
    power = torch.fft.rfft(signal).abs().square()
    above = power[:, int(0.45 * signal.shape[-1]) :].sum() / power.sum()
    assert 10 * torch.log10(above) < -65


@pytest.mark.parametrize(("source", "low", "high"), [("music", 0.5, 0.99), ("voice", 0.9, 1.0001)])
def test_channels_differ_but_belong_together(scene, source, low, high):
    left, right = scene[source]
    assert (left - right).abs().max() > 0.01
    assert low < torch.nn.functional.cosine_similarity(left, right, dim=0) < high


@pytest.mark.parametrize("source", ["music", "voice"])
def test_starts_from_zero_without_a_click(scene, source):
    onset = scene[source][:, : round(0.0005 * 16000)]  # half a millisecond of an attack of two
    assert onset[:, 0].abs().max() < 1e-6
    assert onset.abs().max() < 0.1


def test_repetitions_join_without_a_click(scene):
    joint = scene["music"][:, 2 * 16000 - 8 : 2 * 16000 + 2]
    assert joint.abs().max() < 0.01


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_voice_is_sung(seed):
    rate, size = 16000, 1024
    voice = music_and_voice(8.0, rate, seed)["voice"][0]
    frames = voice.unfold(0, size, size // 2)
    sounding = frames[frames.square().mean(1) > 0.1 * voice.square().mean()]
    assert len(sounding) / len(frames) > 0.6
    after_first_note = frames[2 * rate // size * 2 :]  # from two seconds on
    assert (after_first_note.abs().amax(1) < 1e-6).any()  # a rest between phrases
    spectrum = torch.fft.rfft(sounding * torch.hann_window(size), n=2 * size)
    correlation = torch.fft.irfft(spectrum.abs().square())
    periodicity = correlation[:, rate // 600 : rate // 190].amax(1) / correlation[:, 0]
    assert periodicity.median() > 0.6  # noise stays below 0.3
    power = torch.fft.rfft(voice).abs().square()
    hertz = torch.linspace(0, rate / 2, len(power))
    bands = ((200, 1500), (2300, 2900), (4200, 4800))
    low, formant, above = (power[(hertz >= a) & (hertz < b)].sum() / power.sum() for a, b in bands)
    assert low > 0.8
    assert 10 * torch.log10(formant / above) > 10  # roll-off alone leaves 5


@pytest.mark.parametrize("seed", [0, 1])
def test_repetition_separates_it_fairly(seed):
    rate = 16000
    scene = music_and_voice(9.0, rate, seed)
    mixture = scene["music"] + scene["voice"]
    music = repeating_part(mixture, rate)
    for source, estimate in (("music", music), ("voice", mixture - music)):
        gain = si_sdr(estimate, scene[source]) - si_sdr(mixture, scene[source])
        assert 5 < gain < 25


def test_default_device_does_not_matter():
    expected = music_and_voice(0.5, 8000)
    with torch.device("meta"):
        scene = music_and_voice(0.5, 8000)
    assert torch.equal(scene["voice"], expected["voice"])


@pytest.mark.parametrize("duration", [0.0, -1.0, math.nan, math.inf, 1e-6])
def test_bad_duration(duration):
    with pytest.raises(ValueError, match=rf"^duration must be finite and at least one sample long, got {duration}$"):
        music_and_voice(duration, 8000)


@pytest.mark.parametrize("rate", [0, -1, 7999])
def test_bad_sample_rate(rate):
    with pytest.raises(ValueError, match=rf"^sample_rate must be at least 8000, got {rate}$"):
        music_and_voice(1.0, rate)
