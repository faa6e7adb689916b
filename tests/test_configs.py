"""Every YAML file composes and builds, and sets only what its class takes."""

import inspect

import pytest
from omegaconf import OmegaConf

import torchsep.networks
from torchsep import list_separators, registry
from torchsep.configurable import registry_name
from torchsep.engine import compose, configure, training
from torchsep.engine.config import instance, plain
from torchsep.resources import resource_folder

CONFIGS = resource_folder("configs")
PRESETS = {group: [path.stem for path in sorted((CONFIGS / group).glob("[!_]*.yaml"))] for group in ("data", "network")}
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
PARTS = [
    (group, path.stem) for group in ("objective", "optimizer", "scheduler") for path in (CONFIGS / group).glob("*.yaml")
]
NETWORKS = {
    "deep_audio_estimation": "conv_tas_net",
    "deep_clustering": "embedding",
    "deep_mask_estimation": "mask_inference",
}


@pytest.mark.parametrize("name", [name for name in list_separators() if name not in NETWORKS])
def test_separator_builds_from_its_config(name):
    assert configure([f"separator={name}"]).choice.at(16000).config["name"] == name


@pytest.mark.parametrize(("name", "network"), NETWORKS.items())
def test_deep_separator_builds_with_a_network(name, network):
    small = ["network.body.hidden_size=4"] if name != "deep_audio_estimation" else ["network.num_filters=8"]
    choice = configure([f"separator={name}", f"network={network}", *small]).choice
    assert choice.at(8000).network.config["name"] == network
    with pytest.raises(ValueError, match=r"network must be an? .*Network"):
        configure([f"separator={name}"]).choice.at(8000)


@pytest.mark.parametrize("path", sorted((CONFIGS / "separator").glob("*.yaml")), ids=lambda path: path.stem)
def test_preset_of_a_separator_sets_more_than_the_defaults(path):
    given = OmegaConf.to_container(OmegaConf.load(path))
    parameters = registry.separator_class(given.pop("name")).arguments()
    assert given
    assert all(parameters[argument].default != value for argument, value in given.items())


@pytest.mark.parametrize("name", PRESETS["network"])
def test_preset_of_a_network_sets_more_than_the_defaults(name):
    given = plain(compose([f"network={name}"]).network)
    parameters = {registry_name(kind): kind for kind in networks()}[given.pop("name")].arguments()
    assert given
    assert all(parameters[argument].default != value for argument, value in given.items())


def test_every_network_can_be_chosen_by_name():
    for kind in networks():
        assert compose([f"network={registry_name(kind)}"]).network.name == registry_name(kind)


@pytest.mark.parametrize("name", [name for name in PRESETS["data"] if name != "scenes"])
def test_data_set_takes_its_options(name, tmp_path):
    places = [f"{key}={tmp_path}" for key in OmegaConf.missing_keys(compose([f"data={name}"]))]
    config = compose([f"data={name}", *places]).data
    with pytest.raises((ValueError, OSError), match=rf"{tmp_path}|data/speech8k"):  # nothing is there
        instance(config, "data")


def test_scenes_need_no_files():
    assert len(instance(compose(["data=scenes"]).data, "data")) == 100


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_part_of_a_training_builds(group, name):
    part = compose([f"{group}={name}", "optimizer=adam", "trainer.max_steps=10"])[group]
    assert callable(instance(part, group))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "speech8k"])  # which others share
def test_experiment_is_complete(name):
    job = training([f"experiment={name}", "trainer.max_steps=10"])
    assert job.config.label == name
    assert job.output.as_posix() == f"outputs/{name}"
    for part in ("objective", "optimizer", "scheduler"):
        if job.config[part] is not None:
            assert callable(instance(job.config[part], part))
    for part in ("train_data", "valid_data"):
        with pytest.raises((ValueError, OSError), match=r"data/"):  # the recordings are not there
            instance(job.config[part], part)
    separator = job.choice.at(job.config.sample_rate)
    assert sum(parameter.numel() for parameter in separator.parameters()) > 1e5


def networks():
    kinds = [getattr(torchsep.networks, name) for name in torchsep.networks.__all__]
    return [kind for kind in kinds if issubclass(kind, torchsep.networks.Network) and not inspect.isabstract(kind)]


def test_overrides_reach_the_separator():
    for override in ("separator.min_period=1.5", "+separator.min_period=1.5"):
        assert compose(["separator=repet", override]).separator.min_period == 1.5


def test_overrides_of_a_part_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match=r"^In 'config': Could not find 'data/nope' Available options in 'data'.*wham"):
        compose(["data=nope"])
    with pytest.raises(ValueError, match=r"^Could not override 'nothing'"):
        compose(["nothing=1"])


def test_missing_values_and_wrong_ones_are_named():
    with pytest.raises(ValueError, match=r"^data is missing required values: data\.root=\.\.\.$"):
        instance(compose(["data=musdb18hq"]).data, "data")
    with pytest.raises(ValueError, match=r"^data cannot be built: .*nothing"):
        instance(compose(["data=scenes", "+data.nothing=1"]).data, "data")


def test_trainer_builds():
    trainer = instance(compose(["trainer.accelerator=cpu"]).trainer, "trainer")
    assert trainer.num_devices == 1
