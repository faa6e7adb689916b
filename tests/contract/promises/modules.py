"""Promises about modules: config, state, copies, repr, dtypes and compilation."""

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


def tells(stored, given) -> bool:
    """Whether a stored argument is the given one; of a module not all arguments need have been given."""
    if isinstance(given, Mapping):
        return given.keys() <= stored.keys() and all(tells(stored[key], value) for key, value in given.items())
    if isinstance(given, list) and any(isinstance(item, Mapping) for item in given):
        return len(stored) == len(given) and all(map(tells, stored, given))
    return same_config(stored, given, 1e-6)


@promise
def promise_arguments_are_stored(case, device):
    separator = case.build(device)
    stored = json.loads(json.dumps(separator.config))
    assert stored.pop("name") == case.name
    assert stored.keys() == separator.arguments().keys()
    for name, parameter in separator.arguments().items():
        assert parameter.kind in {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        assert hasattr(separator, name)
        given = json.loads(json.dumps(case.arguments.get(name, parameter.default)))
        assert given is None or tells(stored[name], given)


@promise
def promise_config_rebuilds_it(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    torch.manual_seed(7)  # nothing may depend on it
    # A learned parameter is kept in single precision.
    relative = 1e-6 if list(separator.parameters()) else 0.0
    for config in (separator.config, json.loads(json.dumps(separator.config))):
        twin = build(config).to(device).eval()
        assert type(twin) is type(separator)
        assert twin.names == separator.names
        assert same_config(json.loads(json.dumps(twin.config)), json.loads(json.dumps(separator.config)), relative)
        twin.load_state_dict(separator.state_dict())
        assert torch.equal(run(twin, inputs), run(separator, inputs))


@promise
def promise_state_restores_it(case, device):
    separator = nudge(case.build(device))
    inputs = case.inputs(device)
    state = separator.state_dict()
    if not list(separator.parameters()):
        assert not state, f"state without parameters: {', '.join(state)}"
    assert set(state) >= set(dict(separator.named_parameters()))
    twin = case.build(device)
    assert not list(twin.parameters()) or not same(dict(twin.state_dict()), dict(state))
    twin.load_state_dict(state, strict=True)
    assert torch.equal(run(twin, inputs), run(separator, inputs))


@promise
def promise_checkpoint_restores_it(case, device):
    separator = nudge(case.build(device))
    inputs = case.inputs(device)
    torch.manual_seed(7)  # nothing may depend on it
    with tempfile.TemporaryDirectory() as folder:
        twin = load(save(separator, f"{folder}/model")).to(device)
    assert twin.config == separator.config
    assert twin.names == separator.names
    assert same(dict(twin.state_dict()), dict(separator.state_dict()))
    trainable = {name: parameter.requires_grad for name, parameter in separator.named_parameters()}
    assert {name: parameter.requires_grad for name, parameter in twin.named_parameters()} == trainable
    assert torch.equal(run(twin, inputs), run(separator, inputs))


@promise
def promise_copies_are_equal(case, device):
    separator = nudge(case.build(device))
    inputs = case.inputs(device)
    for twin in (copy.deepcopy(separator), pickle.loads(pickle.dumps(separator))):  # noqa: S301
        assert twin.config == separator.config
        assert torch.equal(run(twin, inputs), run(separator, inputs))


@promise
def promise_repr_tells_all_arguments(case, device):
    separator = case.build(device)
    text = repr(separator)
    assert text.startswith(f"{type(separator).__name__}(")
    for name in separator.arguments():
        value = getattr(separator, name)
        if isinstance(value, nn.Module):
            assert f"({name}): {type(value).__name__}(" in text
        else:
            assert f"{name}=" in text
        if isinstance(value, (int, float, str)):
            assert f"{name}={value!r}" in text


@promise
def promise_names_fit_the_estimates(case, device):
    separator = case.build(device)
    count = run(separator, case.inputs(device)).shape[1]
    assert isinstance(separator.names, tuple)
    if not separator.requires and not case.source_per_channel:
        assert separator.names, "only a separator that is told its sources may leave them unnamed"
    if separator.names:
        assert len(set(separator.names)) == len(separator.names) == count
    assert all(name.isidentifier() for name in separator.names), "names are those of files"


@promise
def promise_masks_are_shares(case, device):
    separator = case.build(device)
    if not isinstance(separator, MaskSeparator):
        pytest.skip("not a mask separator")
    mixture, required = case.inputs(device)
    nothing, half, channel, everything = (..., slice(0)), (..., slice(200)), (..., 0, slice(None)), ...
    for part in (nothing, half, channel, everything):
        beside = {name: without(tensor, part) for name, tensor in required.items()}
        masks = separator.final_masks(separator.stft(without(mixture, part)), **beside)
        assert masks.min() >= 0
        assert masks.max() <= 1
        if separator.conservative or separator.last_is_residual:
            assert_near(masks.sum(1), torch.ones_like(masks[:, 0]), 1e-6)
        if separator.mask_type == "binary":
            assert ((masks == 0) | (masks == 1)).all()
            assert ((masks == 1).sum(1) == 1).all(), "a bin without exactly one owner"


@promise(slow=True)
def promise_compiles_as_one_graph(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    torch.compiler.reset()
    # Recurrent layers are in the graph only where the compiler is told so.
    with warnings.catch_warnings(), torch._dynamo.config.patch(allow_rnn=True):
        warnings.simplefilter("ignore")  # the compiler's own
        compiled = torch.compile(separator, fullgraph=True, backend=case.compile_backend)
        with torch.no_grad():
            assert_near(run(compiled, inputs), run(separator, inputs), 1e-5)
        if separator.differentiable:
            compiled.named_parameters = separator.named_parameters
            estimates, grads = gradients(compiled, inputs)
            expected, expected_grads = gradients(separator, inputs)
            assert_near(estimates, expected, 1e-5)
            for name, grad in grads.items():
                assert_near(grad, expected_grads[name], 1e-4)
    torch.compiler.reset()


@promise
def promise_casts_do_no_harm(case, device):
    inputs = case.inputs(device)
    separator = case.build(device)
    expected = run(separator, inputs)
    # Half precision rounds what was learned, and nothing else.
    loss = 2e-2 if list(separator.parameters()) else 1e-6
    assert_near(run(separator.to(torch.float64), inputs), expected, 1e-6)
    assert_near(run(separator.half(), inputs), expected, loss)
    assert run(separator, inputs).dtype == torch.float32
    assert_near(run(separator.float(), inputs), expected, loss)
