"""Clips cut from recordings for speech8k: pauses, levels, pitch and formats."""

import math
import sys

import pytest
import soundfile
import torch
from recipes.scripts import load

from torchsep import audio

prepare = load("speech8k")


clips, synthesis, speakers = prepare.clips, sys.modules["synthesis"], sys.modules["speakers"]


def tone(frequency, seconds, rate=8000, level=0.3):
    """Harmonics of a slightly varying frequency, similar to a voice."""
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    phase = 2 * math.pi * frequency * (time + 0.03 / 32 * torch.sin(32 * time))
    return level * sum(torch.sin(order * phase) / order for order in range(1, 6))[None].float()


def test_silence_around_and_long_pauses_are_cut_out():
    silence = torch.zeros(1, 8000)
    waveform = torch.cat(
        [silence, tone(150, 1.0), silence[:, :800], tone(150, 0.5), silence, tone(150, 0.7), silence], 1
    )
    lengths = [len(piece) / 8000 for piece in clips.pieces(waveform[0])]
    assert lengths == pytest.approx([1.6 + 0.06, 0.7 + 0.06], abs=0.03)  # a pause of 0.1 s stays


@pytest.mark.parametrize("samples", [0, 100, 8000])
def test_silence_and_nothing_have_no_pieces(samples):
    assert list(clips.pieces(torch.zeros(samples))) == []


def test_what_is_long_is_cut_where_it_is_softest_and_nothing_is_lost():
    waveform = tone(150, 9.0)[0]
    waveform[20000:20800] *= 0.1
    parts = list(clips.pieces(waveform))
    assert max(map(len, parts)) <= 32000
    assert 20000 <= len(parts[0]) <= 20800
    assert torch.equal(torch.cat(parts), waveform)


def test_every_piece_is_used_once_and_made_as_loud():
    parts = [tone(100 + 10 * number, 0.8, level=0.01 * (number + 1))[0] for number in range(12)]
    made = list(clips.utterances(parts, torch.Generator().manual_seed(0)))
    assert [utterance.shape for utterance in made] == [(1, 3 * 6400 - 2 * 80)] * 4
    found = []
    for utterance in made:
        for middle in utterance[0].unfold(0, 3200, 6320)[:, :]:
            found.append(round(clips.pitch(middle) / 10))
            assert middle.square().mean().sqrt().log10() * 20 == pytest.approx(-25, abs=0.3)
    assert len(found) == 12
    assert len(set(found)) >= 10  # pitches are right to some per cent


def test_short_remainders_are_left_out():
    made = clips.utterances([torch.rand(7000), torch.rand(900)], torch.Generator().manual_seed(0))
    assert list(made) == []


def test_peaks_stay_below_full_scale():
    click = torch.zeros(16000)
    click[8000] = 1.0
    (made,) = clips.utterances([click], torch.Generator().manual_seed(0))
    assert made.abs().max() == pytest.approx(0.9)


@pytest.mark.parametrize("frequency", [90.0, 150.0, 260.0])
def test_pitch_is_that_of_the_harmonics(frequency):
    assert clips.pitch(tone(frequency, 1.0)[0]) == pytest.approx(frequency, rel=0.03)


def test_noise_silence_and_nothing_have_no_pitch():
    generator = torch.Generator().manual_seed(0)
    for waveform in (torch.randn(8000, generator=generator), torch.zeros(8000), torch.zeros(100)):
        assert clips.pitch(waveform) == 0.0


def test_recordings_come_as_they_are_at_8_khz(tmp_path):
    stereo = torch.cat([tone(150, 1.0, 44100), torch.zeros(1, 44100)])
    audio.write(tmp_path / "a.wav", stereo, 44100)
    waveform, kind = clips.read(tmp_path / "a.wav")
    assert kind == (44100, 2)
    assert waveform.shape == (8000,)
    expected = tone(150, 1.0)[0] / 2
    likeness = torch.nn.functional.cosine_similarity(waveform, expected, dim=0)
    assert likeness > 0.9  # a high-pass filter shifts phases
    assert waveform.norm() == pytest.approx(expected.norm().item(), rel=0.05)


def test_a_recording_may_lack_its_end(tmp_path):
    audio.write(tmp_path / "a.ogg", 0.1 * torch.randn(1, 3 * 44100), 44100)
    whole = (tmp_path / "a.ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(whole[: whole.rfind(b"OggS")])
    with pytest.raises(ValueError, match="cut short"):
        audio.read(tmp_path / "a.ogg")
    assert 1.5 < len(clips.read(tmp_path / "a.ogg")[0]) / 8000 < 3.0


def test_headerless_and_empty_recordings(tmp_path):
    soundfile.write(tmp_path / "a.gsm", tone(150, 1.0)[0].numpy(), 8000, "GSM610", format="RAW")
    assert clips.pitch(clips.read(tmp_path / "a.gsm")[0]) == pytest.approx(150, rel=0.05)
    soundfile.write(tmp_path / "b.wav", torch.zeros(0).numpy(), 8000)
    with pytest.raises(ValueError, match=r"b\.wav: holds no samples"):
        clips.read(tmp_path / "b.wav")
