"""`torchsep list`, `info` and `demo`."""

import re
import subprocess
import sys

import pytest
import soundfile
from typer.testing import CliRunner

import torchsep
from torchsep.checkpoint import released
from torchsep.cli.main import app
from torchsep.cli.separator_table import separators
from torchsep.engine import compose


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_list_has_one_line_for_each():
    result = run("list")
    assert result.exit_code == 0
    lines = result.output.strip().splitlines()
    assert [line.split()[0] for line in lines] == [*torchsep.list_separators(), *released()]
    assert re.search(r"hpss +harmonic, percussive +drums", result.output)
    assert "(needs the true sources)" in lines[torchsep.list_separators().index("ideal_ratio_mask")]


@pytest.mark.parametrize("name", torchsep.list_separators())
def test_list_gives_the_true_sources(name):
    """With the preset of the command."""
    row = next(row for row in separators() if row.name == name)
    kind = torchsep.registry.separator_class(name)
    config = compose([f"separator={name}"]).separator
    if kind.requires:
        needed = "mixture" if "sources" in kind.requires else "estimates"
        assert row.sources == f"those of the {needed}"
        assert row.use.endswith(f"(needs the {'true sources' if 'sources' in kind.requires else 'estimates'})")
    elif "num_sources" in kind.arguments():
        default = kind.arguments()["num_sources"].default
        assert row.sources == f"{config.get('num_sources', default)} (num_sources)"
    elif kind.names:
        assert row.sources == ", ".join(kind.names)
    else:
        inside = {"network", "separator"} & set(kind.arguments())
        others = {"ica": "one for each channel", "supervised_nmf": "as named"}
        assert row.sources == (f"those of its {inside.pop()}" if inside else others[name])


COMMANDS = [["--version"], ["--help"], ["-h"], ["list"], ["separate", "--help"], ["train", "--help"], []]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_what_needs_no_tensors_starts_without_torch(arguments):
    code = f"""
import sys
sys.argv = ["torchsep", *{arguments!r}]
from torchsep.cli import main
try:
    main()
finally:
    heavy = {{"torch", "numpy", "soundfile", "hydra", "pytorch_lightning"}} & set(sys.modules)
    print(sorted(heavy), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"


ROLES = re.compile(r":[a-z]+:`|`|^ *\.\. \w+", re.MULTILINE)


@pytest.mark.parametrize("name", [*torchsep.list_separators(), *released()])
def test_info_is_plain_text(name):
    result = run("info", name)
    assert result.exit_code == 0
    assert not ROLES.findall(result.output)
    assert not result.output.startswith("---")


OWN = """
from torchsep.separators import MixAsEstimate

class Halves(MixAsEstimate):
    '''Return half of the mixture twice.'''

    def __init__(self, gain: float = 0.5, *, sample_rate):
        super().__init__(2, sample_rate=sample_rate)
        self.gain = gain
"""


def test_info_and_demo_of_own_classes(tmp_path):
    (tmp_path / "own_halves.py").write_text(OWN)
    choice = f"{tmp_path / 'own_halves.py'}:Halves"
    try:
        result = run("info", choice)
        assert result.exit_code == 0, result.output
        assert "Return half of the mixture twice." in result.output
        assert "gain (default 0.5)" in result.output
        assert run("demo", "-o", tmp_path / "demo", "-s", choice, "--duration", 1).exit_code == 0
    finally:
        torchsep.registry._REGISTERED.pop("halves", None)


@pytest.mark.parametrize(
    ("path", "source", "name"), [("a.v1.safetensors", "", "a.v1"), ("b/model.safetensors", "b", "b")]
)
def test_info_and_demo_of_checkpoints(tmp_path, path, source, name):
    path, source = tmp_path / path, tmp_path / (source or path)
    path.parent.mkdir(exist_ok=True)
    about = {"summary": "Tuned with `care`."}
    torchsep.save(torchsep.build("hpss", sample_rate=8000, kernel_size=5), path, about)
    result = run("info", source)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"# {name}\n\nTuned with care.\n\nhpss: 2 sources (harmonic, percussive)")
    assert run("demo", "-o", tmp_path / "demo", "-s", source, "--duration", 1).exit_code == 0


@pytest.mark.parametrize("command", ["info", "demo", "separate"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("HPSS", "did you mean hpss?"),
        ("Speech8k_DPCL", "did you mean speech8k_dpcl?"),
        ("speech8k_mask", "did you mean speech8k_mask_inference?"),
        ("demucs", "; the nearest are duet, "),
    ],
)
def test_unknown_names_are_answered_with_methods_and_models(tmp_path, command, name, hint):
    arguments = {"info": [name], "demo": ["-s", name, "-o", tmp_path], "separate": [tmp_path, "-s", name]}[command]
    result = run(command, *arguments)
    assert result.exit_code == 2
    assert hint in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.slow
def test_demo_of_a_shipped_model(tmp_path):
    assert run("demo", "-o", tmp_path, "-s", released()[0], "--duration", 3).exit_code == 0


@pytest.mark.parametrize("name", torchsep.list_separators())
def test_info_describes_every_parameter(name):
    result = run("info", name)
    assert result.exit_code == 0
    for argument in torchsep.registry.separator_class(name).arguments():
        described = re.search(rf"(?m)^  {argument} \((required|default .*?)\): (.+)$", result.output)
        assert described, argument
        assert len(described[2]) > 10


def test_info_gives_defaults_and_reference():
    output = run("info", "hpss").output
    assert "kernel_size (default 31)" in output
    assert "sample_rate (required)" in output
    assert "DAFx 2010" in output


def test_info_of_a_checkpoint_is_its_card():
    name = released()[0]
    assert f"# {name}" in run("info", name).output


def test_info_of_an_unknown_name():
    result = run("info", "hpps")
    assert result.exit_code == 2
    assert result.output.strip().endswith("did you mean hpss?")


def test_version():
    assert run("--version").output == f"torchsep {torchsep.__version__}\n"


def test_unknown_command_suggests():
    result = run("seperate")
    assert result.exit_code == 2
    assert "separate" in result.output


def test_demo_gains_and_writes(tmp_path):
    result = run("demo", "-o", tmp_path, "--duration", 8)
    assert result.exit_code == 0, result.output
    gains = {name: float(gain) for name, gain in re.findall(r"(?m)^(music|voice) .*\+([\d.]+)$", result.output)}
    assert min(gains["music"], gains["voice"]) > 4.0
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["estimated_music.wav", "estimated_voice.wav", "mixture.wav", "true_music.wav", "true_voice.wav"]
    assert {soundfile.info(path).frames for path in tmp_path.iterdir()} == {8 * 44100}


def test_demo_of_an_oracle_is_better(tmp_path):
    output = run("demo", "-o", tmp_path, "-s", "ideal_ratio_mask", "--duration", 3).output
    assert all(float(gain) > 10 for gain in re.findall(r"\+([\d.]+)", output))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "repett"], "did you mean repet?"),
        (["-s", "mix_as_estimate", "-p", "num_sources=3"], "must give two sources"),
        (["-p", "perid=2"], "did you mean period?"),
        (["--duration", "0"], "duration must"),
    ],
)
def test_demo_refuses_in_one_line(tmp_path, arguments, message):
    result = run("demo", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
