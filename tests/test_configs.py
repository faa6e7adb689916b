"""Every YAML file composes and builds, and holds nothing that the code does not know."""

import inspect

import pytest
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

import torchsep.networks
from torchsep import list_separators, registry
from torchsep.configurable import registry_name
from torchsep.engine import compose, separator_config, training
from torchsep.resources import resource_folder

DATA = sorted((resource_folder("configs") / "data").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (resource_folder("configs") / "experiment").glob("*.yaml"))
PARTS = [
    path
    for group in ("objective", "optimizer", "scheduler")
    for path in (resource_folder("configs") / group).glob("*.yaml")
]
NETS = sorted((resource_folder("configs") / "network").glob("*.yaml"))
NAMES = sorted(path.stem for path in (resource_folder("configs") / "separator").glob("*.yaml"))


def test_every_separator_has_a_config():
    assert list_separators() == NAMES


NETWORKS = {
    "deep_audio_estimation": "conv_tas_net",
    "deep_clustering": "embedding",
    "deep_mask_estimation": "mask_inference",
}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NETWORKS])
def test_separator_builds_from_its_config(name):
    separator = registry.build(separator_config(name), sample_rate=16000)
    assert separator.config["name"] == name


@pytest.mark.parametrize(("name", "network"), NETWORKS.items())
def test_deep_separator_builds_with_a_network(name, network):
    small = ["network.body.hidden_size=4"] if name != "deep_audio_estimation" else []
    config = compose([f"separator={name}", f"network={network}", *small]).separator
    separator = registry.build(OmegaConf.to_container(config, resolve=True), sample_rate=8000)
    assert separator.network.config["name"] == network
    with pytest.raises(ValueError, match="network must give"):
        registry.build(separator_config(name), sample_rate=8000)


@pytest.mark.parametrize("name", NAMES)
def test_config_holds_only_what_differs_from_the_defaults(name):
    parameters = registry.separator_class(name).arguments()
    for argument, value in separator_config(name).items():
        assert argument == "name" or parameters[argument].default != value


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_data_config_holds_what_its_class_takes(path):
    config = OmegaConf.load(path)
    parameters = inspect.signature(get_class(config.pop("_target_"))).parameters
    assert set(config) <= set(parameters)
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    assert needed <= set(config)


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_part_of_a_training_holds_what_its_class_takes(path):
    config = OmegaConf.load(path)
    parameters = inspect.signature(get_class(config.pop("_target_"))).parameters
    assert set(config) - {"_partial_"} <= set(parameters)


@pytest.mark.parametrize("path", NETS, ids=lambda path: path.stem)
def test_network_holds_what_its_class_takes(path):
    config = OmegaConf.to_container(OmegaConf.load(path))
    kind = {registry_name(kind): kind for kind in networks()}[config.pop("name")]
    assert set(config) <= set(kind.arguments())
    assert all(value != kind.arguments()[argument].default for argument, value in config.items())


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "speech8k"])  # the part that others share
def test_experiment_is_complete(name):
    job = training([f"experiment={name}", "trainer.max_steps=10"])
    assert job.config.label == name
    assert job.output.as_posix() == f"outputs/{name}"
    for part in ("objective", "optimizer", "scheduler"):
        if job.config[part] is not None:
            assert callable(instantiate(job.config[part]))
    for part in ("train_data", "valid_data"):
        config = OmegaConf.to_container(job.config[part])
        assert set(config) - {"_target_"} <= set(inspect.signature(get_class(config["_target_"])).parameters)
    separator = registry.build(
        OmegaConf.to_container(job.config.separator, resolve=True), sample_rate=job.config.sample_rate
    )
    assert sum(parameter.numel() for parameter in separator.parameters()) > 1e5


def networks():
    kinds = [getattr(torchsep.networks, name) for name in torchsep.networks.__all__]
    return [kind for kind in kinds if issubclass(kind, torchsep.networks.Network) and not inspect.isabstract(kind)]


def test_overrides_reach_the_separator():
    config = compose(["separator=repet", "+separator.min_period=1.5"])
    assert config.separator.min_period == 1.5


def test_trainer_builds():
    trainer = instantiate(compose(["trainer.accelerator=cpu"]).trainer)
    assert trainer.num_devices == 1


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
        separator_config(str(path))


def test_separator_file_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: hpss\nkernel_size: [17, 31]\nstft: {name: stft, n_fft: 1024}\n")
    separator = registry.build(separator_config(str(path)), sample_rate=8000)
    assert separator.kernel_size == [17, 31]
    assert separator.stft.n_fft == 1024


def test_missing_separator_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml does not exist"):
        separator_config(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("no_such_module:Thing", "cannot be imported"),
        ("torchsep.separators:STFT", "subclass of Separator"),
        ("torchsep.separators:Nothing", "subclass of Separator"),
    ],
)
def test_bad_class_is_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        separator_config(choice)


def test_missing_python_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py does not exist"):
        separator_config("nowhere.py:Thing")
