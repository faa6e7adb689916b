"""Audio and pictures of a page: what they show, their axes and their size."""

import math
import re

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report.fake_evaluation import ramp, write_evaluation
from report.parsed_page import decoded, page_of

from torchsep import audio
from torchsep.engine.evaluate.result_reader import read_runs
from torchsep.report import ReportOptions, make_report, pictures, sounds
from torchsep.report.items import Track, items_of_files, items_of_runs
from torchsep.report.pictures import frequency_marks, mask_uri, mel_powers, spectrogram_uris
from torchsep.report.sounds import Excerpt, audio_uri, read_excerpts


def test_closed_items_are_not_decoded(tmp_path):
    _, page = page_of(write_evaluation(tmp_path), masks=True)
    assert len(page.all("img")) == 3 * (4 + 3)
    assert {(picture["loading"], picture["decoding"]) for picture in page.all("img")} == {("lazy", "async")}
    assert {sound["preload"] for sound in page.all("audio")} == {"none"}
    items = [attributes for _, attributes in page.found if attributes.get("class") == "item"]
    assert ["open" in item for item in items] == [True, False, False]


def test_sound_is_that_of_the_files(tmp_path):
    _, page = page_of(write_evaluation(tmp_path, ids=("a",)), seconds=0.5)
    sounds = [soundfile.read(decoded(tag["src"])) for tag in page.all("audio")]
    assert [tag["aria-label"] for tag in page.all("audio")] == [
        "Mixture",
        "Reference, voice",
        "first, voice",
        "second, voice",
    ]
    assert {(len(samples), rate) for samples, rate in sounds} == {(8000, 16000)}
    expected = ramp()[0, :8000].numpy()
    assert np.abs(sounds[0][0] - expected).max() < 1 / 32768
    assert np.abs(sounds[1][0] + expected).max() < 1 / 32768


def test_mp3_is_smaller_and_as_long(tmp_path):
    noise = torch.randn(1, 32000).clamp(-3, 3) / 4
    excerpt = Excerpt(Track(tmp_path, "file", "a"), noise, 16000)
    flac, mp3 = (decoded(audio_uri(excerpt, format_)) for format_ in ("flac", "mp3"))
    assert len(mp3.getvalue()) < len(flac.getvalue()) / 3
    assert soundfile.info(mp3).duration == pytest.approx(2.0, abs=0.1)
    odd = Excerpt(excerpt.track, noise, 10000)
    assert soundfile.info(decoded(audio_uri(odd, "mp3"))).samplerate == 11025


def music(rate, channels, seconds=4.0):
    """Decaying harmonic notes over soft noise, about as compressible as music."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(round(seconds * rate)) / rate
    notes = sum(torch.sin(2 * math.pi * 110 * h * time) / h for h in range(1, 20) if 110 * h < rate / 2)
    noise = torch.randn(channels, len(time), generator=generator)
    return 0.2 * (notes * torch.exp(-4 * (time % 0.5)) + 0.1 * noise)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "channels", "seconds"), [(8000, 1, 0), (44100, 2, 0), (44100, 2, 1.5), (48000, 4, 3)])
@pytest.mark.parametrize("masks", [False, True])
def test_the_size_of_a_page_is_estimated(tmp_path, rate, channels, seconds, masks):
    for number in range(3):
        for name in ("mixture", "one", "two", "three"):
            audio.write(tmp_path / f"out/{number}/{name}.wav", music(rate, channels), rate)
    options = ReportOptions(seconds=seconds, items=2, masks=masks, audio="flac")
    written = make_report([tmp_path / "out"], tmp_path / "page.html", options)
    tracks = [track for item in items_of_files([tmp_path / "out"])[:2] for track in item.tracks]
    fixed = make_report([tmp_path / "out/0/one.wav"], tmp_path / "page.html", ReportOptions(seconds=1e-3)).size
    estimated = sounds.estimate_page_size(tracks, seconds, masks=masks)
    assert 0.6 < estimated / (written.size - fixed) < 1.6


def test_large_pages_have_compressed_audio(tmp_path, monkeypatch):
    write_evaluation(tmp_path, ids=tuple("abcd"))

    def formats(**options):
        report, page = page_of(tmp_path, **options)
        (found,) = {sound["src"].partition(";")[0] for sound in page.all("audio")}
        assert any("MP3" in data for tag, data in page.texts if tag == "p") == (found == "data:audio/mpeg")
        return report.audio, found

    tracks = [track for item in items_of_runs(read_runs([tmp_path])) for track in item.tracks]
    size = sounds.estimate_page_size(tracks, 10.0)
    assert formats() == ("flac", "data:audio/flac")
    monkeypatch.setattr(sounds, "SIZE_LIMIT", 0.9 * size)
    assert formats() == formats(audio="mp3") == ("mp3", "data:audio/mpeg")
    assert formats(audio="flac") == ("flac", "data:audio/flac")
    assert formats(items=2) == formats(seconds=0.5) == ("flac", "data:audio/flac")
    monkeypatch.setattr(sounds, "SIZE_LIMIT", 1.1 * size)
    assert formats()[0] == "flac"
    assert formats(masks=True)[0] == "mp3"


def test_tracks_are_scaled_equally_and_have_one_length(tmp_path):
    audio.write(tmp_path / "loud.wav", torch.full((1, 800), 4.0), 8000, "FLOAT")
    audio.write(tmp_path / "soft.wav", torch.full((1, 800), 0.5), 16000)
    excerpts = read_excerpts([Track(tmp_path / f"{name}.wav", "file", name) for name in ("loud", "soft")])
    loud, soft = (excerpt.waveform for excerpt in excerpts.excerpts)
    assert (excerpts.gain, excerpts.duration, excerpts.is_whole) == (0.25, 0.1, True)
    assert loud.tolist() == [[1.0] * 800]
    assert soft.shape == (1, 1600)
    assert soft[0, 799] == pytest.approx(0.125, abs=1e-6)
    assert soft[0, 800:].abs().max() == 0
    assert not read_excerpts([Track(tmp_path / "loud.wav", "file", "loud")], seconds=0.05).is_whole


def test_a_tone_is_where_its_frequency_is():
    time = torch.arange(32000) / 16000
    tone = Excerpt(Track("a", "file", "a"), torch.sin(2 * math.pi * 1000 * time)[None], 16000)
    silence = Excerpt(Track("b", "file", "b"), torch.zeros(2, 32000), 16000)
    bright, dark = (np.asarray(Image.open(decoded(uri))) for uri in spectrogram_uris(mel_powers([tone, silence])))
    assert bright.shape[0] == dark.shape[0] == pictures.BANDS
    (place,) = [place for name, place in frequency_marks(16000) if name == "1 kHz"]
    assert abs(bright[:, 50].argmax() - place * pictures.BANDS) < 1.5
    assert bright.max() == pictures.COLOURS - 1
    assert dark.max() == 0
    assert {np.asarray(Image.open(decoded(uri))).max() for uri in spectrogram_uris(mel_powers([silence]))} == {0}


@given(st.floats(1e-4, 1e6))
def test_time_axes_have_a_few_round_marks(duration):
    marks = pictures.time_marks(duration)
    assert marks[0] == ("0", 0.0)
    assert 2 <= len(marks) <= 5
    for text, place in marks[1:]:
        assert 0 < place <= 1
        seconds = 0.0
        for part in text.removesuffix(" s").split(":"):
            seconds = 60 * seconds + float(part)
        assert seconds == pytest.approx(place * duration)
    assert len({text for text, _ in marks}) == len(marks)


@pytest.mark.parametrize("rate", [100, 8000, 44100, 192000])
def test_every_picture_has_both_axes(tmp_path, rate):
    for name in ("mixture", "voice", "music"):
        audio.write(tmp_path / f"out/{name}.wav", ramp(3.0, rate), rate)
    make_report([tmp_path / "out"], tmp_path / "page.html", ReportOptions(masks=True, audio="flac"))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    parts = re.split(r'<div class="picture', text)[1:]
    assert len(parts) == 3 + 2
    for part in parts:
        across, along = re.findall(r'<svg class="axis[^"]*" aria-hidden="true">(.*?)</svg>', part)
        assert (
            re.findall(r'y="([^"]*)" dy="3.5">([^<]*)', across)
            == [(f"{100 * place:.1f}%", words) for words, place in frequency_marks(rate)]
            != []
        )
        assert re.findall(r">([^<]+)</text>", along) == ["0", "1 s", "2 s", "3 s"]


def test_masks_are_ratios_of_magnitudes():
    noise = torch.randn(1, 16000)
    track = Track("a", "file", "a")
    mixture, half, none = mel_powers([Excerpt(track, gain * noise, 16000) for gain in (1.0, 0.5, 0.0)])
    assert np.asarray(Image.open(decoded(mask_uri(mixture, mixture)))).min() == pictures.COLOURS - 1
    steps = np.asarray(Image.open(decoded(mask_uri(half, mixture)))).astype(int)
    assert np.abs(steps - pictures.COLOURS / 2).max() <= 1
    assert np.asarray(Image.open(decoded(mask_uri(half, none)))).max() == 0
