"""Contents of written audio files."""

import tempfile

import pytest
import soundfile
import torch
from audio_files import FORMATS, RATE, fails, paths_in, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from torchsep import audio


@pytest.mark.parametrize(
    ("suffix", "subtype", "bits"),
    [
        ("wav", "PCM_16", 16),
        ("wav", "PCM_24", 24),
        ("flac", "PCM_16", 16),
        ("flac", "PCM_24", 24),
        ("flac", "PCM_S8", 8),
        ("aiff", "PCM_16", 16),
        ("aif", "PCM_24", 24),
        ("wav", "PCM_U8", 8),
        ("wav", "PCM_32", 32),
    ],
)
def test_integers_come_back_within_half_a_step(tmp_path, suffix, subtype, bits):
    waveform = torch.rand(2, 100_000, dtype=torch.float64) * 1.99 - 0.995
    path = tmp_path / f"a.{suffix}"
    assert audio.write(path, waveform, RATE, subtype) == audio.Written(subtype)
    back = torch.from_numpy(soundfile.read(path)[0].T)  # float64, which has the steps exactly
    assert (back - waveform).abs().max() <= 0.5000001 / 2 ** (bits - 1)
    assert audio.probe(path).subtype == subtype
    torch.testing.assert_close(audio.read(path)[0], back.float(), atol=0, rtol=0)


def test_full_scale_is_not_wrapped(tmp_path):
    waveform = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    assert audio.write(tmp_path / "a.wav", waveform, RATE, "PCM_16") == audio.Written("PCM_16")
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [32767, -32768, 32767, -32768]


@pytest.mark.parametrize(("subtype", "dtype"), [("FLOAT", torch.float32), ("DOUBLE", torch.float64)])
@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_floats_come_back_exactly(tmp_path, subtype, dtype, suffix):
    waveform = 10 * torch.randn(2, 100_000, dtype=dtype)
    path = tmp_path / f"a.{suffix}"
    assert audio.write(path, waveform, RATE, subtype) == audio.Written(subtype)
    assert torch.equal(torch.from_numpy(soundfile.read(path, dtype=str(dtype).split(".")[1])[0].T), waveform)


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate"), [("ogg", None, RATE), ("ogg", "OPUS", 48000), ("mp3", None, RATE)]
)
def test_lossy_formats_come_back_approximately(tmp_path, suffix, subtype, rate):
    waveform = tone(200_000)
    path = tmp_path / f"a.{suffix}"
    audio.write(path, waveform, rate, subtype)
    back, back_rate = audio.read(path)
    assert back_rate == rate
    assert back.shape == waveform.shape
    assert (back - waveform)[:, 5000:-5000].abs().mean() < 0.02


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_default_is_24_bit_where_there_is_one(tmp_path, suffix):
    subtype = {"ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}.get(suffix, "PCM_24")
    path = tmp_path / f"a.{suffix.upper()}"
    assert audio.write(path, tone(100), RATE).subtype == subtype
    assert audio.probe(path).subtype == subtype


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 8),
    samples=st.integers(1, 3000) | st.sampled_from([2**16 - 1, 2**16, 2**16 + 1]),
    rate=st.integers(1, 65_535) | st.sampled_from([88_200, 96_000, 192_000]),
    encoding=st.sampled_from(
        [("wav", "PCM_16", 16), ("flac", "PCM_16", 16), ("flac", "PCM_24", 24), ("wav", "FLOAT", 24)]
    ),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_rate_comes_back(channels, samples, rate, encoding, seed):
    suffix, subtype, bits = encoding
    waveform = torch.rand(channels, samples, generator=torch.Generator().manual_seed(seed)) * 1.99 - 0.995
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.{suffix}"
        assert audio.write(path, waveform, rate, subtype) == audio.Written(subtype)
        back, back_rate = audio.read(path)
    assert back_rate == rate
    assert back.shape == waveform.shape
    assert (back - waveform).abs().max() <= 0.5001 / 2 ** (bits - 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_float_tensor_is_written_and_not_modified(tmp_path, dtype):
    storage = (torch.rand(3000, 4) * 3).to(dtype)
    waveform = storage.T[::2].requires_grad_()  # neither contiguous nor free of gradients
    kept = storage.clone()
    written = audio.write(tmp_path / "a.flac", waveform, RATE, overflow="rescale")
    assert torch.equal(storage, kept)
    back, _ = audio.read(tmp_path / "a.flac")
    assert written.gain == pytest.approx(1 / kept.T[::2].double().max().item())
    torch.testing.assert_close(back.double(), kept.T[::2].double() * written.gain, atol=2e-7, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_a_waveform_on_an_accelerator_is_written(tmp_path):
    audio.write(tmp_path / "a.wav", tone().cuda(), RATE, "FLOAT")
    assert torch.equal(audio.read(tmp_path / "a.wav")[0], tone())


def test_files_above_4_gigabytes_become_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(audio.encoding, "_RIFF_LIMIT", 5999)
    audio.write(tmp_path / "big.wav", tone(1000), RATE)
    audio.write(tmp_path / "small.wav", tone(1000), RATE, "PCM_16")
    assert audio.probe(tmp_path / "big.wav").format == "RF64"
    assert audio.probe(tmp_path / "small.wav").format == "WAV"
    torch.testing.assert_close(audio.read(tmp_path / "big.wav")[0], tone(1000), atol=1e-7, rtol=0)
    path = tmp_path / "big.aiff"
    fails(ValueError, path, "samples must take less than 4 GB in AIFF", audio.write, path, tone(1000), RATE)


# ---------------------------------------------------------------- overflow


def loud(sources=3):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(sources, 2, 80_000, generator=generator) * 3 - 1.5


@pytest.mark.parametrize("overflow", [None, "float"])
def test_overflow_into_float_keeps_all_samples(tmp_path, overflow):
    sources = loud()
    sources[0] *= 0.1  # written as float as well, though it would fit
    paths = paths_in(tmp_path, "wav")
    assert audio.write_sources(paths, sources, RATE, "PCM_16", overflow) == audio.Written("FLOAT")
    for path, source in zip(paths, sources, strict=True):
        assert audio.probe(path).subtype == "FLOAT"
        assert torch.equal(audio.read(path)[0], source)


@pytest.mark.parametrize(("suffix", "overflow"), [("flac", None), ("flac", "rescale"), ("wav", "rescale")])
def test_rescaled_sources_add_up_to_the_scaled_mixture(tmp_path, suffix, overflow):
    sources = loud()
    paths = paths_in(tmp_path, suffix)
    written = audio.write_sources(paths, sources, RATE, overflow=overflow)
    assert written.subtype == "PCM_24"
    assert written.clipped == 0
    assert written.gain == pytest.approx(1 / sources.abs().max().item())
    total = sum(audio.read(path)[0].double() for path in paths)
    torch.testing.assert_close(total, written.gain * sources.double().sum(0), atol=5e-7, rtol=0)


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_formats_rescale(tmp_path, suffix):
    written = audio.write(tmp_path / f"a.{suffix}", 4 * tone(), RATE)
    back, _ = audio.read(tmp_path / f"a.{suffix}")
    assert written.gain == pytest.approx(1 / (4 * tone()).abs().max().item())
    assert back[:, 5000:-5000].abs().max() == pytest.approx(1.0, abs=0.1)


def test_clipping_is_counted(tmp_path):
    sources = loud()
    paths = paths_in(tmp_path, "flac")
    written = audio.write_sources(paths, sources, RATE, overflow="clip")
    assert written == audio.Written("PCM_24", 1.0, int((sources.abs() > 1).sum()))
    assert written.clipped > 1000
    for path, source in zip(paths, sources, strict=True):
        torch.testing.assert_close(audio.read(path)[0], source.clamp(-1, 1), atol=2e-7, rtol=0)


@pytest.mark.parametrize("overflow", [None, "float", "rescale", "clip"])
def test_nothing_happens_to_samples_which_fit(tmp_path, overflow):
    assert audio.write(tmp_path / "a.wav", tone(), RATE, "PCM_16", overflow) == audio.Written("PCM_16")
    assert audio.write(tmp_path / "a.wav", 9 * tone(), RATE, "FLOAT", overflow) == audio.Written("FLOAT")


@pytest.mark.parametrize(("suffix", "overflow"), [("flac", "float"), ("mp3", "float"), ("wav", "wrap")])
def test_bad_overflow_is_refused(tmp_path, suffix, overflow):
    path = tmp_path / f"a.{suffix}"
    match = f"overflow must be .* in {suffix.upper()}, got '{overflow}'"
    fails(ValueError, path, match, audio.write, path, tone(), RATE, overflow=overflow)
