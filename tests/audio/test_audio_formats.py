"""Unsupported encodings raise single-line errors."""

import math
import re

import numpy as np
import pytest
import soundfile
import torch
from audio_files import FORMATS, RATE, fails, paths_in, tone

from torchsep import audio
from torchsep.audio import formats


@pytest.mark.parametrize(
    ("waveform", "match"),
    [
        (torch.zeros(2, 9, dtype=torch.int16), "waveform must be a floating point tensor, got torch.int16"),
        (np.zeros((2, 9)), "waveform must be a floating point tensor, got float64"),
        ([0.0], "waveform must be a floating point tensor, got list"),
        (torch.zeros(9), r"waveform must have the axes \(channels, samples\), .*got shape \(9,\)"),
        (torch.zeros(1, 2, 9), r"got shape \(1, 2, 9\)"),
        (torch.zeros(2, 0), r"waveform must .*none of them empty, got shape \(2, 0\)"),
        (torch.zeros(0, 9), r"waveform must .*none of them empty, got shape \(0, 9\)"),
        (torch.tensor([[0.0, math.nan, math.inf]]), "finite samples, got 2 that are not, the first at index 1"),
        (torch.tensor([[0.0, 1e300]], dtype=torch.float64), "finite samples, got 1 that are not, the first at index 1"),
    ],
)
def test_bad_waveforms_are_refused(tmp_path, waveform, match):
    path = tmp_path / "a.wav"
    fails(ValueError, path, match, audio.write, path, waveform, RATE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "rate", "channels", "subtype", "match"),
    [
        (".xyz", RATE, 2, None, "path must end in one of .wav .flac .ogg .mp3 .aiff .aif, got .xyz"),
        (".wave", RATE, 2, None, "path must end in one of .*, got .wave; did you mean .wav?"),
        (".flac", RATE, 2, "PCM16", "subtype must be one of .* in FLAC, got 'PCM16'; did you mean PCM_16?"),
        ("", RATE, 2, None, "path must end in one of .*, got no suffix"),
        (".flac", RATE, 2, "FLOAT", "subtype must be one of PCM_S8, PCM_16, PCM_24 in FLAC, got 'FLOAT'"),
        (".wav", RATE, 2, "IMA_ADPCM", "subtype must be one of .* in WAV, got 'IMA_ADPCM'"),
        (".flac", RATE, 9, None, "channels must be at most 8 in FLAC, got 9"),
        (".wav", RATE, 1025, None, "channels must be at most 1024 in WAV, got 1025"),
        (".ogg", RATE, 256, None, "channels must be at most 255 in OGG, got 256"),
        (".mp3", RATE, 3, None, "channels must be at most 2 in MP3, got 3"),
        (".flac", 655_360, 1, None, "above 65535 a multiple of 10 up to 655350 Hz in FLAC PCM_24, got 655360"),
        (".flac", 65_536, 1, None, "above 65535 a multiple of 10 up to 655350 Hz in FLAC PCM_24, got 65536"),
        (".flac", 0, 1, None, "sample_rate must be an integer from 1 to 65535, or above .* Hz in FLAC PCM_24, got 0"),
        (".ogg", 200_001, 1, None, "sample_rate must be an integer from 1 to 200000 Hz in OGG VORBIS, got 200001"),
        (".ogg", RATE, 1, "OPUS", "one of 8000, 12000, 16000, 24000, 48000 Hz in OGG OPUS, got 44100"),
        (".mp3", 96_000, 1, None, "one of 8000, .*, 48000 Hz in MP3 MPEG_LAYER_III, got 96000"),
        (".wav", 0, 1, None, "sample_rate must be an integer from 1 to .*, got 0"),
        (".wav", 44_100.0, 1, None, "sample_rate must be an integer from 1 to .*, got 44100.0"),
        (".flac", "44100", 1, None, "sample_rate must be an integer .*, got 44100"),
        (".wav", True, 1, None, "sample_rate must be an integer from 1 to .*, got True"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, suffix, rate, channels, subtype, match):
    path = tmp_path / f"a{suffix}"
    fails(ValueError, path, match, audio.write, path, torch.zeros(channels, 9), rate, subtype)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "rate", "channels", "subtype"),
    [
        (".flac", 655_350, 8, None),
        (".flac", 65_535, 8, "PCM_16"),
        (".ogg", 200_000, 255, None),
        (".ogg", 1, 1, None),
        (".ogg", 8000, 255, "OPUS"),
        (".mp3", 8000, 2, None),
        (".wav", 2**31 - 1, 1, None),
        (".wav", 1, 1024, None),
        (".aiff", 2**28 - 1, 1, None),
    ],
)
def test_what_a_format_can_just_hold_is_written(tmp_path, suffix, rate, channels, subtype):
    audio.write(tmp_path / f"a{suffix}", torch.zeros(channels, 999), rate, subtype)
    back, back_rate = audio.read(tmp_path / f"a{suffix}")
    assert back_rate == rate
    assert back.shape == (channels, 999)


def test_bad_lists_of_paths_are_refused(tmp_path):
    first, sources = tmp_path / "a.wav", torch.zeros(2, 1, 9)
    match = "paths must be one different file for each source, got 1 for 2 sources"
    fails(ValueError, first, match, audio.write_sources, [first], sources, RATE)
    fails(ValueError, first, match, audio.write_sources, str(first), sources, RATE)
    again = tmp_path / "b" / ".." / "a.wav"
    fails(ValueError, first, "one different file", audio.write_sources, [first, again], sources, RATE)
    fails(ValueError, first, "one format", audio.write_sources, [first, tmp_path / "b.flac"], sources, RATE)
    fails(ValueError, first, "sources must have the axes", audio.write_sources, [first], torch.zeros(1, 9), RATE)
    assert not list(tmp_path.iterdir())


def test_the_source_which_is_not_finite_is_named(tmp_path):
    paths = paths_in(tmp_path, "wav", 2)
    sources = torch.stack([tone(80_000), tone(80_000)])
    sources[1, 0, 70_000] = math.nan
    match = "sources must hold finite samples, got 1 that are not, the first at index 70000"
    fails(ValueError, paths[1], match, audio.write_sources, paths, sources, RATE)


# ---------------------------------------------------------------- before there are samples

OVERFLOW = 'overflow must be "float" (where the format can hold it), "rescale", "clip" or None'


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("overflow", [None, "float", "rescale", "clip"])
def test_an_encoding_that_passes_is_written_and_no_other(tmp_path, suffix, overflow):
    path = tmp_path / f"a.{suffix}"
    passed = 0
    for subtype in (None, *soundfile.available_subtypes(formats.WRITTEN[path.suffix])):
        try:
            audio.check_encoding(suffix, subtype, overflow)
        except ValueError as error:
            fails(ValueError, path, re.escape(str(error)), audio.write, path, tone(10), 48_000, subtype, overflow)
            continue
        passed += 1
        written = audio.write(path, 4 * tone(10), 48_000, subtype, overflow)
        assert audio.probe(path).subtype == written.subtype
        assert written.subtype == subtype or subtype is None or overflow in (None, "float")
    assert passed > 1 or (overflow == "float" and suffix in ("flac", "ogg", "mp3"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m4a",), "format must be one of wav, flac, ogg, mp3, aiff, aif, got 'm4a'"),
        (("wma",), "format must be one of wav, flac, ogg, mp3, aiff, aif, got 'wma'; did you mean wav?"),
        (("",), "format must be one of wav, flac, ogg, mp3, aiff, aif, got ''"),
        ((".wav",), "format must be one of wav, flac, ogg, mp3, aiff, aif, got '.wav'; did you mean wav?"),
        (("flack",), "format must be one of wav, flac, ogg, mp3, aiff, aif, got 'flack'; did you mean flac?"),
        ((None,), "format must be one of wav, flac, ogg, mp3, aiff, aif, got None"),
        (("flac", "FLOAT"), "subtype must be one of PCM_S8, PCM_16, PCM_24 in FLAC, got 'FLOAT'"),
        (("flac", "pcm16"), "subtype must be one of PCM_S8, PCM_16, PCM_24 in FLAC, got 'pcm16'; did you mean PCM_16?"),
        (("ogg", "PCM_16"), "subtype must be one of VORBIS, OPUS in OGG, got 'PCM_16'"),
        (
            ("flac", None, "float"),
            f"{OVERFLOW} in FLAC, got 'float'",
        ),
        (
            ("wav", "PCM_16", "scale"),
            f"{OVERFLOW} in WAV, got 'scale'; did you mean rescale?",
        ),
    ],
)
def test_bad_encodings_are_refused_before_there_are_samples(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        audio.check_encoding(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "arguments", [("WAV",), ("wav", "FLOAT", "float"), ("Flac", "PCM_24", "clip"), ("ogg", "OPUS")]
)
def test_good_encodings_pass(arguments):
    audio.check_encoding(*arguments)


@pytest.mark.parametrize(("subtype", "overflow"), [("PCM_17", None), (None, "float"), (None, "skale")])
def test_errors_of_writing_begin_with_the_path(tmp_path, subtype, overflow):
    with pytest.raises(ValueError, match="must be") as caught:
        audio.check_encoding("flac", subtype, overflow)
    path = tmp_path / "a.flac"
    message = fails(ValueError, path, "must be", audio.write, path, tone(9), RATE, subtype, overflow)
    assert message == f"{path}: {caught.value}"


@pytest.mark.parametrize("rate", [48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000])
@pytest.mark.parametrize("bitrate", [8, 64, 320])
def test_every_bit_rate_can_be_written_at_every_sample_rate(tmp_path, rate, bitrate):
    compression = audio.Compression(bitrate)
    for channels in (1, 2):
        audio.write(tmp_path / "noise.mp3", 0.5 - torch.rand(channels, 2 * rate), rate, compression=compression)
        assert audio.probe(tmp_path / "noise.mp3").num_samples == 2 * rate
