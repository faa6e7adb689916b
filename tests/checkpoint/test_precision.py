"""Weights stored in half or double precision."""

import pytest
import torch
from checkpoint.examples import Scales, assert_refused, checksum, trained
from scenes import noise

from torchsep.checkpoint import load, read_header, save


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_in_single(dtype, tmp_path):
    separator = Scales((64, 32), 0.3, sample_rate=8000, trainable=("gain",))
    with torch.no_grad():
        separator.weight += noise(64, 32).float()
        separator.steps += 7
    single, half = save(separator, tmp_path / "single"), save(separator, tmp_path / "half", dtype=dtype)
    assert half.stat().st_size < 0.6 * single.stat().st_size
    restored = load(half)
    assert restored.weight.dtype == torch.float32
    assert torch.equal(restored.weight, separator.weight.to(dtype).float())
    assert not torch.equal(restored.weight, separator.weight)
    assert restored.gain.item() == separator.gain.item()
    assert restored.steps == 7
    assert restored.config == separator.config
    assert read_header(half)["sha256"] == checksum(
        {**separator.state_dict(), "weight": separator.weight.detach().to(dtype)}
    )


def test_weights_beyond_the_range_of_half_precision_are_refused(tmp_path):
    separator = trained()
    with torch.no_grad():
        separator.weight[1, 1] = 65520.0
    with pytest.raises(ValueError, match=r"^dtype must hold all weights, got torch.float16 for 6.552e\+04 in weight$"):
        save(separator, tmp_path / "one", dtype=torch.float16)
    assert load(save(separator, tmp_path / "one", dtype=torch.bfloat16)).weight[1, 1] == 65536
    with torch.no_grad():
        separator.weight[1, 1] = 65519.0
    assert load(save(separator, tmp_path / "one", dtype=torch.float16)).weight[1, 1] == 65504
    for dtype in (torch.float32, torch.int8, "float16"):
        with pytest.raises(ValueError, match=r"dtype must be one of torch\.float16, torch\.bfloat16 or None, got"):
            save(separator, tmp_path / "one", dtype=dtype)


def test_double_precision_is_loaded_in_single(tmp_path):
    separator = trained().double()
    restored = load(save(separator, tmp_path / "one"))
    assert restored.weight.dtype == torch.float32
    assert torch.equal(restored.weight, separator.weight.float())
    with torch.no_grad():
        separator.weight[0, 0] = 1e300
    assert_refused(save(separator, tmp_path / "one"), "holds NaN or infinite values in weight")
