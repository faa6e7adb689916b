"""Promises about purity: results depend on the mixture only, and calls have no side effects."""

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
    inputs = case.inputs(device, max(150, case.shortest), dtype=torch.float64)
    expected, expected_grads = (
        gradients(separator, inputs) if separator.differentiable else (run(separator, inputs), {})
    )
    for layout in (transposed, time_first, reversed_axes, every_other, with_offset):
        assert torch.equal(layout(inputs[0]), inputs[0])
        assert_near(run(separator, inputs, layout), expected, 1e-12)
        if separator.differentiable:
            for name, grad in gradients(separator, inputs, layout)[1].items():
                assert_near(grad, expected_grads[name], 1e-10)
    first = case.inputs(device, max(150, case.shortest), dtype=torch.float64, batch=1)
    widened = run(separator, first, lambda tensor: tensor.expand(3, *tensor.shape[1:]))
    assert_near(widened, run(separator, first).repeat(3, 1, 1, 1), 1e-12)


@promise
def promise_input_is_left_alone(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    mixture, required = inputs
    before = copy.deepcopy(inputs)
    for mode in (torch.no_grad, torch.inference_mode, nullcontext):
        with mode():
            estimates = run(separator, inputs)
        assert torch.equal(mixture, before[0])
        assert same(required, before[1])
    second = estimates[:, -1].clone()
    estimates.detach()[:, 0] = 7.0
    assert torch.equal(estimates[:, -1], second) or estimates.shape[1] == 1, "estimates share memory"
    assert torch.equal(mixture, before[0])
    assert same(required, before[1])


@promise
def promise_same_answer_twice(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    assert torch.equal(run(separator, inputs), run(separator, inputs))


@promise
def promise_calls_leave_no_trace(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    state = snapshot(separator)
    expected = run(separator, inputs)
    for number, (length, dtype) in enumerate(((150, torch.float32), (401, torch.float64), (260, torch.float32))):
        run(separator, case.inputs(device, length, batch=number + 1, dtype=dtype, seed=number + 1))
    assert same(snapshot(separator), state)
    assert torch.equal(run(separator, inputs), expected)


@promise
def promise_global_generators_are_left_alone(case, device):
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
    assert same(states(), before)


@promise
def promise_items_do_not_see_one_another(case, device):
    for dtype, relative in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        separator = case.build(device, dtype)
        level = torch.tensor([1.0, 1e-3, 10.0], dtype=dtype, device=device)
        mixture, required = case.inputs(device, dtype=dtype)
        mixture = mixture * level[:, None, None]
        required = {name: tensor * level[:, None, None, None] for name, tensor in required.items()}
        together = separator(mixture, **required)
        for item in range(3):
            alone = run(separator, (mixture, required), lambda tensor, item=item: tensor[item : item + 1])
            assert_near(together[item], alone[0], relative)


@promise
def promise_a_bad_item_stays_alone(case, device):
    separator = case.build(device, torch.float64)
    mixture, required = case.inputs(device, dtype=torch.float64)
    expected = separator(mixture, **required)
    for bad in (float("nan"), float("inf")):
        spoiled = mixture.clone()
        spoiled[1, :, 100] = bad
        estimates = separator(spoiled, **required)
        assert not estimates[1].isfinite().all()
        assert_near(estimates[::2], expected[::2], 1e-12)
        if separator.differentiable:
            grads = gradients(separator, (mixture, required))[1]["mixture"]
            spoiled_grads = gradients(separator, (spoiled, required))[1]["mixture"]
            assert_near(spoiled_grads[::2], grads[::2], 1e-10)
