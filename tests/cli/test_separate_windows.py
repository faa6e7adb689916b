"""`torchsep separate` in windows, and with checkpoints."""

import numpy as np
import pytest
import soundfile
import torch
from cli.separated_files import read_sources, separate, write_noise

import torchsep


def test_checkpoint_is_resampled_to_its_rate_and_back(tmp_path):
    separator = torchsep.build("high_low_pass_filter", cutoff_hz=1000.0, sample_rate=8000)
    torchsep.save(separator, tmp_path / "low.safetensors")
    time_axis = np.arange(22050) / 22050
    tones = 0.3 * np.sin(2 * np.pi * 300 * time_axis) + 0.3 * np.sin(2 * np.pi * 2500 * time_axis)
    soundfile.write(tmp_path / "tones.wav", tones, 22050)
    result = separate(tmp_path / "tones.wav", "-s", tmp_path / "low.safetensors", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    low, rate = soundfile.read(tmp_path / "out/low/tones/low.wav")
    assert (rate, low.shape) == (22050, tones.shape)
    inside = slice(2000, -2000)
    assert np.abs(low - 0.3 * np.sin(2 * np.pi * 300 * time_axis))[inside].max() < 0.01


@pytest.mark.parametrize(
    ("rate", "channels", "suffix", "format_", "window"),
    [(8000, 1, "wav", "wav", 0.3), (44100, 2, "flac", "flac", 0.2), (22050, 3, "wav", "wav", 0.06)],
)
def test_in_windows_rate_channels_and_length_come_back(tmp_path, rate, channels, suffix, format_, window):
    path = tmp_path / f"song.{suffix}"
    mixture = write_noise(path, rate=rate, channels=channels, seconds=1.03, subtype=None)
    result = separate(path, "-s", "hpss", "-o", tmp_path / "out", "--format", format_, "--window", window)
    assert result.exit_code == 0, result.output
    assert "in windows" not in result.output  # which was asked for
    assert "1.0 s in " in result.output
    sources = read_sources(tmp_path / "out/hpss/song", format_)
    assert {found_rate for _, found_rate in sources.values()} == {rate}
    total = sum(samples for samples, _ in sources.values())
    assert total.shape == mixture.shape
    assert np.abs(total - mixture).max() < 1e-4 * np.abs(mixture).max()
    separator = torchsep.separators.OverlapAdd(torchsep.build("hpss", sample_rate=rate), window, sample_rate=rate)
    expected = separator(torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T.copy()))
    assert np.abs(sources["harmonic"][0].T - expected[0].numpy()).max() < 1e-6


def test_a_window_longer_than_the_file_is_the_whole_file(tmp_path):
    write_noise(tmp_path / "song.wav")
    separate(tmp_path / "song.wav", "-s", "hpss", "-o", tmp_path / "whole")
    result = separate(tmp_path / "song.wav", "-s", "hpss", "-o", tmp_path / "window", "--window", "60")
    assert result.exit_code == 0, result.output
    for name in ("harmonic", "percussive"):
        whole, window = (tmp_path / folder / "hpss/song" / f"{name}.wav" for folder in ("whole", "window"))
        assert whole.read_bytes() == window.read_bytes()


def test_a_window_must_be_a_number(tmp_path):
    write_noise(tmp_path / "song.wav")
    result = separate(tmp_path / "song.wav", "-s", "hpss", "--window", "abc", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "'--window'" in result.output
    assert not (tmp_path / "out").exists()


def test_checkpoint_in_windows(tmp_path):
    torchsep.save(torchsep.build("high_low_pass_filter", cutoff_hz=1000.0, sample_rate=8000), tmp_path / "low")
    mixture = write_noise(tmp_path / "song.wav", rate=22050, seconds=2.0)
    for folder, window in (("whole", []), ("windows", ["--window", "0.5"])):
        arguments = ["-s", tmp_path / "low.safetensors", "-o", tmp_path / folder, *window]
        result = separate(tmp_path / "song.wav", *arguments)
        assert result.exit_code == 0, result.output
    whole, windows = (read_sources(tmp_path / folder / "low/song")["low"][0] for folder in ("whole", "windows"))
    assert whole.shape == windows.shape == mixture.shape
    assert np.square(whole - windows).mean() < 1e-2 * np.square(whole).mean()


def test_windows_are_chosen_where_memory_is_short(tmp_path, monkeypatch):
    from torchsep.engine.separate import mixture_files

    mixture = write_noise(tmp_path / "long.wav", seconds=40.0, channels=1)
    write_noise(tmp_path / "short.wav", seconds=14.0, channels=1)
    monkeypatch.setattr(mixture_files, "available_memory", lambda device: 10**7)
    result = separate(
        tmp_path / "long.wav",
        tmp_path / "short.wav",
        "-s",
        "mix_as_estimate",
        "-p",
        "scale=null",
        "-o",
        tmp_path / "out",
    )
    assert result.exit_code == 0, result.output
    long, short = result.output.strip().splitlines()
    assert long.endswith("(in windows of 15 s, since 0.0 GB would be needed at once)")
    assert "in windows" not in short
    total = sum(samples for samples, _ in read_sources(tmp_path / "out/mix_as_estimate/long").values())
    assert np.abs(total - mixture).max() < 1e-5
    monkeypatch.setattr(mixture_files, "available_memory", lambda device: None)
    result = separate(tmp_path / "long.wav", "-s", "mix_as_estimate", "-p", "scale=null", "-o", tmp_path / "out")
    assert "in windows" not in result.output


def test_a_separator_in_windows_of_its_own(tmp_path):
    mixture = write_noise(tmp_path / "song.wav")
    (tmp_path / "mine.yaml").write_text("name: overlap_add\nwindow_duration: 0.3\nseparator: {name: hpss, power: 1}\n")
    result = separate(tmp_path / "song.wav", "-s", tmp_path / "mine.yaml", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    total = sum(samples for samples, _ in read_sources(tmp_path / "out/overlap_add/song").values())
    assert np.abs(total - mixture).max() < 1e-5


def test_nothing_is_left_of_a_file_that_turns_out_bad(tmp_path):
    noise = np.random.default_rng(0).standard_normal((80000, 1)) * 0.1
    noise[75000] = np.nan
    soundfile.write(tmp_path / "bad.wav", noise, 8000, subtype="FLOAT")
    write_noise(tmp_path / "good.wav", seconds=2.0)
    files = [tmp_path / "bad.wav", tmp_path / "good.wav"]
    result = separate(*files, "-s", "hpss", "--window", "1", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{tmp_path / 'bad.wav'}: 1 samples are NaN or infinite, the first at 9.375 s" in result.output
    assert [path.name for path in (tmp_path / "out/hpss").iterdir()] == ["good"]


def test_the_level_of_the_whole_file_counts_in_windows(tmp_path):
    write_noise(tmp_path / "loud.wav", level=2.0, subtype="FLOAT")
    arguments = [
        "-s",
        "mix_as_estimate",
        "-p",
        "scale=null",
        "--window",
        "0.2",
        "--overflow",
        "rescale",
        "-o",
        tmp_path / "out",
    ]
    result = separate(tmp_path / "loud.wav", *arguments)
    assert "all sources were scaled by" in result.output
    assert np.isclose(
        max(np.abs(samples).max() for samples, _ in read_sources(tmp_path / "out/mix_as_estimate/loud").values()), 1.0
    )


def test_missing_checkpoint_is_named(tmp_path):
    result = separate(tmp_path / "song.wav", "-s", "none.safetensors")
    assert result.exit_code == 2
    assert "none.safetensors is neither a checkpoint file nor a folder" in result.output


def test_parameters_go_with_a_checkpoint_where_they_keep_its_weights(tmp_path):
    torchsep.save(torchsep.build("nmf", n_components=3, sample_rate=8000), tmp_path / "mine.safetensors")
    write_noise(tmp_path / "song.wav")
    given = (tmp_path / "song.wav", "-s", tmp_path / "mine.safetensors", "-o", tmp_path / "out")
    assert separate(*given, "-p", "num_sources=3").exit_code == 0
    assert len(list((tmp_path / "out" / "mine" / "song").iterdir())) == 3
    result = separate(*given, "-p", "sample_rate=16000")
    assert result.exit_code == 2
    assert "do not go with a checkpoint, got sample_rate for" in " ".join(result.output.split())


@pytest.mark.parametrize("window", [[], ["--window", "0.4"]])
@pytest.mark.parametrize(
    ("rate", "high_band", "note"),
    [
        (16000, [], "the model works at 8 kHz: nothing above 4 kHz is separated"),
        (16000, ["--high-band", "share"], "the model works at 8 kHz: what is above 4 kHz is shared"),
        (8000, [], ""),
        (4000, [], ""),
    ],
)
def test_what_a_model_does_not_separate_is_said(tmp_path, window, rate, high_band, note):
    torchsep.save(torchsep.build("hpss", sample_rate=8000), tmp_path / "tuned")
    mixture = write_noise(tmp_path / "song.wav", rate=rate)
    arguments = ["-s", tmp_path / "tuned.safetensors", "-o", tmp_path / "out", *high_band, *window]
    result = separate(tmp_path / "song.wav", *arguments)
    assert result.exit_code == 0, result.output
    assert ("the model works at" in result.output) == bool(note)
    assert note in result.output
    total = sum(samples for samples, _ in read_sources(tmp_path / "out/tuned/song").values())
    missing = np.square(total - mixture).mean() / np.square(mixture).mean()
    assert missing < 1e-6 if high_band or rate == 8000 else missing < 0.7
    assert missing > 0.4 or high_band or rate < 16000


def test_the_band_of_a_separator_at_the_rate_of_the_file_is_whole(tmp_path):
    write_noise(tmp_path / "song.wav")
    for arguments, message in (
        (
            ["-s", "hpss", "--high-band", "share"],
            "high_band must be omitted for a separator that takes the sample rate",
        ),
        (["-s", "speech8k_dpcl", "--high-band", "keep"], "high_band must be one of drop, share, got 'keep'"),
    ):
        result = separate(tmp_path / "song.wav", *arguments, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert message in result.output
