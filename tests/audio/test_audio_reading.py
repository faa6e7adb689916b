"""Reading audio files."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import FORMATS, RATE, fails, save, tone

from torchsep import audio


@pytest.mark.parametrize("suffix", FORMATS)
def test_probe_says_what_soundfile_wrote(tmp_path, suffix):
    info = audio.probe(save(tmp_path / f"a.{suffix}", tone(22050)))
    assert (info.sample_rate, info.channels, info.num_samples, info.duration) == (RATE, 2, 22050, 0.5)
    assert info.format == suffix.upper()
    assert info.subtype == {"ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}.get(suffix, "PCM_16")


def test_probe_does_not_decode(tmp_path, monkeypatch):
    path = save(tmp_path / "a.flac", tone())
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    assert audio.probe(str(path)).num_samples == RATE


@pytest.mark.parametrize("suffix", FORMATS)
def test_read_gives_the_samples_of_soundfile(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", tone(150_001, 3 if suffix != "mp3" else 2))
    waveform, rate = audio.read(path)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    assert rate == RATE
    assert waveform.dtype == torch.float32
    assert waveform.is_contiguous()
    np.testing.assert_allclose(waveform.numpy(), expected, atol=1e-6 if suffix == "mp3" else 0)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("samples", [30_000, 200_000])
def test_partial_reads_are_slices_of_the_full_read(tmp_path, suffix, samples):
    path = save(tmp_path / f"a.{suffix}", tone(samples))
    full, _ = audio.read(path)
    tolerance = {"ogg": 1e-5, "mp3": 1e-4}.get(suffix, 0)
    for start in (0, 1, 12_345, samples - 15_000, samples - 3000, samples - 1):
        part, _ = audio.read(path, offset=start / RATE, duration=5000 / RATE)
        torch.testing.assert_close(part, full[:, start : start + 5000], atol=tolerance, rtol=0)


def test_vorbis_seek_is_right_within_the_last_page(tmp_path):
    path = save(tmp_path / "a.ogg", tone(132_300, 1))
    full, _ = audio.read(path)
    part, _ = audio.read(path, offset=125_000 / RATE)
    torch.testing.assert_close(part, full[:, 125_000:], atol=1e-5, rtol=0)


def test_vorbis_seek_is_right_where_one_page_holds_seconds(tmp_path):
    waveform = torch.zeros(1, 20 * RATE)
    waveform[:, -RATE:] = tone(RATE, 1)
    path = save(tmp_path / "a.ogg", waveform)
    full, _ = audio.read(path)
    part, _ = audio.read(path, offset=19.5)
    torch.testing.assert_close(part, full[:, round(19.5 * RATE) :], atol=1e-5, rtol=0)


def test_partial_read_decodes_only_its_part(tmp_path, monkeypatch):
    path = save(tmp_path / "a.flac", tone(10 * RATE))
    wanted, original = [], soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **rest: wanted.append(frames) or original(self, frames, **rest),
    )
    audio.read(path, offset=5.0, duration=0.5)
    assert sum(wanted) == RATE // 2


def test_read_past_the_end_gives_what_there_is(tmp_path):
    path = save(tmp_path / "a.wav", tone(1000))
    assert audio.read(path, offset=900 / RATE, duration=10)[0].shape == (2, 100)
    assert audio.read(path, duration=math.inf)[0].shape == (2, 1000)
    assert audio.read(path, duration=1e-9)[0].shape == (2, 1)


@pytest.mark.parametrize("offset", [1000 / RATE, 5.0, 1e308])
def test_offset_past_the_end_is_refused(tmp_path, offset):
    path = save(tmp_path / "a.wav", tone(1000))
    fails(ValueError, path, "offset must lie before the end at 0.0226757 s, got", audio.read, path, offset)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"offset": -0.1}, "offset must be .*>= 0, got -0.1"),
        ({"offset": math.nan}, "offset must be .*got nan"),
        ({"offset": math.inf}, "offset must be .*got inf"),
        ({"duration": -1}, "duration must be .*got -1"),
        ({"duration": 0}, "duration must be .*got 0"),
        ({"duration": math.nan}, "duration must be .*got nan"),
    ],
)
def test_bad_times_are_refused(tmp_path, arguments, match):
    path = save(tmp_path / "a.wav", tone(1000))
    fails(ValueError, path, match, audio.read, path, **arguments)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_read_needs_little_more_than_its_result(tmp_path):
    path = tmp_path / "a.wav"
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        for _ in range(5):
            file.write(np.zeros((60 * RATE, 2), dtype="float32"))
    script = (
        "import resource, sys; from torchsep import audio;"
        "before = int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize();"
        "waveform, _ = audio.read(sys.argv[1]);"
        # Not ru_maxrss, which is inherited from the parent process.
        "most = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) * 1024;"
        "print((most - before) / (waveform.numel() * 4))"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", script, path], cwd=root, capture_output=True, text=True, check=True)
    assert 0.9 < float(out.stdout) < 1.6
