"""Names of sources, which become names of files."""

import pytest
from contract.cases import registered
from hypothesis import given
from hypothesis import strategies as st

import torchsep
from torchsep.networks import MaskInference, RecurrentBody
from torchsep.separators import DeepMaskEstimation, MixAsEstimate, SupervisedNMF
from torchsep.separators.bases.source_names import check_source_names

WRONG = [
    "../../outside",
    "..",
    ".",
    "",
    "/absolute",
    "a/b",
    "a\\b",
    "C:a",
    "C:\\a",
    "a\nb",
    "a\0b",
    "\x1b[31m",
    "a\u2028b",
    "\udcff",
    "con",
    "NUL.txt",
    "Com1",
    "lpt\u00b9",
    "aux ",
    ".hidden",
    "dot.",
    "space ",
    " space",
    "a|b",
    "x" * 101,
    "\u00e9" * 51,
    3,
    None,
]


@pytest.mark.parametrize("name", WRONG, ids=ascii)
def test_names_that_are_no_file_names_are_refused(name):
    network = MaskInference(RecurrentBody(num_features=129, hidden_size=2, num_layers=1), num_sources=2)
    for build in (
        check_source_names,
        lambda names: DeepMaskEstimation(network, names=names, sample_rate=8000),
        lambda names: SupervisedNMF(names, sample_rate=8000),
    ):
        with pytest.raises(ValueError, match=r"^names must [^\n]*, got [^\n]*$"):
            build(["rest", name])


@pytest.mark.parametrize("names", [("Voice", "voice"), ("\u00e9", "e\u0301"), ("stra\u00dfe", "STRASSE")])
def test_names_differ_on_every_file_system(names):
    with pytest.raises(ValueError, match="names must be different names, also in lower case"):
        check_source_names(names)


@pytest.mark.parametrize("names", [("lead vocals", "\u6b4c"), ("x" * 100, "console"), ("a.b", "-"), (), ["common"]])
def test_other_names_are_taken(names):
    assert check_source_names(names) == tuple(names)


@given(st.text())
def test_a_name_that_is_taken_is_a_file_in_its_folder(tmp_path_factory, name):
    try:
        check_source_names([name])
    except ValueError:
        return
    folder = tmp_path_factory.mktemp("names")
    (folder / f"{name}.wav").touch()
    assert [path.name for path in folder.iterdir()] == [f"{name}.wav"]


class Escaping(MixAsEstimate):
    """An own class whose names leave the folder."""

    def __init__(self, *, sample_rate):
        super().__init__(2, sample_rate=sample_rate)
        self.names = ("../outside", "rest")


def test_own_classes_are_checked_before_anything_is_written(tmp_path):
    from torchsep.engine import SeparatorChoice

    with registered(Escaping) as name:
        with pytest.raises(ValueError, match="names must hold none of"):
            SeparatorChoice({"name": name}).at(8000)
        with pytest.raises(ValueError, match="names must hold none of"):
            torchsep.save(Escaping(sample_rate=8000), tmp_path / "escaping")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_with_such_names_is_refused(tmp_path, monkeypatch):
    with registered(Escaping):
        monkeypatch.setattr("torchsep.checkpoint.files.check_source_names", lambda names: names)
        path = torchsep.save(Escaping(sample_rate=8000), tmp_path / "escaping")
        monkeypatch.undo()
        with pytest.raises(ValueError, match=r"^\S+escaping.safetensors: names must hold none of"):
            torchsep.load(path)
