"""Periodicity on loops, and against direct sums."""

import numpy as np
import pytest
import torch
from scenes import noise

from torchsep.functional import _comparator_network, autocorrelation, periodic_median
from torchsep.functional.repetition import periodicity


def by_loop(x, period):
    """The median over all repetitions of each frame, one frame at a time."""
    output = np.empty_like(x.numpy())
    for item, lag in enumerate(period.tolist()):
        for frame in range(x.shape[-1]):
            output[item, ..., frame] = np.median(x[item, ..., frame % lag :: lag].numpy(), axis=-1)
    return torch.from_numpy(output)


@pytest.mark.parametrize("shape", [(4, 31), (4, 3, 31), (4, 2, 3, 31), (4, 1)])
@pytest.mark.parametrize("period", [(1, 5, 30, 31), (7, 7, 7, 7), (2, 40, 16, 15), (1, 1, 1, 1), (90, 80, 70, 60)])
def test_periodic_median_is_the_median_of_all_repetitions(period, shape):
    x, lags = noise(*shape), torch.tensor(period)
    assert torch.allclose(periodic_median(x, lags), by_loop(x, lags), rtol=0, atol=1e-15)


@pytest.mark.parametrize("frames", [6, 7, 190, 191, 192, 193, 194, 400, 401])
def test_any_number_of_repetitions(frames):
    """Both ways to select, by network and by sort, on either side of where they meet."""
    x, lags = noise(3, 2, frames), torch.tensor([1, 2, 3])
    assert torch.allclose(periodic_median(x, lags), by_loop(x, lags), rtol=0, atol=1e-15)


@pytest.mark.parametrize("sick", [None, torch.nan, torch.inf])
def test_network_and_sort_agree(sick, monkeypatch):
    x, lags = noise(3, 2, 40), torch.tensor([2, 3, 5])
    if sick is not None:
        x[0, 1, 7] = sick
    network = periodic_median(x, lags)
    monkeypatch.setattr(_comparator_network, "_LARGEST_NETWORK", 0)
    assert torch.equal(periodic_median(x, lags).nan_to_num(nan=1e9), network.nan_to_num(nan=1e9))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_floating_types(dtype):
    x, lags = noise(2, 3, 21).to(dtype), torch.tensor([4, 7])
    output = periodic_median(x, lags)
    assert output.dtype == dtype
    assert torch.allclose(output.double(), by_loop(x.double(), lags), rtol=torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("layout", [lambda x: x.mT.contiguous().mT, lambda x: x.repeat(1, 1, 2)[..., ::2]])
def test_any_layout(layout):
    x, lags = noise(3, 4, 22), torch.tensor([4, 7, 2])
    strided = layout(x)
    assert torch.allclose(periodic_median(strided, lags), by_loop(strided, lags), rtol=0, atol=1e-15)


def test_what_repeats_is_left_as_it_is():
    segment = noise(2, 3, 6)
    x = segment.repeat(1, 1, 5)[..., :27]
    assert torch.equal(periodic_median(x, torch.tensor([6, 6])), x)


def test_what_happens_once_is_gone():
    segment = noise(2, 3, 6)
    x = segment.repeat(1, 1, 5)
    disturbed = x.clone()
    disturbed[..., 11] += 9.0
    disturbed[..., 17] -= 9.0
    assert torch.equal(periodic_median(disturbed, torch.tensor([6, 6])), x)


def test_infinite_repetitions():
    x = torch.tensor([[torch.inf, 1.0, torch.inf, 2.0]])
    assert periodic_median(x, torch.tensor([2])).tolist() == [[torch.inf, 1.5, torch.inf, 1.5]]


@pytest.mark.parametrize("frames", [20, 400])
def test_nan_affects_only_its_phase(frames):
    x, lags = noise(2, 3, frames), torch.tensor([1, 2])
    clean = periodic_median(x, lags)
    x[1, 2, 7] = torch.nan
    dirty = periodic_median(x, lags)
    reached = torch.zeros(x.shape, dtype=torch.bool)
    reached[1, 2, 1::2] = True
    assert torch.equal(dirty.isnan(), reached)
    assert torch.equal(dirty[~reached], clean[~reached])


@pytest.mark.parametrize("period", [(1, 4, 5), (11, 3, 30), (2, 2, 2)])
def test_gradient_is_that_of_finite_differences(period):
    lags = torch.tensor(period)
    for shape in ((3, 11), (3, 2, 11), (3, 2, 2, 11)):
        x = noise(*shape).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: periodic_median(x, lags), x)


def test_gradient_by_sort_is_that_by_network(monkeypatch):
    x, lags, upstream = noise(3, 2, 40).requires_grad_(), torch.tensor([2, 3, 5]), noise(3, 2, 40, seed=1)
    (network,) = torch.autograd.grad(periodic_median(x, lags), x, upstream)
    monkeypatch.setattr(_comparator_network, "_LARGEST_NETWORK", 0)
    (by_sort,) = torch.autograd.grad(periodic_median(x, lags), x, upstream)
    assert torch.equal(network, by_sort)
    assert torch.allclose(network.sum(-1), upstream.sum(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 50), (2, 7, 50), (2, 3, 4, 50)])
def test_blocks_change_nothing(shape, monkeypatch):
    x, lags, upstream = noise(*shape).requires_grad_(), torch.tensor([3, 8]), noise(*shape, seed=1)
    whole = periodic_median(x, lags)
    (gradient,) = torch.autograd.grad(whole, x, upstream)
    for block in (1, 300):
        monkeypatch.setattr(periodicity, "_BLOCK", block)
        parts = periodic_median(x, lags)
        assert torch.equal(parts, whole)
        assert torch.equal(torch.autograd.grad(parts, x, upstream)[0], gradient)


def test_memory_kept_for_backward():
    kept = []

    def keep(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    x = noise(2, 3, 5, 60).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        periodic_median(x, torch.tensor([4, 9]))
    assert sum(kept) == 2 * 4 * x.numel() + 2 * 8  # two indices an output, and the periods


def test_operators_keep_the_rules_of_torch():
    period = torch.tensor([2, 3])
    for shape in ((2, 9), (2, 4, 9), (2, 3, 4, 9)):
        x = noise(*shape)
        torch.library.opcheck(torch.ops.torchsep.periodic_middles.default, (x.clone().requires_grad_(), period))
        lower, _ = torch.ops.torchsep.periodic_middles(x, period)
        torch.library.opcheck(torch.ops.torchsep.locate_repetition.default, (x, period, lower))
        repetition = torch.ops.torchsep.locate_repetition(x, period, lower)
        torch.library.opcheck(torch.ops.torchsep.scatter_to_repetition.default, (x, period, repetition))


def test_compiled_equals_eager():
    x, lags, upstream = noise(2, 3, 4, 25).requires_grad_(), torch.tensor([4, 9]), noise(2, 3, 4, 25, seed=1)
    compiled = torch.compile(periodic_median, fullgraph=True, backend="aot_eager")(x, lags)
    eager = periodic_median(x, lags)
    assert torch.equal(compiled, eager)
    assert torch.equal(torch.autograd.grad(compiled, x, upstream)[0], torch.autograd.grad(eager, x, upstream)[0])


@pytest.mark.parametrize(
    ("period", "message"),
    [
        (torch.tensor([2, 3, 4]), r"period must be integers of shape \(2,\), got torch\.int64 \(3,\)"),
        (torch.tensor(2), r"period must be integers of shape \(2,\), got torch\.int64 \(\)"),
        (torch.tensor([2.0, 3.0]), r"period must be integers of shape \(2,\), got torch\.float32 \(2,\)"),
    ],
)
def test_errors_name_the_argument(period, message):
    with pytest.raises(ValueError, match=message):
        periodic_median(torch.zeros(2, 9), period)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 33])
def test_autocorrelation_is_its_direct_sum(length):
    x = noise(3, 2, length)
    direct = [(x[..., : length - lag] * x[..., lag:]).sum(-1) / (length - lag) for lag in range(length)]
    assert torch.allclose(autocorrelation(x), torch.stack(direct, -1), rtol=0, atol=1e-13)


def test_autocorrelation_averages_over_axes():
    x = noise(3, 2, 5, 33)
    assert torch.allclose(autocorrelation(x, dims=(1, 2)), autocorrelation(x).mean((1, 2)), rtol=0, atol=1e-13)
    assert torch.allclose(autocorrelation(x, dims=(0,)), autocorrelation(x).mean(0), rtol=0, atol=1e-13)


def test_autocorrelation_of_silence_and_of_a_constant():
    assert torch.equal(autocorrelation(torch.zeros(2, 9)), torch.zeros(2, 9))
    ones = torch.ones(2, 9, dtype=torch.float64)
    assert torch.allclose(autocorrelation(ones), ones, rtol=0, atol=1e-14)


def test_gradient_of_autocorrelation_is_that_of_finite_differences():
    x = noise(2, 3, 7).requires_grad_()
    assert torch.autograd.gradcheck(autocorrelation, x)
    assert torch.autograd.gradcheck(lambda x: autocorrelation(x, dims=(1,)), x)
