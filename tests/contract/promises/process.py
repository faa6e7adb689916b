"""Promises about the state of the process, and about tensors without values."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from contract.promises.checking import assert_near, gradients, promise, run
from torch._subclasses import FakeTensorMode

from torchsep import build


@contextmanager
def process_state(setter, value, usual) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(usual)


DEFAULTS = {
    "default dtype": (torch.set_default_dtype, torch.float64, torch.float32),
    "default device": (torch.set_default_device, "meta", None),
    "deterministic algorithms": (torch.use_deterministic_algorithms, True, False),
}


@promise(slow=True)
def promise_state_of_the_process_does_not_matter(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    expected, expected_grads = (
        gradients(separator, inputs) if separator.differentiable else (run(separator, inputs), {})
    )
    for name, state in DEFAULTS.items():
        with process_state(*state):
            estimates = run(separator, inputs)
            twin = separator
            if name != "default device" or not list(separator.parameters()):  # which would be on that device
                twin = build(case.name, **case.arguments).to(device).eval()
                twin.load_state_dict(separator.state_dict())
            again = run(twin, inputs)
            grads = (
                gradients(separator, inputs)[1] if separator.differentiable and name != "default device" else {}
            )  # of the weights
        for found in (estimates, again):
            assert found.dtype == torch.float32, f"estimates must have the dtype of the mixture whatever the {name}"
            assert found.device == inputs[0].device, (
                f"estimates must be on the device of the mixture whatever the {name}"
            )
            assert_near(found, expected, 1e-5, name)
        for key, grad in grads.items():
            assert_near(grad, expected_grads[key], 1e-4, f"gradient of {key}, {name}")


@promise(slow=True)
def promise_tensors_without_values_are_no_surprise(case, device):
    shape = run(case.build(device), case.inputs(device)).shape
    mixture, required = case.inputs("cpu")
    with torch.device("meta"):
        built = build(case.name, **case.arguments)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with FakeTensorMode():
        build(case.name, **case.arguments)
    for separator, without_values in (
        (built.to("meta"), lambda tensor: tensor.to("meta")),
        (build(case.name, **case.arguments).to("meta"), lambda tensor: tensor.to("meta")),
        (case.build(), mode.from_tensor),
    ):
        inputs = without_values(mixture), {name: without_values(tensor) for name, tensor in required.items()}
        try:
            with torch.no_grad():
                estimates = run(separator.eval(), inputs)
        except ValueError as error:
            if not str(error).startswith(f"mixture must have values for {case.name}, got a "):
                raise
        else:
            assert estimates.shape == shape, "estimates without values must have the right shape"
            assert estimates.dtype == torch.float32, "estimates without values must have the right dtype"
