"""Promises about inputs and outputs."""

import pytest
import torch
from contract.promises.checking import assert_near, promise, run


@promise
def promise_shapes(case, device):
    separator = case.build(device)
    for length in sorted({1, 15, 16, 63, 64, 401, case.shortest, max(1, case.shortest - 1)}):
        for batch in (1, 3):
            mixture, required = case.inputs(device, length, batch=batch)
            if length < case.shortest:
                with pytest.raises(ValueError, match=r"must"):
                    separator(mixture, **required)
                continue
            estimates = separator(mixture, **required)
            assert estimates.shape == (batch, *case.sources_and_channels(mixture.shape[1]), length)
            assert estimates.isfinite().all()
            assert estimates.device == mixture.device


@promise
def promise_unbatched(case, device):
    separator = case.build(device, torch.float64)
    inputs = case.inputs(device, batch=1, dtype=torch.float64)
    assert_near(run(separator, inputs, lambda tensor: tensor[0]), run(separator, inputs)[0], 1e-12)


@promise
def promise_channels(case, device):
    separator = case.build(device)
    for channels in (1, 2, 3):
        mixture, required = case.inputs(device, batch=4, channels=channels)
        if case.channels not in {None, channels} or channels < case.least_channels:
            with pytest.raises(ValueError, match=r"channels"):
                separator(mixture, **required)
            continue
        estimates = separator(mixture, **required)
        assert estimates.shape == (4, *case.sources_and_channels(channels), 401)


@promise
def promise_wrong_shapes_are_refused(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    for wrong in (mixture[0, 0], mixture[None], mixture[0, 0, 0]):
        with pytest.raises(ValueError, match=r"\(B, C, T\) or \(C, T\)"):
            separator(wrong, **required)
    for wrong in (mixture[:0], mixture[:, :0], mixture[..., :0]):
        with pytest.raises(ValueError, match=r"at least one item, channel and sample"):
            separator(wrong, **required)


@promise
def promise_wrong_dtypes_are_refused(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    for dtype in (torch.int16, torch.int64, torch.bool, torch.complex64):
        with pytest.raises(ValueError, match=r"mixture must be floating point"):
            separator(mixture.to(dtype), **required)


@promise
def promise_required_tensors_are_checked(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    with pytest.raises(ValueError, match=r"must be given"):
        separator(mixture, **required, unheard_of=mixture)
    for name, tensor in required.items():
        with pytest.raises(ValueError, match=name):
            separator(mixture, **{other: required[other] for other in required if other != name})
        for wrong in (tensor[:1], tensor[..., 1:], tensor[:, :, :1], tensor[:, 0], tensor[None], tensor[:, :0]):
            with pytest.raises(ValueError, match=rf"{name} must have"):
                separator(mixture, **{**required, name: wrong})
        with pytest.raises(ValueError, match=rf"{name} must be floating point"):
            separator(mixture, **{**required, name: tensor.long()})


@promise
def promise_wholly_bad_mixtures_are_refused(case, device):
    separator = case.build(device)
    mixture, required = case.inputs(device)
    for bad in (float("nan"), float("inf")):
        wholly = torch.full_like(mixture, bad)
        partly = mixture.clone()
        partly[:, 0, 7] = bad
        for wrong in (wholly, partly):
            with pytest.raises(ValueError, match=r"finite"):
                separator(wrong, **required)
