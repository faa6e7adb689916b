"""Tensors that do not fit the separator are refused."""

import pytest
import torch
from checkpoint.examples import assert_refused, with_tensors, write_checkpoint


@pytest.mark.parametrize(
    ("tensors", "wrong"),
    [
        (with_tensors(weight=torch.zeros(2, 3)), "weight"),
        (with_tensors(weight=torch.zeros(6)), "weight"),
        (with_tensors(weight=None), "weight"),
        (with_tensors(weight=None, steps=None), "steps, weight"),
        (with_tensors(extra=torch.zeros(1)), "extra"),
        (with_tensors(free_gain=torch.zeros(1)), "free_gain"),
        ({}, "free_gain, steps, weight"),
    ],
)
def test_missing_unknown_or_misshapen_tensors_are_refused(tensors, wrong, tmp_path):
    assert_refused(
        write_checkpoint(tmp_path / "one", tensors), f"does not fit scales: {wrong} missing, unknown or misshapen$"
    )


def test_message_lists_at_most_five_tensors(tmp_path):
    tensors = with_tensors(**{f"{'n' * 500}{number}": torch.zeros(1) for number in range(100)})
    assert_refused(
        write_checkpoint(tmp_path / "one", tensors), "does not fit scales: n+, n+, n+, n+, n+ and 95 more missing"
    )


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (with_tensors(steps=torch.tensor(7.0)), "holds torch.float32 in steps, which is of torch.int64"),
        (with_tensors(weight=torch.zeros(3, 2, dtype=torch.int64)), "holds torch.int64 in weight, which is of torch.f"),
    ],
)
def test_tensors_of_another_dtype_are_refused(tensors, message, tmp_path):
    assert_refused(write_checkpoint(tmp_path / "one", tensors), message)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_weights_are_refused(value, tmp_path):
    weight = torch.zeros(3, 2)
    weight[1, 1] = value
    assert_refused(
        write_checkpoint(tmp_path / "one", with_tensors(weight=weight)), "holds NaN or infinite values in weight"
    )
