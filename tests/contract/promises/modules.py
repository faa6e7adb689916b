"""Promises about modules: config, state, copies, repr, masks, dtypes and compilation."""

import copy
import inspect
import json
import pickle
import tempfile
import warnings
from collections.abc import Mapping

import pytest
import torch
from contract.promises.checking import assert_near, gradients, nudge, promise, run, same, same_config, without
from torch import nn

from torchsep import MaskSeparator, build, load, save


def stores(stored, given) -> bool:
    """Whether a stored argument equals the given one; a module may have defaults that were not given."""
    if isinstance(given, Mapping):
        return given.keys() <= stored.keys() and all(stores(stored[key], value) for key, value in given.items())
    if isinstance(given, list) and any(isinstance(item, Mapping) for item in given):
        return len(stored) == len(given) and all(map(stores, stored, given))
    return same_config(stored, given, 1e-6)


@promise
def promise_arguments_are_stored(case, device):
    separator = case.build(device)
    stored = json.loads(json.dumps(separator.config))
    assert stored.pop("name") == case.name, "config must have the registered name"
    assert stored.keys() == separator.arguments().keys(), "config must have all arguments"
    for name, parameter in separator.arguments().items():
        explicit = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        assert parameter.kind in explicit, f"{name} must be an explicit argument"
        assert hasattr(separator, name), f"{name} must be an attribute"
        given = json.loads(json.dumps(case.arguments.get(name, parameter.default)))
        assert given is None or stores(stored[name], given), f"{name} must be stored as given"


@promise
def promise_config_round_trip(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    torch.manual_seed(7)  # the result must not depend on it
    # A learned parameter is stored in single precision.
    relative = 1e-6 if list(separator.parameters()) else 0.0
    as_json = json.loads(json.dumps(separator.config))
    for config in (separator.config, as_json):
        twin = build(config).to(device).eval()
        assert type(twin) is type(separator), "config must build the same class"
        assert twin.names == separator.names, "config must build the same names"
        twin_config = json.loads(json.dumps(twin.config))
        assert same_config(twin_config, as_json, relative), "config must build the same config"
        twin.load_state_dict(separator.state_dict())
        assert torch.equal(run(twin, inputs), run(separator, inputs)), "config must build the same estimates"


@promise
def promise_state_dict_round_trip(case, device):
    separator = nudge(case.build(device))
    inputs = case.inputs(device)
    state = separator.state_dict()
    if not list(separator.parameters()):
        assert not state, f"state without parameters must be empty: {', '.join(state)}"
    assert set(state) >= set(dict(separator.named_parameters())), "state must have all parameters"
    twin = case.build(device)
    assert not list(twin.parameters()) or not same(dict(twin.state_dict()), dict(state))
    twin.load_state_dict(state, strict=True)
    assert torch.equal(run(twin, inputs), run(separator, inputs)), "state must restore the estimates"


@promise
def promise_checkpoint_round_trip(case, device):
    separator = nudge(case.build(device))
    inputs = case.inputs(device)
    torch.manual_seed(7)  # the result must not depend on it
    with tempfile.TemporaryDirectory() as folder:
        twin = load(save(separator, f"{folder}/model")).to(device)
    assert twin.config == separator.config, "checkpoint must restore the config"
    assert twin.names == separator.names, "checkpoint must restore the names"
    assert same(dict(twin.state_dict()), dict(separator.state_dict())), "checkpoint must restore the state"
    trainable = {name: parameter.requires_grad for name, parameter in separator.named_parameters()}
    restored = {name: parameter.requires_grad for name, parameter in twin.named_parameters()}
    assert restored == trainable, "checkpoint must restore what is trainable"
    assert torch.equal(run(twin, inputs), run(separator, inputs)), "checkpoint must restore the estimates"


@promise
def promise_copies_are_equal(case, device):
    separator = nudge(case.build(device))
    inputs = case.inputs(device)
    for twin in (copy.deepcopy(separator), pickle.loads(pickle.dumps(separator))):  # noqa: S301
        assert twin.config == separator.config, "a copy must have the same config"
        assert torch.equal(run(twin, inputs), run(separator, inputs)), "a copy must have the same estimates"


@promise
def promise_repr_shows_all_arguments(case, device):
    separator = case.build(device)
    text = repr(separator)
    assert text.startswith(f"{type(separator).__name__}("), "repr must begin with the class"
    for name in separator.arguments():
        value = getattr(separator, name)
        shown = f"({name}): {type(value).__name__}(" if isinstance(value, nn.Module) else f"{name}="
        assert shown in text, f"repr must show {name}"
        if isinstance(value, (int, float, str)):
            assert f"{name}={value!r}" in text, f"repr must show the value of {name}"


@promise
def promise_names_match_the_estimates(case, device):
    separator = case.build(device)
    num_sources = run(separator, case.inputs(device)).shape[1]
    names = separator.names
    assert isinstance(names, tuple), "names must be a tuple"
    if not separator.requires and not case.source_per_channel:
        assert names, "only a separator that requires the sources may have no names"
    if names:
        assert len(names) == num_sources, "names must match the number of estimates"
        assert len(set(names)) == num_sources, "names must differ"
    assert all(name.isidentifier() for name in names), "names must be valid file names"


@promise
def promise_masks_sum_to_one(case, device):
    separator = case.build(device)
    if not isinstance(separator, MaskSeparator):
        pytest.skip("not a mask separator")
    mixture, required = case.inputs(device)
    nothing, half, channel, everything = (..., slice(0)), (..., slice(200)), (..., 0, slice(None)), ...
    for part in (nothing, half, channel, everything):
        tensors = {name: without(tensor, part) for name, tensor in required.items()}
        masks = separator.final_masks(separator.stft(without(mixture, part)), **tensors)
        assert masks.min() >= 0, "masks must not be negative"
        assert masks.max() <= 1, "masks must not exceed one"
        if separator.mask_type == "binary":
            assert ((masks == 0) | (masks == 1)).all(), "binary masks must be zero or one"
            assert ((masks == 1).sum(1) == 1).all(), "binary masks must assign each bin to one source"
        if separator.conservative or separator.last_is_residual:
            assert_near(masks.sum(1), torch.ones_like(masks[:, 0]), 1e-6, "sum of the masks")


@promise(slow=True)
def promise_compiles_as_one_graph(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    with torch.no_grad():
        usual = run(separator, inputs)
    backend = case.compile_backend
    torch.compiler.reset()
    # By default, recurrent layers break the graph.
    with warnings.catch_warnings(), torch._dynamo.config.patch(allow_rnn=True):
        warnings.simplefilter("ignore")  # the compiler's own
        compiled = torch.compile(separator, fullgraph=True, backend=backend)
        with torch.no_grad():
            assert_near(run(compiled, inputs), usual, 1e-5, f"compiled estimates, {backend}")
        if separator.differentiable:
            compiled.named_parameters = separator.named_parameters
            estimates, grads = gradients(compiled, inputs)
            expected, expected_grads = gradients(separator, inputs)
            assert_near(estimates, expected, 1e-5, f"compiled estimates with gradient, {backend}")
            for name, grad in grads.items():
                assert_near(grad, expected_grads[name], 1e-4, f"compiled gradient of {name}, {backend}")
    torch.compiler.reset()


@promise
def promise_casts_preserve_precision(case, device):
    inputs = case.inputs(device)
    separator = case.build(device)
    expected = run(separator, inputs)
    # Half precision rounds learned parameters only.
    half_tolerance = 2e-2 if list(separator.parameters()) else 1e-6
    assert_near(run(separator.to(torch.float64), inputs), expected, 1e-6, "cast to double")
    assert_near(run(separator.half(), inputs), expected, half_tolerance, "cast to half")
    assert run(separator, inputs).dtype == torch.float32, "estimates must have the dtype of the mixture"
    assert_near(run(separator.float(), inputs), expected, half_tolerance, "cast to half and back")
