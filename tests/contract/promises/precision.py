"""Promises about numerical precision, scaling and silence."""

import pytest
import torch
from contract.promises.checking import assert_finite, assert_near, gradients, promise, run, without


@promise
def promise_dtypes_are_preserved(case, device):
    separator = case.build(device)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        inputs = case.inputs(device, dtype=dtype)
        estimates = run(separator, inputs)
        assert estimates.dtype == dtype, "estimates must have the dtype of the mixture"
        assert estimates.isfinite().all(), "estimates must be finite"
        if dtype.itemsize == 2:
            single = run(separator, inputs, lambda tensor: tensor.float())
            assert torch.equal(estimates, single.to(dtype)), "half precision must be computed in single precision"


@promise
def promise_autocast_is_supported(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    expected = run(separator, inputs)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        estimates, grads = gradients(separator, inputs) if separator.differentiable else (run(separator, inputs), {})
    assert estimates.dtype == torch.float32, "estimates must have the dtype of the mixture"
    assert_near(estimates, expected, 0.1 if separator.autocast else 1e-5, "estimates under autocast")
    assert_finite(grads)


@promise
def promise_single_agrees_with_double(case, device):
    double = run(case.build(device, torch.float64), case.inputs(device, dtype=torch.float64))
    single = run(case.build(device), case.inputs(device))
    assert_near(single, double, 1e-3, "single precision")


@promise
def promise_estimates_sum_to_the_mixture(case, device):
    separator = case.build(device, torch.float64)
    if not separator.conservative:
        pytest.skip("not conservative")
    for length in (max(81, case.min_length), 401):
        inputs = case.inputs(device, length, dtype=torch.float64)
        assert_near(run(separator, inputs).sum(1), inputs[0], 1e-10, "sum of the estimates")


@promise
def promise_scale_equivariant(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    expected = run(separator, inputs)
    for gain in (1e-4, 1e4):
        estimates = run(separator, inputs, lambda tensor, gain=gain: tensor * gain)
        assert_near(estimates, expected * gain, 1e-4, f"gain of {gain:g}")


def per_item(tensor, factors):
    return tensor * torch.tensor(factors, dtype=tensor.dtype, device=tensor.device).view(-1, *[1] * (tensor.dim() - 1))


@promise
def promise_extreme_levels_are_supported(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    # The squares of the first item overflow; the samples of the last are denormal, with fewer digits.
    levels = [2.0**100, 1.0, 2.0**-133]
    inverse = [1 / level for level in levels]

    def extreme(tensor):
        return per_item(tensor, levels)

    def usual(tensor):
        return per_item(extreme(tensor).double(), inverse).to(tensor.dtype)

    estimates = run(separator, inputs, extreme)
    assert estimates.isfinite().all(), "estimates must be finite at any level"
    assert_near(per_item(estimates.double(), inverse), run(separator, inputs, usual), 1e-4, "extreme levels")
    half = run(separator, inputs, lambda tensor: extreme(tensor).to(torch.bfloat16))
    assert half.isfinite().all(), "estimates in half precision must be finite at any level"
    if not separator.differentiable:
        return
    # That of parameters grows with the level, and underflows for the last item.
    changes = (
        (usual, extreme)
        if not list(separator.parameters())
        else (lambda tensor: tensor, lambda tensor: tensor * 2.0**60)
    )
    expected, grads = (gradients(separator, inputs, change)[1] for change in changes)
    for name, grad in grads.items():
        factor = 1.0 if name == "mixture" or name in separator.requires else 2.0**-60
        assert_near(grad * factor, expected[name], 1e-4, f"gradient of {name} at extreme levels")


@promise
def promise_silence_stays_silent(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    silent = {name: torch.zeros_like(tensor) for name, tensor in required.items()}
    cancelling = {name: tensor - tensor.mean(1, keepdim=True) for name, tensor in required.items()}
    for tensors in (silent, cancelling) if required else (silent,):
        inputs = torch.zeros_like(mixture), tensors
        assert (run(separator, inputs) == 0).all(), "estimates of silence must be zero"
        if separator.differentiable:
            estimates, grads = gradients(separator, inputs)
            assert (estimates == 0).all(), "estimates of silence must be zero with gradient"
            assert_finite(grads)


@promise
def promise_silent_parts_are_finite(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    channel, half, item = (..., 0, slice(None)), (..., slice(200)), 1
    for part in (channel, half, item):
        estimates = run(separator, inputs, lambda tensor, part=part: without(tensor, part))
        assert estimates.isfinite().all(), "estimates must be finite"
        if part is item:
            assert (estimates[item] == 0).all(), "estimates of a silent item must be zero"
        if separator.differentiable:
            assert_finite(gradients(separator, inputs, lambda tensor, part=part: without(tensor, part))[1])


@promise
def promise_nearly_silent_channels_are_silent(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    if inputs[0].shape[1] < 2:
        pytest.skip("needs channels to compare")
    first = (..., 0, slice(None))

    def quiet(tensor):
        changed = tensor.clone()
        changed[first] = per_item(tensor[first], (1e-37, 1e-39, 1e-42))
        return changed

    def useless(tensor):
        """A large constant, a small one, and noise 80 dB below the other channels."""
        changed = without(tensor, first)
        changed[0][first], changed[1][first], changed[2][first] = 0.3, 1e-9, 1e-4 * tensor[2][first]
        return changed

    silent = run(separator, inputs, lambda tensor: without(tensor, first))
    assert_near(run(separator, inputs, quiet), silent, 1e-5, "nearly silent channel")
    assert run(separator, inputs, useless).isfinite().all(), "estimates must be finite beside a useless channel"
    if separator.differentiable:
        for change in (quiet, useless):
            assert_finite(gradients(separator, inputs, change)[1])
