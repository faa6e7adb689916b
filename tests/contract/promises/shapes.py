"""Promises about inputs and outputs."""

import pytest
import torch
from contract.promises.checking import assert_near, promise, refused, run


@promise
def promise_shapes(case, device):
    separator = case.build(device)
    lengths = {1, 15, 16, 63, 64, 401, case.min_length, max(1, case.min_length - 1)}
    for length, batch in sorted({(length, 3) for length in lengths} | {(1, 1), (401, 1)}):
        mixture, required = case.inputs(device, length, batch=batch)
        if length < case.min_length:
            with refused("too short mixture", r"must"):
                separator(mixture, **required)
            continue
        estimates = separator(mixture, **required)
        expected = (batch, *case.sources_and_channels(mixture.shape[1]), length)
        assert estimates.shape == expected, "shape must be (B, S, C, T)"
        assert estimates.isfinite().all(), "estimates must be finite"
        assert estimates.device == mixture.device, "estimates must be on the device of the mixture"


@promise
def promise_unbatched(case, device):
    separator = case.build(device, torch.float64)
    inputs = case.inputs(device, batch=1, dtype=torch.float64)
    estimates = run(separator, inputs, lambda tensor: tensor[0])
    assert_near(estimates, run(separator, inputs)[0], 1e-12, "unbatched mixture")


@promise
def promise_channels(case, device):
    separator = case.build(device)
    for channels in (1, 2, 3):
        mixture, required = case.inputs(device, batch=4, channels=channels)
        if case.channels not in {None, channels} or channels < case.min_channels:
            with refused("wrong number of channels", r"channels"):
                separator(mixture, **required)
            continue
        estimates = separator(mixture, **required)
        assert estimates.shape == (4, *case.sources_and_channels(channels), 401), "shape must be (B, S, C, T)"


@promise
def promise_wrong_shapes_are_refused(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    for wrong in (mixture[0, 0], mixture[None], mixture[0, 0, 0]):
        with refused("mixture of the wrong rank", r"\(B, C, T\) or \(C, T\)"):
            separator(wrong, **required)
    for wrong in (mixture[:, :0], mixture[..., :0], mixture[0, :0], mixture[0, :, :0], mixture[:0, :0]):
        with refused("empty mixture", r"at least one item, channel and sample"):
            separator(wrong, **required)


@promise
def promise_samples_before_channels_are_refused(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    swapped = {name: tensor.mT for name, tensor in required.items()}
    with refused("samples before channels", r"must have channels before samples, .* got \(3, 401, \d\)"):
        separator(mixture.mT, **swapped)
    for wrong in (mixture.cpu().numpy(), mixture.tolist()):
        try:
            separator(wrong, **required)
        except TypeError as error:
            if "mixture must be a torch.Tensor, got" not in str(error):
                raise
        else:
            pytest.fail("input that is no tensor must be refused")


@promise
def promise_empty_batches_are_supported(case, device):
    separator = case.build(device)
    inputs = case.inputs(device)
    expected = run(separator, inputs)[:0]
    empty = run(separator, inputs, lambda tensor: tensor[:0])
    assert empty.shape == expected.shape, "estimates of an empty batch must be empty"
    assert empty.dtype == expected.dtype, "estimates of an empty batch must have the dtype of the mixture"


@promise
def promise_wrong_dtypes_are_refused(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    for dtype in (torch.int16, torch.int64, torch.bool, torch.complex64):
        with refused(f"mixture of {dtype}", r"mixture must be floating point"):
            separator(mixture.to(dtype), **required)


@promise
def promise_required_tensors_are_checked(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    with refused("unknown tensor", r"must be given"):
        separator(mixture, **required, unknown=mixture)
    for name, tensor in required.items():
        with refused(f"missing {name}", name):
            separator(mixture, **{other: required[other] for other in required if other != name})
        for wrong in (tensor[:1], tensor[..., 1:], tensor[:, :, :1], tensor[:, 0], tensor[None], tensor[:, :0]):
            with refused(f"{name} of the wrong shape", rf"{name} must have"):
                separator(mixture, **{**required, name: wrong})
        with refused(f"{name} of the wrong dtype", rf"{name} must be floating point"):
            separator(mixture, **{**required, name: tensor.long()})


@promise
def promise_non_finite_mixtures_are_refused(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    for bad in (float("nan"), float("inf")):
        every_sample = torch.full_like(mixture, bad)
        one_sample_per_item = mixture.clone()
        one_sample_per_item[:, 0, 7] = bad
        for wrong in (every_sample, one_sample_per_item):
            with refused("mixture without finite items", r"finite"):
                separator(wrong, **required)


@promise
def promise_vmap_is_a_batch(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    names = list(required)

    def call(mixture, *tensors):
        return separator(mixture, **dict(zip(names, tensors, strict=True)))

    expected = separator(mixture, **required)
    given = mixture, *required.values()
    assert_near(torch.func.vmap(call)(*given), expected, 1e-12, "items mapped by vmap")
    pairs = [torch.stack((tensor, tensor), 2) for tensor in given]
    mapped = torch.func.vmap(call, in_dims=2, out_dims=1)(*pairs)
    assert_near(mapped, torch.stack((expected, expected), 1), 1e-12, "batches mapped by vmap")
    for number, name in enumerate(names):  # one mixture for all
        axes = (None, *(0 if number == other else None for other in range(len(names))))
        single = [tensor if number == other else tensor[0] for other, tensor in enumerate(required.values())]
        whole = {
            other: tensor if other == name else tensor[:1].expand(tensor.shape) for other, tensor in required.items()
        }
        same = separator(mixture[:1].expand(mixture.shape), **whole)
        assert_near(torch.func.vmap(call, in_dims=axes)(mixture[0], *single), same, 1e-12, "tensors mapped by vmap")
    with refused("samples mapped by vmap", r"mixture must"):
        torch.func.vmap(call)(mixture[0, :, 0], *(tensor[0, 0, :, 0] for tensor in required.values()))
