"""The choice of a separator: where it may come from, and that it is built once for each sample rate."""

from pathlib import Path

import pytest
import torch
from scenes import noise

from torchsep import audio, build, registry
from torchsep.checkpoint import save
from torchsep.engine import SeparatorChoice, configure
from torchsep.separators import OverlapAdd, Resampled


def test_built_once_for_each_sample_rate(monkeypatch):
    built = []
    monkeypatch.setattr(registry, "build", lambda *given, **more: built.append(more) or build(*given, **more))
    choice = SeparatorChoice({"name": "hpss"})
    assert choice.at(8000) is choice.at(8000)
    assert choice.at(16000) is not choice.at(8000)
    assert [more["sample_rate"] for more in built] == [8000, 16000]
    assert not choice.at(8000).training


def test_number_of_sources_is_used_where_it_is_open():
    assert len(SeparatorChoice({"name": "mix_as_estimate"}).at(8000, 3).names) == 3
    assert len(SeparatorChoice({"name": "mix_as_estimate", "num_sources": 2}).at(8000, 3).names) == 2
    assert SeparatorChoice({"name": "hpss"}).at(8000, 3).names == ("harmonic", "percussive")


def test_number_of_sources_reaches_the_separators_inside():
    nested = {"name": "refine", "separator": {"name": "overlap_add", "separator": "timbre_clustering"}}
    assert len(SeparatorChoice({**nested, "refiner": "wiener_filter"}).at(8000, 3).names) == 3
    parts = {"name": "ensemble_clustering", "separators": ["hpss", {"name": "nmf", "num_sources": 4}]}
    ensemble = SeparatorChoice(parts).at(8000, 3)
    assert [len(part.names) for part in (ensemble, *ensemble.separators)] == [3, 2, 4]


def test_checkpoints_are_taken_inside_wrappers(tmp_path):
    fast, slow = (build("high_low_pass_filter", cutoff_hz=300.0, sample_rate=rate) for rate in (16000, 8000))
    for name, separator in (("fast", fast), ("slow", slow)):
        (tmp_path / name).mkdir()
        save(separator, tmp_path / name / "model.safetensors")
    refined = SeparatorChoice({"name": "refine", "separator": str(tmp_path / "slow"), "refiner": "wiener_filter"})
    assert refined.at(8000).separator.cutoff_hz == 300.0
    assert refined.at(8000).sample_rate == 8000
    assert isinstance(refined.at(11025), Resampled)  # the whole works at the rate of the checkpoint
    assert refined.at(11025).separator is not None
    windows = SeparatorChoice({"name": "overlap_add", "separator": str(tmp_path / "slow" / "model.safetensors")})
    assert isinstance(windows.at(11025), OverlapAdd)
    sources = {"extracted_feature": "estimates", "separators": [str(tmp_path / "slow"), "hpss", str(tmp_path / "fast")]}
    ensemble = SeparatorChoice({"name": "ensemble_clustering", **sources}).at(16000)
    assert [type(part).__name__ for part in ensemble.separators] == ["Resampled", "HPSS", "HighLowPassFilter"]
    own_rate = SeparatorChoice({"name": "resampled", "separator": str(tmp_path / "slow")}).at(11025)
    assert own_rate.separator.sample_rate == 8000
    assert ensemble(noise(1, 4000)).shape == (2, 1, 4000)


@pytest.mark.parametrize(
    ("inner", "error", "message"),
    [
        ("hpps", ValueError, "did you mean hpss"),
        ("nowhere/model.safetensors", FileNotFoundError, r"nowhere/model\.safetensors"),
        (
            {"name": "refine", "separator": "speech8k"},
            ValueError,
            "got 'speech8k'; did you mean speech8k_dpcl",
        ),
    ],
)
def test_unknown_separator_inside_a_wrapper_is_refused(inner, error, message):
    with pytest.raises(error, match=message):
        SeparatorChoice({"name": "overlap_add", "separator": inner})


def test_sample_rate_must_not_be_given():
    with pytest.raises(ValueError, match=r"sample_rate follows each recording"):
        SeparatorChoice({"name": "hpss", "sample_rate": 8000})


def test_weights_are_resampled_to_the_mixture_and_back():
    inner = build("hpss", sample_rate=8000)
    choice = SeparatorChoice(inner)
    separator = choice.at(11025)
    mixture = noise(1, 2, 5000)
    expected = audio.resample(inner(audio.resample(mixture, 11025, 8000)), 8000, 11025)[..., :5000]
    assert torch.equal(separator(mixture), expected)
    assert separator.names == inner.names
    assert separator.sample_rate == 11025
    assert choice.at(8000) is inner


def test_windows_are_resampled_one_by_one():
    inner = OverlapAdd(build("hpss", sample_rate=8000), 0.2, 0.05, "hamming", True, 3, sample_rate=8000)
    separator = SeparatorChoice(inner).at(11025)
    assert isinstance(separator, OverlapAdd)
    assert isinstance(separator.separator, Resampled)
    assert separator.separator.separator is inner.separator
    settings = ("window_duration", "hop_duration", "window", "find_permutation", "batch_size", "names")
    assert [getattr(separator, name) for name in settings] == [getattr(inner, name) for name in settings]
    assert separator(noise(2, 5000)).shape == (2, 2, 5000)


@pytest.mark.parametrize(
    ("config", "has_sources", "message"),
    [
        ({"name": "ideal_ratio_mask"}, False, "needs the true sources"),
        ({"name": "wiener_filter"}, True, "refines estimates"),
        ({"name": "deep_clustering", "network": None}, True, "needs a trained network"),
    ],
)
def test_separator_that_cannot_run_is_refused(config, has_sources, message):
    with pytest.raises(ValueError, match=message):
        SeparatorChoice(config).check(has_sources=has_sources)


def test_arguments_from_overrides_and_parameters():
    run = configure(["separator=repet", "separator.min_period=1.5", "data=scenes"], parameters={"max_period": 4.0})
    assert run.choice.config == {"name": "repet", "min_period": 1.5, "max_period": 4.0}
    assert run.config.data.name == "scenes"
    assert configure([], "ft2d").config.separator.name == "ft2d"


def test_interpolation_and_nested_arguments():
    run = configure(["separator=hpss", "separator.stft={name: stft, n_fft: 512}", "+separator.margin=1.5"])
    assert run.choice.at(8000).stft.n_fft == 512
    assert run.choice.config["margin"] == 1.5


def saved(path, name="hpss", **arguments):
    path.parent.mkdir()
    return str(save(build(name, sample_rate=8000, **arguments), path))


def test_checkpoint_takes_arguments_that_keep_its_weights(tmp_path):
    path = saved(tmp_path / "trained" / "model.safetensors", kernel_size=5)
    run = configure([f"separator={path}"])
    assert run.choice.label == "trained"
    assert run.choice.at(8000).kernel_size == 5
    for given in (
        {"overrides": [f"separator={path}", "separator.power=3", "separator.stft.n_fft=512", "data=scenes"]},
        {"parameters": {"power": 3, "stft": {"name": "stft", "n_fft": 512, "hop_length": 64}}},
        {"overrides": ["++separator.power=3", "separator.stft.n_fft=512"]},
    ):
        run = configure(**{"separator": path, **given})
        separator = run.choice.at(8000)
        assert (separator.power, separator.stft.n_fft, separator.kernel_size) == (3, 512, 5)
        assert run.choice.label == "trained"
        assert run.choice.loaded == [separator]
        assert not separator.training


def test_checkpoint_of_embeddings_takes_a_number_of_sources_and_a_clusterer(tmp_path):
    network = {
        "name": "embedding",
        "body": {"name": "recurrent_body", "num_features": 129, "hidden_size": 3, "num_layers": 1},
    }
    path = saved(tmp_path / "trained" / "model.safetensors", "deep_clustering", network=network)
    kept, usual = torch.random.get_rng_state(), configure([], path).choice.at(8000)
    overrides = ["separator.num_sources=3", "separator.clusterer.n_init=2", "separator.network.body.dropout=0.5"]
    separator = configure(overrides, path, {"percentile": 50.0}).choice.at(8000)
    assert torch.equal(torch.random.get_rng_state(), kept)
    assert (len(separator.names), separator.clusterer, separator.percentile) == (3, {"n_init": 2}, 50.0)
    spectrogram = usual.stft(noise(1, 1, 4000).float())
    assert torch.equal(separator.features(spectrogram), usual.features(spectrogram))
    assert separator(noise(1, 4000)).shape == (3, 1, 4000)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trainable", [], "do not go with a checkpoint, got trainable for"),
        ("power", 3.0, "do not go with a checkpoint, got power for"),  # it is learned
        ("sample_rate", 16000, "do not go with a checkpoint, got sample_rate for"),
        ("name", "mix_as_estimate", "'kernel_size'"),
        ("kernelsize", 5, "hpss has no argument 'kernelsize'; did you mean kernel_size"),
        ("kernel_size", "wide", "kernel_size must .*, got 'wide'"),
        ("kernel_size.size", 5, "kernel_size.size cannot be set: kernel_size of .* has no named parts"),
    ],
)
def test_checkpoint_refuses_arguments_that_change_its_weights(key, value, message, tmp_path):
    path = saved(tmp_path / "trained" / "model.safetensors", kernel_size=5, trainable=["power"])
    for given in ({"overrides": [f"separator.{key}={value}"]}, {"parameters": {key: value}}):
        with pytest.raises(ValueError, match=message):
            configure(**{"separator": path, **given})


def test_arguments_of_a_checkpoint_are_not_deleted(tmp_path):
    path = saved(tmp_path / "trained" / "model.safetensors")
    with pytest.raises(ValueError, match=r"cannot be deleted, got ~separator.power for"):
        configure(["~separator.power"], path)


def test_separator_file_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: hpss\nkernel_size: [17, 31]\nstft: {name: stft, n_fft: 1024}\n")
    run = configure(["separator.power=1.5"], str(path))
    separator = run.choice.at(8000)
    assert separator.kernel_size == [17, 31]
    assert separator.stft.n_fft == 1024
    assert separator.power == 1.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: hpps", "did you mean hpss"),
        ("kernel_size: 3", "name of a separator"),
        ("- hpss", "mapping"),
        ("name: [", "not valid YAML"),
    ],
)
def test_bad_separator_file_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        configure([], str(path))


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ("nowhere/none.yaml", FileNotFoundError, r"none\.yaml does not exist"),
        ("nowhere.py:Thing", FileNotFoundError, r"nowhere\.py does not exist"),
        ("nowhere/none.safetensors", FileNotFoundError, r"none\.safetensors"),
        ("no_such_module:Thing", ValueError, "cannot be imported"),
        ("torchsep.separators:STFT", ValueError, "subclass of Separator"),
        ("torchsep.separators:Nothing", ValueError, "subclass of Separator"),
        ("hpps", ValueError, "did you mean hpss"),
    ],
)
def test_bad_choice_is_refused(choice, error, message):
    with pytest.raises(error, match=message):
        configure([], choice)


@pytest.mark.parametrize(
    ("source", "label"),
    [("exp.v1", "exp.v1"), ("exp.v2/model.safetensors", "exp.v2"), ("best.v3.safetensors", "best.v3"), (".", "here")],
)
def test_a_checkpoint_is_labelled_by_its_folder_or_file(tmp_path, monkeypatch, source, label):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = Path(source) if source.endswith(".safetensors") else Path(source) / "model.safetensors"
    path.parent.mkdir(exist_ok=True)
    save(build("hpss", sample_rate=8000), path)
    assert configure((), source).choice.label == label


NETWORK = {
    "name": "mask_inference",
    "num_sources": 2,
    "body": {"name": "recurrent_body", "num_features": 129, "hidden_size": 2, "num_layers": 1},
}
DEEP = {"name": "deep_mask_estimation", "network": NETWORK}
NMF = {"name": "supervised_nmf", "names": ["low", "high"], "n_components": 2}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (NMF, "supervised_nmf must be trained, got random initial values; `torchsep train separator=supervised_nmf"),
        ({"name": "overlap_add", "separator": NMF}, "`torchsep train separator=supervised_nmf train_data.root=FOLDER`"),
        (DEEP, "deep_mask_estimation needs a trained network; give a checkpoint"),
        ({"name": "overlap_add", "separator": DEEP}, "overlap_add needs a trained network"),
        ({"name": "ensemble_clustering", "separators": ["hpss", DEEP]}, "needs a trained network"),
    ],
)
@pytest.mark.parametrize("has_sources", [False, True])
def test_untrained_separators_are_refused(config, message, has_sources):
    choice = SeparatorChoice(config)
    with pytest.raises(ValueError, match=message):
        choice.check(has_sources=has_sources, built=choice.at(8000))


def test_trained_separators_pass(tmp_path):
    trained = build(NMF, sample_rate=8000).fit([noise(8000)[None], noise(8000, seed=1)[None]])
    for number, separator in enumerate((trained, build(DEEP, sample_rate=8000))):
        choice = configure((), str(save(separator, tmp_path / f"trained{number}"))).choice
        choice.check(has_sources=False, built=choice.at(16000))


def test_an_untrained_checkpoint_is_refused(tmp_path):
    choice = configure((), str(save(build(NMF, sample_rate=8000), tmp_path / "untrained"))).choice
    with pytest.raises(ValueError, match="supervised_nmf must be trained"):
        choice.check(has_sources=False)
