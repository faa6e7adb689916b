"""Block-wise reading and writing, equal to reading and writing at once, in constant memory."""

import errno
import os

import pytest
import soundfile
import torch
from audio_files import FORMATS, RATE, fails, paths_in, save, tone

from torchsep import audio


def blocks_of(path, size=30_000):
    return list(audio.read_blocks(path, size))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("size", [1000, 65_536, 10**9])
def test_blocks_are_the_file(tmp_path, suffix, size):
    path = save(tmp_path / f"a.{suffix}", tone(100_000))
    blocks = blocks_of(path, size)
    whole = audio.read(path)[0]
    assert torch.equal(torch.cat(blocks, 1), whole)
    assert {block.shape[1] for block in blocks[:-1]} <= {size}
    assert all(block.dtype == torch.float32 and block.is_contiguous() for block in blocks)


def test_only_the_blocks_asked_for_are_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "a.wav", tone(100_000))
    wanted, original = [], soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **rest: wanted.append(frames) or original(self, frames, **rest),
    )
    blocks = audio.read_blocks(path, 1000)
    assert not wanted
    next(blocks)
    next(blocks)
    assert wanted == [1000, 1000]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_bad_samples_are_named_as_by_read(tmp_path, value):
    waveform = tone(2 * RATE)
    waveform[1, 70_000] = waveform[0, 85_001] = value
    path = save(tmp_path / "a.wav", waveform, subtype="FLOAT")
    message = fails(ValueError, path, "2 samples are NaN or infinite, the first at 1.587 s", blocks_of, path)
    assert message == fails(ValueError, path, "NaN", audio.read, path)
    good = []
    with pytest.raises(ValueError, match="NaN"):
        good.extend(audio.read_blocks(path, 30_000))
    assert [block.shape[1] for block in good] == [30_000, 30_000]


def test_what_is_cut_short_is_named_as_by_read(tmp_path):
    path = save(tmp_path / "a.flac", tone(200_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = fails(ValueError, path, "is cut short or damaged", blocks_of, path)
    assert message.startswith(f"{path}: is cut short or damaged, only ")
    fails(FileNotFoundError, tmp_path / "b.wav", "does not exist", blocks_of, tmp_path / "b.wav")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        blocks_of(path, 0)


# ---------------------------------------------------------------- writing


def write_all(paths, blocks):
    with audio.SourceWriter(paths, RATE) as writer:
        for block in blocks:
            writer.write(block)


def write_in_blocks(paths, sources, sizes=(1, 1000, 70_000, 17), **options):
    position = 0
    with audio.SourceWriter(paths, RATE, **options) as writer:
        for number in range(10**6):
            size = sizes[number % len(sizes)]
            writer.write(sources[..., position : position + size])
            position += size
            if position >= sources.shape[-1]:
                break
    return writer.written


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.5, 3.0])
@pytest.mark.parametrize(
    ("suffix", "subtype", "overflow"),
    [
        ("wav", None, None),
        ("wav", "FLOAT", None),
        ("wav", "DOUBLE", None),
        ("wav", "PCM_32", "rescale"),
        ("wav", "PCM_16", "clip"),
        ("flac", None, None),
        ("aiff", None, "clip"),
    ],
)
def test_files_are_those_of_write_sources(tmp_path, dtype, level, suffix, subtype, overflow):
    sources = (level * torch.stack([tone(90_000, seed=seed) for seed in range(2)])).to(dtype)
    options = {"subtype": subtype, "overflow": overflow}
    for folder in ("whole", "blocks"):
        (tmp_path / folder).mkdir()
    expected = audio.write_sources(paths_in(tmp_path / "whole", suffix, 2), sources, RATE, **options)
    assert write_in_blocks(paths_in(tmp_path / "blocks", suffix, 2), sources, **options) == expected
    for one, other in zip(
        paths_in(tmp_path / "whole", suffix, 2), paths_in(tmp_path / "blocks", suffix, 2), strict=True
    ):
        assert one.stat().st_size == other.stat().st_size
        assert audio.probe(one) == audio.probe(other)
        assert torch.equal(audio.read(one)[0], audio.read(other)[0])


def test_the_peak_of_the_whole_recording_counts(tmp_path):
    sources = 0.1 * torch.stack([tone(90_000)] * 2)
    sources[1, 0, 80_000] = -4.0
    written = write_in_blocks(paths_in(tmp_path, "flac", 2), sources)
    assert written == audio.Written("PCM_24", 0.25)
    torch.testing.assert_close(audio.read(tmp_path / "0.flac")[0], sources[0] / 4, atol=2e-7, rtol=0)


def test_nothing_is_seen_before_the_end(tmp_path):
    paths = paths_in(tmp_path / "new" / "folder", "wav", 2)
    with audio.SourceWriter(paths, RATE) as writer:
        writer.write(torch.stack([tone()] * 2))
        assert not list(tmp_path.iterdir())
    assert sorted((tmp_path / "new" / "folder").iterdir()) == paths


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(1)])
def test_nothing_is_left_of_what_was_broken_off(tmp_path, error):
    paths = paths_in(tmp_path, "wav", 2)
    paths[0].write_bytes(b"what was here before")

    def blocks():
        yield torch.stack([tone()] * 2)
        raise error

    with pytest.raises(type(error)):
        write_all(paths, blocks())
    assert paths[0].read_bytes() == b"what was here before"
    assert list(tmp_path.iterdir()) == paths[:1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_nothing_is_left_of_what_fails_in_the_end(tmp_path, monkeypatch, error):
    def write(self, data):
        raise error

    monkeypatch.setattr(soundfile.SoundFile, "write", write)
    with pytest.raises(type(error)), audio.SourceWriter(paths_in(tmp_path, "wav", 2), RATE) as writer:
        writer.write(torch.stack([tone()] * 2))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(**_):
        return open("/dev/full", "w+b", buffering=0)  # noqa: PTH123 - closed by the writer

    monkeypatch.setattr(audio.source_writer.tempfile, "TemporaryFile", full)
    path = tmp_path / "a.wav"
    with (
        pytest.raises(OSError, match=r"a.wav: cannot be written \(No space left on device\)") as caught,
        audio.SourceWriter([path], RATE) as writer,
    ):
        writer.write(tone()[None])
    assert str(caught.value).startswith(f"{path}: ")
    assert not list(tmp_path.iterdir())


def test_large_files_become_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(audio.encoding, "_RIFF_LIMIT", 5999)
    write_in_blocks([tmp_path / "big.wav"], tone(1000)[None])
    assert audio.probe(tmp_path / "big.wav").format == "RF64"


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        (["a.wav", "b.wav"], {"subtype": "PCM16"}, "subtype must be one of"),
        (["a.flac"], {"overflow": "float"}, "overflow must be"),
        (["a.txt"], {}, "path must end in one of"),
        (["a.wav", "b.flac"], {}, "paths must be of one format"),
        (["a.wav", "a.wav"], {}, "paths must be one different file for each source"),
        ([], {}, "paths must be one different file for each source"),
    ],
)
def test_what_cannot_be_written_is_said_before_there_is_anything(tmp_path, paths, options, message):
    with pytest.raises(ValueError, match=message):
        audio.SourceWriter([tmp_path / path for path in paths], RATE, **options)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "sources must be given in blocks, got none"),
        ([torch.zeros(2, 100)], r"sources must have the axes \(sources, channels, samples\)"),
        ([torch.zeros(3, 1, 100)], "got 2 for 3 sources"),
        ([torch.zeros(2, 1, 100), torch.zeros(2, 2, 100)], "sources must have 1 channels as before, got 2"),
        ([torch.zeros(2, 9, 100)], "channels must be at most 8 in FLAC, got 9"),
        ([torch.zeros(2, 1, 100), torch.full((2, 1, 5), torch.nan)], "got 5 that are not, the first at index 100"),
    ],
)
def test_wrong_blocks_are_refused(tmp_path, blocks, message):
    path = tmp_path / "0.flac"
    with pytest.raises(ValueError, match=message) as caught:
        write_all(paths_in(tmp_path, "flac", 2), blocks)
    assert str(caught.value).startswith(f"{path}: ")
    assert not list(tmp_path.iterdir())
