"""Properties of every network."""

import json

import pytest
import torch
from networks.cases import NETWORKS, has_strides, inputs, shape_of_result
from networks.dependence import dependence

from torchsep.configurable import Configurable, registry_name
from torchsep.networks import MaskNetwork, Network
from torchsep.networks import filter_banks as banks

MASK_NETWORKS = [name for name, make in NETWORKS.items() if isinstance(make(), MaskNetwork)]
LENGTHS = (1, 2, 3, 5, 17, 64, 151)


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]().eval()


def near(actual, expected, relative):
    assert actual.shape == expected.shape
    return (actual - expected).abs().max() <= relative * expected.abs().max()


def test_any_length(network):
    for length in LENGTHS:
        mixture = inputs(network, length)
        before = mixture.clone()
        with torch.no_grad():
            result = network(mixture)
        assert result.shape == shape_of_result(network, length)
        assert result.dtype == torch.float32
        assert result.isfinite().all()
        assert mixture.equal(before)


def test_in_training_too(network):
    network.train()
    result = network(inputs(network, 37))
    assert result.shape == shape_of_result(network, 37)
    assert result.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_on_the_meta_device(name):
    with torch.device("meta"):
        built = NETWORKS[name]()
    network = NETWORKS[name]()
    mixture = inputs(network, 37).to("meta")
    for other in (built.to("meta"), network.to("meta")):
        if name.startswith("h_demucs"):  # torchaudio's compares values
            with pytest.raises(NotImplementedError, match="aten::equal"):
                other.eval()(mixture)
            continue
        result = other.eval()(mixture)
        assert result.is_meta
        assert result.shape == shape_of_result(network, 37)


def test_double_precision(network):
    single = network(inputs(network, 53))
    double = network.double()(inputs(network, 53, dtype=torch.float64))
    assert double.dtype == torch.float64
    assert near(single.double(), double, 1e-4)


def test_mixed_precision(network):
    mixture = inputs(network, 53)
    expected = network(mixture)
    with torch.autocast("cpu", torch.bfloat16):
        result = network(mixture)
    assert near(result.float(), expected, 0.1)


def test_items_do_not_know_of_one_another(network):
    batch = inputs(network, 67, batch=3)
    together = network(batch)
    for item in range(3):
        assert near(network(batch[item : item + 1]), together[item : item + 1], 1e-5)


def test_non_finite_items_are_isolated(network):
    batch = inputs(network, 67, batch=3)
    expected = network(batch)
    batch[1, ..., 20] = torch.nan
    result = network(batch)
    assert near(result[::2], expected[::2], 1e-5)
    assert result[1].isnan().any()


def test_layout_of_memory_plays_no_part(network):
    mixture = inputs(network, 41)
    strided = torch.empty(*mixture.shape[::-1]).permute(*range(mixture.dim())[::-1]).copy_(mixture)
    assert not strided.is_contiguous()
    assert near(network(strided), network(mixture), 1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_silence_is_finite_and_so_is_its_gradient(network, training):
    network.train(training)
    silence = torch.zeros_like(inputs(network, 45)).requires_grad_()
    result = network(silence)
    assert result.isfinite().all()
    weights = torch.linspace(-1, 1, result.numel()).view(result.shape)
    (result * weights).sum().backward()
    assert silence.grad.isfinite().all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())


def test_gradient_reaches_every_parameter_and_the_mixture(network):
    mixture = inputs(network, 301).requires_grad_()
    both = network.both(mixture) if hasattr(network, "both") else [network(mixture)]
    weights = [torch.linspace(-1, 2, result.numel()).view(result.shape) for result in both]
    sum((result * weight).sum() for result, weight in zip(both, weights, strict=True)).backward()
    assert mixture.grad.any()
    untouched = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert untouched == []


def test_the_same_on_every_call(network):
    mixture = inputs(network, 50)
    state = torch.get_rng_state()
    assert network(mixture).equal(network(mixture))
    assert torch.get_rng_state().equal(state)


def test_a_network_from_the_config_with_the_state_is_the_same(network):
    config = json.loads(json.dumps(network.config))
    again = build(config).eval()
    assert again.config == network.config
    again.load_state_dict(network.state_dict())
    mixture = inputs(network, 50)
    assert again(mixture).equal(network(mixture))


def test_number_of_parameters(network):
    assert network.num_parameters == sum(weight.numel() for weight in network.parameters())
    some = next(network.parameters())
    before = network.num_parameters
    some.requires_grad_(False)
    assert network.num_parameters == before - some.numel()


def test_receptive_field_and_latency_agree_with_the_gradient(network):
    length = 120
    # What strides make different comes round again within sixteen.
    middle = range(50, 51 if network.latency is None or not has_strides(network) else 66)
    mixture = inputs(network, length, batch=1, dtype=torch.float64)
    first, last, *rows = dependence(network.double(), mixture, [0, length - 1, *middle])
    spans = [(position, *row.nonzero().flatten()[[0, -1]].tolist()) for position, row in zip(middle, rows, strict=True)]
    if network.latency is None:
        assert first[-1]
    else:
        assert max(after - position for position, _, after in spans) == network.latency
    if network.receptive_field is None:
        assert last[0]
    else:
        assert max(after - before + 1 for _, before, after in spans) == network.receptive_field


@pytest.mark.parametrize("network", MASK_NETWORKS, indirect=True)
def test_masks_are_from_zero_to_one_and_sum_to_one_if_normalised(network):
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(3)
    masks = network(10 * inputs(network, 50))
    assert masks.min() >= 0
    assert masks.max() <= 1
    total = masks.sum(1)
    assert total.allclose(torch.ones_like(total), atol=1e-5) == network.normalised


def build(config):
    """A network from its config, by the names of the classes there are."""
    kinds = {registry_name(kind): kind for kind in [*_below(Network), *_below(banks.FilterBank)]}
    arguments = {name: build(value) if isinstance(value, dict) else value for name, value in config.items()}
    kind = kinds[arguments.pop("name")]
    assert issubclass(kind, Configurable)
    return kind(**arguments)


def _below(kind):
    return {kind, *(found for below in kind.__subclasses__() for found in _below(below))}
