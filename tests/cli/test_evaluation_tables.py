"""What a table of `torchsep evaluate` compares: the same references for all separators, on one data set."""

import json

import pytest
import torch
from typer.testing import CliRunner

import torchsep
from torchsep import audio
from torchsep.cli.main import app
from torchsep.engine import evaluations, run_evaluation, summarise
from torchsep.engine.evaluate.result_writer import Results, begin_run


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def stems(folder, **recordings):
    """Recordings of the given stems of noise, as a data set."""
    generator = torch.Generator().manual_seed(0)
    for recording, names in recordings.items():
        for name in names:
            path = folder / recording / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, 0.1 * torch.randn(2, 6000, generator=generator), 8000)
    return ["data=stem_folder", f"data.root={folder}", "evaluation.metrics=[si_sdr, sd_sdr, snr]"]


def rows(output):
    return json.loads((output / "summary.json").read_text())["rows"]


def test_a_separator_with_too_few_estimates_is_refused_until_sources_are_grouped(tmp_path):
    data = [*stems(tmp_path / "data", song=("bass", "drums", "vocals")), f"output={tmp_path / 'out'}"]
    result = run("-m", "separator=ideal_ratio_mask,hpss", *data)
    assert result.exit_code == 2
    assert "hpss: 2 estimates (harmonic, percussive) for 3 sources (bass, drums, vocals); group" in result.output
    assert not (tmp_path / "out").exists()
    groups = result.output[result.output.index("data.sources=") : result.output.rindex("'")]
    assert run("-m", "separator=ideal_ratio_mask,hpss", *data, groups).exit_code == 0
    assert {row["separator"]: tuple(row["group"]) for row in rows(tmp_path / "out")} == {
        "ideal_ratio_mask": ("bass_drums", "vocals"),
        "hpss": ("bass_drums", "vocals"),
    }


def test_the_number_of_sources_follows_the_data(tmp_path):
    data = [*stems(tmp_path / "data", song=("bass", "drums", "vocals")), f"output={tmp_path / 'out'}"]
    chosen = "separator=timbre_clustering,spatial_clustering,mix_as_estimate"
    assert run("-m", chosen, *data).exit_code == 0
    assert all(row["items"] == 1 and row["group"] == ["bass", "drums", "vocals"] for row in rows(tmp_path / "out"))
    result = run("separator=timbre_clustering", "separator.num_sources=2", *data)
    assert result.exit_code == 2
    assert "2 estimates (source_1, source_2) for 3 sources" in result.output


def test_an_item_with_too_many_sources_fails_and_the_others_are_scored(tmp_path):
    data = stems(tmp_path / "data", duo=("bass", "vocals"), trio=("bass", "drums", "vocals"))
    result = run("separator=hpss", *data, f"output={tmp_path / 'out'}")
    assert result.exit_code == 1
    assert "failed: trio: 2 estimates (harmonic, percussive) for 3 sources (bass, drums, vocals)" in result.output


def test_the_mixture_improves_nothing_and_stands_apart(tmp_path):
    data = stems(tmp_path / "data", one=("bass", "vocals"), two=("bass", "vocals"))
    assert run("-m", "separator=mix_as_estimate,ideal_binary_mask,hpss", *data, f"output={tmp_path}").exit_code == 0
    whole = [row for row in rows(tmp_path) if row["source"] is None]
    assert [(row["separator"], row["role"]) for row in whole] == [
        ("hpss", "method"),
        ("mix_as_estimate", "baseline"),
        ("ideal_binary_mask", "oracle"),
    ]
    for metric in ("si_sdr", "sd_sdr", "snr"):
        assert whole[1]["figures"][f"{metric}_improvement"]["mean"] == pytest.approx(0.0, abs=1e-5)
        assert whole[2]["figures"][f"{metric}_improvement"]["mean"] > 3
    text = (tmp_path / "summary.md").read_text()
    assert "mix_as_estimate (baseline)" in text
    assert "ideal_binary_mask (oracle)" in text


def test_items_with_other_sources_are_in_a_group_of_their_own(tmp_path):
    names = {"a": ("bass", "vocals"), "b": ("bass", "vocals"), "c": ("left", "right"), "d": ("x", "y", "z")}
    data = stems(tmp_path / "data", **names)
    result = run("-m", "separator=mix_as_estimate,ideal_ratio_mask", *data, f"output={tmp_path / 'out'}")
    assert result.exit_code == 0
    whole = [row for row in rows(tmp_path / "out") if row["source"] is None]
    assert [(row["separator"], row["group"], row["items"]) for row in whole] == [
        (separator, group, items)
        for group, items in ((["bass", "vocals"], 2), (["left", "right"], 1), (["x", "y", "z"], 1))
        for separator in ("mix_as_estimate", "ideal_ratio_mask")
    ]
    assert "## 2 items of bass, vocals" in result.output
    assert "## 1 item of x, y, z" in result.output


def test_another_data_set_or_other_settings_are_refused_in_one_table(tmp_path):
    first, second = stems(tmp_path / "one", a=("l", "r")), stems(tmp_path / "two", a=("l", "r"))
    output = f"output={tmp_path / 'out'}"
    assert run("separator=hpss", *first, output).exit_code == 0
    before = (tmp_path / "out" / "summary.json").read_bytes()
    for other in ([*second, output], [*first, "data.limit=1", output], [*first, "evaluation.match=best", output]):
        result = run("separator=ft2d", *other)
        assert result.exit_code == 2
        assert "output must hold results on one data set with the same settings" in result.output
        assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "ft2d").exists()
    assert (tmp_path / "out" / "summary.json").read_bytes() == before
    assert run("separator=hpss", *second, output, "overwrite=true").exit_code == 0  # nothing else is in the table


def test_each_data_set_has_a_folder_of_its_own(tmp_path):
    folders = {str(job.output) for name in ("scenes", "stem_folder") for job in evaluations([f"data={name}"])}
    assert folders == {"outputs/evaluation/scenes", "outputs/evaluation/stem_folder"}
    swept = evaluations(
        ["separator=hpss,ft2d", "data=scenes", "data.num_items=1,2", f"output={tmp_path}"], several=True
    )
    assert sorted({str(job.folder.relative_to(tmp_path)) for job in swept}) == [
        "data.num_items=1/ft2d",
        "data.num_items=1/hpss",
        "data.num_items=2/ft2d",
        "data.num_items=2/hpss",
    ]


def test_a_narrow_table_fits_a_terminal(tmp_path):
    label = f"hpss,{','.join(f'argument_{number}=0.123' for number in range(9))}"
    metrics = {"si_sdr": "in dB", "bss_eval_v4": "in dB"}
    begin_run(tmp_path / "run", {"label": label, "metrics": metrics, "sources": ["s" * 40, "b|c"]}, {})
    figures = {
        "estimate": "x",
        "si_sdr": -123.456,
        "si_sdr_improvement": -123.456,
        "sdr": 1.0,
        "sdr_improvement": 2.0,
        "sar": 3.0,
    }
    for item in ("a", "b"):
        sources = {"s" * 40: figures, "b|c": figures}
        Results(tmp_path / "run").append({"id": item, "duration": 1.0, "seconds": 1.0, "sources": sources})
    summary = summarise(tmp_path)
    lines = [line for line in summary.as_text(wide=False).splitlines() if line.startswith("|")]
    assert max(map(len, lines)) <= 100
    assert "Also measured: sar (--wide)." in summary.as_text(wide=False)
    assert label in summary.as_text()
    assert " b\\|c " in summary.as_text()


def test_estimates_with_one_channel_are_scored_as_images(tmp_path):
    data = stems(tmp_path / "data", a=("l", "r"), b=("l", "r"))
    assert run("separator=ica", *data, f"output={tmp_path}").exit_code == 0
    assert all(row["items"] == 2 for row in rows(tmp_path))


def test_other_weights_of_the_same_name_are_scored_again(tmp_path):
    network = {
        "name": "mask_inference",
        "num_sources": 2,
        "body": {"name": "recurrent_body", "num_features": 129, "hidden_size": 4, "num_layers": 1},
    }
    data = [*stems(tmp_path / "data", a=("l", "r"), b=("l", "r")), f"output={tmp_path / 'out'}"]
    command = [f"separator={tmp_path / 'mine.safetensors'}", *data]

    def trained(seed):
        torch.manual_seed(seed)
        separator = torchsep.build("deep_mask_estimation", network=network, sample_rate=8000)
        torchsep.save(separator, tmp_path / "mine.safetensors")

    trained(0)
    assert run(*command).exit_code == 0
    assert "0 items to score" in run(*command).output
    first = (tmp_path / "out" / "mine" / "results.jsonl").read_text()
    trained(1)
    result = run(*command)
    assert "mine has other weights or code than before: 2 items are scored again" in result.output
    assert "2 items to score" in result.output
    assert (tmp_path / "out" / "mine" / "results.jsonl").read_text().count("\n") == 2
    assert (tmp_path / "out" / "mine" / "results.jsonl").read_text() != first


def test_an_edited_class_is_scored_again(tmp_path):
    code = "import torchsep\n\n\nclass Shared(torchsep.separators.MixAsEstimate):\n    gain = {gain}\n"
    data = [*stems(tmp_path / "data", a=("l", "r")), f"output={tmp_path / 'out'}"]
    for gain, remaining in ((1, 1), (1, 0), (2, 1)):
        (tmp_path / "own_class.py").write_text(code.format(gain=gain))
        assert f"{remaining} items to score" in run(f"separator={tmp_path / 'own_class.py'}:Shared", *data).output
    torchsep.registry._REGISTERED.pop("shared")


def test_weights_inside_a_wrapper_count(tmp_path):
    path = tmp_path / "inner.safetensors"
    data = [*stems(tmp_path / "data", a=("l", "r")), f"output={tmp_path / 'out'}"]
    found = []
    for dictionary in (torch.rand(129, 2), torch.rand(129, 2)):
        inner = torchsep.build("supervised_nmf", names=["l", "r"], n_components=2, sample_rate=8000)
        torchsep.save(inner.load([dictionary, dictionary.flip(0)]), path)
        (job,) = evaluations(["separator=overlap_add", f"separator.separator={path}", *data])
        found.append(job.description["fingerprint"])
        run_evaluation(job)
    assert found[0] != found[1]
    assert set(found[0]) == {"weights"}
