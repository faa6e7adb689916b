"""Promises about purity: estimates depend on the inputs only, and calls have no side effects."""

import copy
import random
from contextlib import nullcontext

import numpy as np
import torch
from contract.promises.checking import assert_near, gradients, promise, run, same, snapshot
from torch import nn


def transposed(tensor):
    return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)


def time_first(tensor):
    return tensor.movedim(-1, 0).contiguous().movedim(0, -1)


def reversed_axes(tensor):
    return tensor.permute(*reversed(range(tensor.dim()))).contiguous().permute(*reversed(range(tensor.dim())))


def every_other(tensor):
    return torch.stack((tensor, -tensor), -1).flatten(-2)[..., ::2]


def with_offset(tensor):
    return nn.functional.pad(tensor, (3, 2), value=5.0)[..., 3:-2]


@promise
def promise_any_memory_layout(case, device):
    separator = case.build(device, torch.float64)
    inputs = case.inputs(device, max(150, case.min_length), dtype=torch.float64)
    expected, expected_grads = (
        gradients(separator, inputs) if separator.differentiable else (run(separator, inputs), {})
    )
    for layout in (transposed, time_first, reversed_axes, every_other, with_offset):
        assert torch.equal(layout(inputs[0]), inputs[0])
        rule = f"{layout.__name__} layout"
        assert_near(run(separator, inputs, layout), expected, 1e-12, rule)
        if separator.differentiable and layout not in {every_other, with_offset}:  # their clones are contiguous
            for name, grad in gradients(separator, inputs, layout)[1].items():
                assert_near(grad, expected_grads[name], 1e-10, f"gradient of {name}, {rule}")
    first = case.inputs(device, max(150, case.min_length), dtype=torch.float64, batch=1)
    expanded = run(separator, first, lambda tensor: tensor.expand(3, *tensor.shape[1:]))
    assert_near(expanded, run(separator, first).repeat(3, 1, 1, 1), 1e-12, "expanded batch")


@promise
def promise_input_is_not_modified(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    before = copy.deepcopy(inputs)
    for mode in (torch.no_grad, torch.inference_mode, nullcontext):
        with mode():
            estimates = run(separator, inputs)
        assert same(inputs, before), f"inputs must not be modified with {mode.__name__}"
    second = estimates[:, -1].clone()
    estimates.detach()[:, 0] = 7.0
    assert torch.equal(estimates[:, -1], second) or estimates.shape[1] == 1, "estimates must not share memory"
    assert same(inputs, before), "estimates must not share the memory of the inputs"


@promise
def promise_deterministic(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    assert torch.equal(run(separator, inputs), run(separator, inputs)), "two calls must agree"


@promise
def promise_calls_are_stateless(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    state = snapshot(separator)
    expected = run(separator, inputs)
    for number, (length, dtype) in enumerate(((150, torch.float32), (401, torch.float64), (260, torch.float32))):
        run(separator, case.inputs(device, length, batch=number + 1, dtype=dtype, seed=number + 1))
    assert same(snapshot(separator), state), "attributes must not change"
    assert torch.equal(run(separator, inputs), expected), "estimates must not depend on earlier calls"


@promise
def promise_global_generators_are_not_used(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)

    def states():
        accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return repr((random.getstate(), np.random.get_state())), torch.get_rng_state(), accelerator  # noqa: NPY002

    torch.manual_seed(1234)
    torch.rand(5, device=device)
    before = states()
    if separator.differentiable:
        gradients(separator, inputs)
    run(separator, inputs)
    assert same(states(), before), "states of the global generators must not change"


@promise
def promise_items_are_independent(case, device):
    for dtype, relative in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        separator = case.build(device, dtype)
        gains = torch.tensor([1.0, 1e-3, 10.0], dtype=dtype, device=device)
        mixture, required = case.inputs(device, dtype=dtype)
        mixture = mixture * gains[:, None, None]
        required = {name: tensor * gains[:, None, None, None] for name, tensor in required.items()}
        batch = separator(mixture, **required)
        for item in range(3):
            single = run(separator, (mixture, required), lambda tensor, item=item: tensor[item : item + 1])
            assert_near(batch[item], single[0], relative, "item of a batch")


@promise
def promise_non_finite_items_are_isolated(case, device):
    separator = case.build(device, torch.float64)
    inputs = mixture, required = case.inputs(device, dtype=torch.float64)
    expected = run(separator, inputs)
    grads = gradients(separator, inputs)[1] if separator.differentiable else {}
    for bad in (float("nan"), float("inf")):
        changed = mixture.clone()
        changed[1, :, 100] = bad
        estimates = separator(changed, **required)
        assert not estimates[1].isfinite().all(), "estimates of a non-finite item must not be finite"
        assert_near(estimates[::2], expected[::2], 1e-12, "finite items beside a non-finite item")
        if grads:
            changed_grads = gradients(separator, (changed, required))[1]["mixture"]
            assert_near(changed_grads[::2], grads["mixture"][::2], 1e-10, "gradient beside a non-finite item")


def poor(tensor):
    """Items with little to separate, after an ordinary one: equal channels, a click, a constant, and silence."""
    items = [tensor[:1], *(torch.zeros_like(tensor[:1]) for _ in range(4))]
    items[1][:] = tensor[:1, ..., :1, :]
    items[2][..., 100] = tensor[:1, ..., 100]
    items[3][:] = tensor[:1].mean(-1, keepdim=True)
    return torch.cat(items)


@promise
def promise_poor_items_are_isolated(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    estimates = run(separator, inputs, poor)
    assert estimates.isfinite().all(), "estimates of items with little to separate must be finite"
    assert_near(estimates[:1], run(separator, inputs, lambda tensor: tensor[:1]), 1e-5, "item beside poor ones")
