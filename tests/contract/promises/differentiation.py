"""Promises about gradients."""

import pytest
import torch
from contract.promises.checking import assert_near, gradients, promise

from torchsep import MaskSeparator


@promise
def promise_gradient_reaches_everything(case, device):
    separator = case.build(device)
    if not separator.differentiable:
        pytest.skip("not differentiable")
    grads = gradients(separator, case.inputs(device))[1]
    for name, grad in grads.items():
        assert grad is not None, f"{name} must have a gradient"
        assert grad.isfinite().all(), f"gradient of {name} must be finite"
        assert (grad != 0).any(), f"gradient of {name} must not be zero"
    reached = (grads["mixture"] != 0).any(-1)
    assert reached.all(), "gradient must reach every channel of every item"


def check_straight_through(separator: MaskSeparator, inputs) -> None:
    """Compare with the sum of two gradients: through the mixture with fixed masks, and through soft masks."""
    length = inputs[0].shape[-1]

    def reference(mixture, **required):
        spectrogram = separator.stft(mixture)
        binary = separator.final_masks(spectrogram, **required).detach()
        soft = separator.masks(spectrogram, **required)
        fixed_masks = separator.stft.inverse(spectrogram[:, None], length, binary)
        return fixed_masks + separator.stft.inverse(spectrogram[:, None].detach(), length, soft)

    reference.named_parameters = separator.named_parameters
    expected = gradients(reference, inputs)[1]
    for name, grad in gradients(separator, inputs)[1].items():
        reference_grad = expected[name] if expected[name] is not None else torch.zeros_like(grad)
        assert_near(grad, reference_grad, 1e-10, f"straight-through gradient of {name}")


def check_finite_differences(separator, inputs) -> None:
    mixture, required = inputs
    parameters = dict(separator.named_parameters())
    leaves = [
        tensor.detach().clone().requires_grad_() for tensor in (mixture, *required.values(), *parameters.values())
    ]

    def separate(mixture, *others):
        tensors = dict(zip(required, others[: len(required)], strict=True))
        values = dict(zip(parameters, others[len(required) :], strict=True))
        return torch.func.functional_call(separator, values, (mixture,), tensors)

    torch.autograd.gradcheck(separate, leaves, fast_mode=True, atol=1e-8, nondet_tol=1e-9)


@promise
def promise_gradient_is_correct(case, device):
    separator = case.build(device, torch.float64)
    binary = getattr(separator, "mask_type", "soft") == "binary"
    if not separator.differentiable:
        pytest.skip("not differentiable")
    if binary and not isinstance(separator, MaskSeparator):
        pytest.skip("straight-through gradient, tested with the separator")
    inputs = case.inputs(device, max(80, case.min_length), batch=2, dtype=torch.float64)
    (check_straight_through if binary else check_finite_differences)(separator, inputs)
