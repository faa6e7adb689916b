"""Every YAML file composes and builds, and sets only what its class takes."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import torchsep.networks
from torchsep import list_separators, registry
from torchsep.configurable import registry_name
from torchsep.engine import compose, configure, training
from torchsep.engine.config import instance, plain
from torchsep.engine.overrides import parse_overrides
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


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in {"speech8k", "supervised_nmf"}])
def test_experiment_is_complete(name):
    job = training([f"experiment={name}", "trainer.max_steps=10"])
    assert job.config.label == name
    assert job.output.as_posix() == f"outputs/{name}"
    for part in ("objective", "optimizer", "scheduler"):
        if job.config[part] is not None:
            assert callable(instance(job.config[part], part))
    for part in ("train_data", "valid_data"):
        if job.config[part].name == "scenes":
            assert len(instance(job.config[part], part)) > 0
        else:
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
    for override, message in (
        ("data=nope", r"^data must be one of the presets, got 'nope'; there are dynamic_mixing, .*, wsj0_mix$"),
        ("network=dprn", r"^network must be one of the presets, got 'dprn'; did you mean dprnn\?$"),
        ("data@train_data=scene", r"^data must be one of the presets, got 'scene'; did you mean scenes\?$"),
        ("experiment=speech8k_dcpl", r"^experiment must be one .*; did you mean speech8k_dpcl\?$"),
        ("zzz=1", r"^the configuration has no 'zzz'; it has label, output, "),
        ("ouput=x", r"^the configuration has no 'ouput'; did you mean output\?$"),
        ("trainer.max_step=1", r"^trainer has no 'max_step'; did you mean max_steps\?$"),
        ("data.num_items=1", r"^data must be chosen before data.num_items can be set$"),
        ("evaluation.metric=[snr]", r"^evaluation has no 'metric'; did you mean metrics\?$"),
        ("sample_rate=fast", r"^sample_rate must be a number, got 'fast'$"),
        ("overwrite=yess", r"^overwrite must be true or false, got 'yess'$"),
        ("nonsense", r"^an override must be key=value, got 'nonsense'$"),
        ("output=a,b", r"^output=a,b has several values; quote one with commas: 'output=\"\.\.\.\"'$"),
    ):
        with pytest.raises(ValueError, match=message):
            compose([override])
    with pytest.raises(ValueError, match=r"^optimizer.lr must be a number, got 'abc'$"):
        compose(["optimizer=adam", "optimizer.lr=abc"])


def test_an_argument_that_is_not_in_the_preset_is_set_without_ceremony():
    part = compose(
        ["optimizer=adam", "optimizer.weight_decay=0.1", "trainer.deterministic=true", "data=scenes", "data.seed=3"]
    )
    assert (part.optimizer.weight_decay, part.trainer.deterministic, part.data.seed) == (0.1, True, 3)
    assert compose(["scheduler=step", "scheduler.last_epoch=3"]).scheduler.last_epoch == 3


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_path_arrives_as_it_is(name):
    (override,) = parse_overrides([f"data.root=/music/{name}"])
    if not override.is_sweep_override():
        assert override.value().strip() == f"/music/{name}".strip()


def test_another_choice_than_that_of_an_experiment_replaces_its_arguments():
    own = compose(["experiment=speech8k_dprnn"]).network
    assert own.chunk_size == 20
    for override in ("network=dprnn", "network.hidden_size=64"):
        assert compose(["experiment=speech8k_dprnn", override]).network.chunk_size == 20
    other = compose(["experiment=speech8k_dprnn", "network=conv_tas_net", "network.num_stacks=2"]).network
    assert plain(other) == {"name": "conv_tas_net", "num_stacks": 2}
    data = compose(["experiment=speech8k_dpcl", "data@train_data=scenes", "train_data.duration=2"]).train_data
    assert plain(data) == {"name": "scenes", "num_items": 100, "duration": 2, "sample_rate": 44100, "split": "train"}
    assert compose(["experiment=speech8k_dpcl", "optimizer=adam", "scheduler=step"]).scheduler.gamma == 0.98


@pytest.mark.parametrize("name", ["scenes", "musdb18hq", "wham"])
def test_data_are_of_the_split_of_their_place(name):
    config = compose([f"data@train_data={name}", f"data@valid_data={name}", f"data={name}"])
    assert [plain(config[place])["split"] for place in ("train_data", "valid_data", "data")] == [
        "train",
        "valid",
        "test",
    ]
    assert compose(["experiment=musdb18_open_unmix"]).train_data.dataset.split == "train"


@pytest.mark.parametrize("target", ["torch.load", "subprocess.Popen", "pickle.Unpickler", "os.system", "no.such.thing"])
def test_only_parts_of_a_run_are_built(target):
    config = compose(["data=scenes", f"+data._target_={target}"])
    for part in (config.data, OmegaConf.create({"name": "augmented", "dataset": config.data})):
        with pytest.raises(
            ValueError, match=rf"^_target_ in data must be the class of a data set, .*, got '{target}'$"
        ):
            instance(part, "data")


def test_missing_values_and_wrong_ones_are_named():
    with pytest.raises(ValueError, match=r"^data is missing required values: data\.root=\.\.\.$"):
        instance(compose(["data=musdb18hq"]).data, "data")
    with pytest.raises(ValueError, match=r"^data has no 'nothing'; it has name, num_items, "):
        compose(["data=scenes", "data.nothing=1"])
    with pytest.raises(ValueError, match=r"^data cannot be built: .*nothing"):
        instance(compose(["data=scenes", "+data.nothing=1"]).data, "data")


def test_trainer_builds():
    trainer = instance(compose(["trainer.accelerator=cpu"]).trainer, "trainer")
    assert trainer.num_devices == 1


@pytest.mark.parametrize("sign", ["+", "++"])
def test_added_keys_are_open(sign: str) -> None:
    assert compose([f"{sign}valid_data.colour=3"]).valid_data.colour == 3
