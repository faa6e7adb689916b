"""`torchsep separate` on files written here."""

import signal
import subprocess
import sys
import time

import hydra
import numpy as np
import pytest
import soundfile
import torch
from cli.separated_files import read_sources, separate, write_noise

import torchsep
from torchsep import registry


@pytest.mark.parametrize(
    ("rate", "channels", "suffix", "format_"),
    [
        (8000, 1, "wav", "wav"),
        (11025, 3, "wav", "flac"),
        (22050, 2, "flac", "wav"),
        (44100, 2, "ogg", "flac"),
        (192000, 2, "wav", "wav"),
    ],
)
def test_rate_channels_and_length_come_back(tmp_path, rate, channels, suffix, format_):
    path = tmp_path / f"song.{suffix}"
    mixture = write_noise(path, rate=rate, channels=channels, seconds=0.5, subtype=None)
    result = separate(path, "-s", "hpss", "-o", tmp_path / "out", "--format", format_)
    assert result.exit_code == 0, result.output
    sources = read_sources(tmp_path / "out/hpss/song", format_)
    assert sorted(sources) == ["harmonic", "percussive"]
    assert {found_rate for _, found_rate in sources.values()} == {rate}
    total = sum(samples for samples, _ in sources.values())
    assert total.shape == mixture.shape
    assert np.abs(total - mixture).max() < 1e-4 * np.abs(mixture).max()


def test_default_encoding_is_24_bits(tmp_path):
    write_noise(tmp_path / "song.wav")
    separate(tmp_path / "song.wav", "-s", "hpss", "-o", tmp_path / "out")
    assert soundfile.info(tmp_path / "out/hpss/song/harmonic.wav").subtype == "PCM_24"


def test_parameters_reach_the_separator(tmp_path):
    write_noise(tmp_path / "song.wav")
    arguments = ["-s", "hpss", "-p", "margin=[2.0, 3.0]", "-p", "kernel_size=17", "-o", tmp_path / "out"]
    result = separate(tmp_path / "song.wav", *arguments)
    assert result.exit_code == 0, result.output
    sources = read_sources(tmp_path / "out/hpss/song")
    assert sorted(sources) == ["harmonic", "percussive", "residual"]
    mixture = torch.from_numpy(soundfile.read(tmp_path / "song.wav", dtype="float32")[0].T.copy())
    expected = torchsep.build("hpss", sample_rate=8000, margin=[2.0, 3.0], kernel_size=17)(mixture)
    assert np.abs(sources["residual"][0].T - expected[2].numpy()).max() < 1e-6


def test_separators_of_separators_are_given_by_name(tmp_path):
    mixture = write_noise(tmp_path / "song.wav")
    parts = "separators=[hpss, {name: ft2d, neighborhood_size: [1, 9]}]"
    ensemble = separate(
        tmp_path / "song.wav", "-s", "ensemble_clustering", "-p", parts, "-p", "num_sources=3", "-o", tmp_path / "out"
    )
    assert ensemble.exit_code == 0, ensemble.output
    sources = read_sources(tmp_path / "out/ensemble_clustering/song")
    assert list(sources) == ["source_1", "source_2", "source_3"]
    assert np.abs(sum(samples for samples, _ in sources.values()) - mixture).max() < 1e-4
    (tmp_path / "refined.yaml").write_text(
        "name: refine\nseparator: hpss\nrefiner: {name: wiener_filter, iterations: 2}\n"
    )
    refined = separate(tmp_path / "song.wav", "-s", tmp_path / "refined.yaml", "-o", tmp_path / "other")
    assert refined.exit_code == 0, refined.output
    assert list(read_sources(tmp_path / "other/refine/song")) == ["harmonic", "percussive"]


def test_failures_do_not_stop_the_others(tmp_path):
    write_noise(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFF nonsense")
    write_noise(tmp_path / "better.wav")
    files = [tmp_path / name for name in ("good.wav", "bad.wav", "missing.wav", "better.wav")]
    result = separate(*files, "-s", "hpss", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out/hpss").iterdir()) == ["better", "good"]
    last = result.output.strip().splitlines()[-1]
    assert last.startswith("torchsep: 2 of 4 files failed: ")
    assert "bad.wav" in last
    assert "missing.wav" in last
    assert "good.wav" not in last


def test_a_file_that_does_not_suit_the_separator_is_named_once(tmp_path):
    write_noise(tmp_path / "short.wav", seconds=0.5)
    result = separate(tmp_path / "short.wav", "-s", "repet", "-o", tmp_path / "out")
    assert result.exit_code == 1
    line = result.output.strip().splitlines()[0]
    assert line.startswith(f"failed: {tmp_path / 'short.wav'}: mixture must last at least")
    assert line.count("short.wav") == 1
    assert not (tmp_path / "out").exists()


def test_one_configuration_and_one_separator_per_sample_rate(tmp_path, monkeypatch):
    composed, built = [], []
    compose, build = hydra.compose, registry.build
    monkeypatch.setattr(hydra, "compose", lambda *given, **more: composed.append(given) or compose(*given, **more))
    monkeypatch.setattr(registry, "build", lambda *given, **more: built.append(more) or build(*given, **more))
    for number, rate in enumerate((8000, 16000, 8000)):
        write_noise(tmp_path / f"song{number}.wav", rate=rate)
    arguments = ["-s", "repet", "-p", "min_period=0.2", "-o", tmp_path / "out"]
    assert separate(*sorted(tmp_path.glob("*.wav")), *arguments).exit_code == 0
    assert len(composed) == 1
    assert [more["sample_rate"] for more in built] == [8000, 16000]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "hpps"], "did you mean hpss?"),
        (["-s", "hpss", "-p", "kernelsize=3"], "did you mean kernel_size?"),
        (["-s", "hpss", "-p", "kernel_size"], "must be given as name=value, got 'kernel_size'"),
        (["-s", "hpss", "-p", "kernel_size=0"], "kernel_size must be at least 1, got 0"),
        (["-s", "hpss", "-p", "sample_rate=1"], "sample_rate follows each recording"),
        (["-s", "hpss", "--format", "wma"], "format must be one of"),
        (["-s", "hpss", "--format", "flac", "--subtype", "FLOAT"], "subtype must be one of"),
        (["-s", "hpss", "--overflow", "wrap"], "overflow must be"),
        (["-s", "hpss", "--device", "toaster"], "device must be auto, cpu, cuda or cuda:N, got 'toaster'"),
        (["-s", "hpss", "--device", "cpu:1"], "device must be auto, cpu, cuda or cuda:N, got 'cpu:1'"),
        (["-s", "hpss", "--window", "0"], "window must be above 0, got 0"),
        (["-s", "hpss", "--window", "-3"], "window must be above 0, got -3"),
        (["-s", "hpss", "--window", "nan"], "window must be finite, got nan"),
        (["-s", "overlap_add", "--window", "15"], "window must be omitted where the separator has its own"),
        (["-s", "ideal_ratio_mask"], "needs the true sources"),
        (["-s", "overlap_add", "-p", "separator=ideal_ratio_mask"], "needs the true sources"),
        (["-s", "deep_clustering"], "deep_clustering needs a trained network; give a checkpoint instead"),
        (
            ["-s", "supervised_nmf", "-p", "names=[a, b]"],
            "torchsep train separator=supervised_nmf train_data.root=FOLDER",
        ),
        (["-s", "wiener_filter"], "wiener_filter refines estimates; combine it with a separator by `refine`"),
        (["-s", "ensemble_clustering", "-p", "separators=[hpss, hps]"], "got 'hps'; did you mean hpss"),
        (["-s", "none.yaml"], "none.yaml does not exist"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(tmp_path, arguments, message):
    write_noise(tmp_path / "song.wav")
    result = separate(tmp_path / "song.wav", *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.startswith("torchsep: ")
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_missing_arguments_are_usage_errors(tmp_path):
    assert separate().exit_code == 2
    assert separate(tmp_path / "song.wav").exit_code == 2


def test_folders_are_searched_and_names_kept_apart(tmp_path):
    write_noise(tmp_path / "in/a/song.wav", seconds=0.2)
    write_noise(tmp_path / "in/b/song.wav", seconds=0.2)
    write_noise(tmp_path / "in/b/song.flac", seconds=0.2)
    write_noise(tmp_path / "in/b/deep/voice.wav", seconds=0.2)
    (tmp_path / "in/notes.txt").write_text("no audio")
    arguments = [tmp_path / "in", tmp_path / "in/a/song.wav", "-s", "mix_as_estimate", "-o", tmp_path / "out"]
    result = separate(*arguments)
    assert result.exit_code == 0, result.output
    written = [path for path in (tmp_path / "out/mix_as_estimate").rglob("*") if path.is_file()]
    folders = {path.parent.relative_to(tmp_path / "out/mix_as_estimate").as_posix() for path in written}
    assert folders == {"a/song", "b/song.wav", "b/song.flac", "b/deep/voice"}
    assert len(written) == 2 * len(folders)


def test_folder_without_audio_is_refused(tmp_path):
    result = separate(tmp_path, "-s", "hpss", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds no audio file" in result.output


def test_output_must_not_be_a_file(tmp_path):
    write_noise(tmp_path / "song.wav")
    result = separate(tmp_path / "song.wav", "-s", "hpss", "-o", tmp_path / "song.wav")
    assert result.exit_code == 2
    assert "-o must be a folder" in result.output


def test_mixtures_are_never_overwritten(tmp_path):
    write_noise(tmp_path / "hpss/harmonic/harmonic.wav")
    before = (tmp_path / "hpss/harmonic/harmonic.wav").read_bytes()
    result = separate(tmp_path / "hpss/harmonic/harmonic.wav", "-s", "hpss", "-o", tmp_path)
    assert result.exit_code == 2
    assert "land beside a mixture" in result.output
    assert (tmp_path / "hpss/harmonic/harmonic.wav").read_bytes() == before


@pytest.mark.parametrize(
    ("overflow", "note", "subtype"),
    [
        ("float", "32-bit float", "FLOAT"),
        ("rescale", "all sources were scaled by", "PCM_24"),
        ("clip", "were clipped", "PCM_24"),
    ],
)
def test_what_happens_above_full_scale_is_said(tmp_path, overflow, note, subtype):
    mixture = write_noise(tmp_path / "loud.wav", level=2.0, subtype="FLOAT")
    arguments = ["-s", "mix_as_estimate", "-p", "scale=null", "--overflow", overflow, "-o", tmp_path / "out"]
    result = separate(tmp_path / "loud.wav", *arguments)
    assert result.exit_code == 0, result.output
    assert note in result.output
    assert soundfile.info(tmp_path / "out/mix_as_estimate/loud/source_1.wav").subtype == subtype
    sources = read_sources(tmp_path / "out/mix_as_estimate/loud")
    peak = max(np.abs(samples).max() for samples, _ in sources.values())
    total = sum(samples for samples, _ in sources.values())
    if overflow == "float":
        assert np.allclose(total, mixture, atol=1e-6)
    else:
        assert peak <= 1.0
    if overflow == "rescale":
        assert np.allclose(total * np.abs(mixture).max() / 2, mixture, atol=1e-5)


def test_a_name_comes_before_a_folder_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hpss").mkdir()
    write_noise(tmp_path / "song.wav", seconds=0.2)
    assert separate("song.wav", "-s", "hpss", "-o", "out").exit_code == 0


def test_a_parameter_may_suit_only_high_rates(tmp_path):
    write_noise(tmp_path / "high.wav", rate=96000, seconds=0.1)
    write_noise(tmp_path / "low.wav", rate=8000, seconds=0.1)
    files = [tmp_path / "high.wav", tmp_path / "low.wav"]
    result = separate(*files, "-s", "high_low_pass_filter", "-p", "cutoff_hz=30000", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert [path.name for path in (tmp_path / "out/high_low_pass_filter").iterdir()] == ["high"]


def test_class_of_a_module_is_found(tmp_path):
    write_noise(tmp_path / "song.wav", seconds=0.2)
    result = separate(tmp_path / "song.wav", "-s", "torchsep.separators:HPSS", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_interrupt_leaves_whole_files_only(tmp_path):
    files = [tmp_path / f"song{number}.wav" for number in range(40)]
    for file in files:
        write_noise(file, seconds=2.0, rate=44100)
    command = [sys.executable, "-c", "from torchsep.cli import main; main()", "separate", *map(str, files)]
    process = subprocess.Popen(
        [*command, "-s", "hpss", "-o", str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").rglob("[!.]*.wav")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "of 40 files are done" in errors
    written = [path for path in (tmp_path / "out/hpss").rglob("*") if path.is_file()]
    assert written
    assert all(soundfile.info(path).frames == 88200 for path in written)
    assert not [path for path in written if path.name.startswith(".")]


def test_plain_lines_without_a_terminal(tmp_path):
    write_noise(tmp_path / "song.wav", seconds=0.2)
    result = separate(tmp_path / "song.wav", "-s", "hpss", "-o", tmp_path / "out")
    folder = tmp_path / "out/hpss/song"
    assert "\x1b" not in result.output
    assert result.output.startswith(f"{tmp_path / 'song.wav'} -> {folder}: harmonic.wav, percussive.wav")
    assert (folder / "harmonic.wav").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not possible")
@pytest.mark.parametrize("name", ["a\nb|c.wav", "a\x1b[31m.wav", b"a\xff.wav".decode("utf-8", "surrogateescape")])
def test_a_file_is_one_printable_line_whatever_its_name(tmp_path, name):
    write_noise(tmp_path / name, seconds=0.2)
    result = separate(tmp_path, tmp_path / f"missing {name}", "-s", "hpss", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 3
    assert all(line.isprintable() for line in result.output.splitlines())
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 2


def test_an_impossible_rate_fails_alone(tmp_path):
    """Whose separator would be built first."""
    soundfile.write(tmp_path / "lie.wav", np.zeros(1000), 2**31 - 1)
    write_noise(tmp_path / "song.wav", seconds=0.2)
    result = separate(tmp_path / "lie.wav", tmp_path / "song.wav", "-s", "hpss", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"failed: {tmp_path / 'lie.wav'}: says 1000 samples at 2147483647 Hz, which cannot be right" in result.output
    assert f"{tmp_path / 'song.wav'} ->" in result.output
