"""Rank and box filters against scipy.ndimage, explicit windows, and finite differences."""

import importlib
import itertools

import numpy as np
import pytest
import scipy.ndimage
import torch
from functional.filtering import LAYOUTS, gradient_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import noise

from torchsep.functional import box_filter, maximum_filter, median_filter, minimum_filter, pad, rank_filter
from torchsep.functional._chunks import BlockSize
from torchsep.functional.filters.rank_filter import BOUNDARY_MODES

NUMPY_MODES = {"reflect": "symmetric", "mirror": "reflect", "nearest": "edge", "wrap": "wrap", "constant": "constant"}


def windows(x, size, dim, mode="reflect", cval=0.0):
    """Every window in full, on a last axis, from an axis padded by NumPy."""
    width = [(0, 0)] * x.dim()
    width[dim] = (size // 2, (size - 1) // 2)
    fill = {"constant_values": cval} if mode == "constant" else {}
    padded = torch.from_numpy(np.pad(x.detach().numpy(), width, mode=NUMPY_MODES[mode], **fill))
    return padded.unfold(dim, size, 1)


def ranked(x, size, rank, dim, mode="reflect", cval=0.0):
    return windows(x, size, dim, mode, cval).sort(-1).values[..., rank]


@pytest.mark.parametrize("mode", BOUNDARY_MODES)
def test_pad_equals_numpy(mode):
    for length, (before, after) in itertools.product((1, 2, 3, 7), ((0, 0), (1, 4), (9, 20), (23, 2))):
        x = noise(2, length, 3)
        fill = {"constant_values": -2.5} if mode == "constant" else {}
        expected = np.pad(x.numpy(), [(0, 0), (before, after), (0, 0)], mode=NUMPY_MODES[mode], **fill)
        for dim in (1, -2):
            assert np.array_equal(pad(x, before, after, dim, mode, cval=-2.5).numpy(), expected), (length, before)


@pytest.mark.parametrize("mode", BOUNDARY_MODES)
def test_order_statistics_are_those_of_scipy(mode):
    x = noise(43, 41)
    for size in range(1, 41):
        dim = size // 2 % 2
        shape = (size, 1) if dim == 0 else (1, size)
        common = {"mode": mode, "cval": 0.25}
        expected = scipy.ndimage.rank_filter(x.numpy(), size // 2, size=shape, **common)
        assert np.array_equal(median_filter(x, size, dim, **common).numpy(), expected), size
        expected = scipy.ndimage.maximum_filter1d(x.numpy(), size, axis=dim, **common)
        assert np.array_equal(maximum_filter(x, size, dim, **common).numpy(), expected), size
        expected = scipy.ndimage.minimum_filter1d(x.numpy(), size, axis=dim, **common)
        assert np.array_equal(minimum_filter(x, size, dim, **common).numpy(), expected), size


@pytest.mark.parametrize("mode", BOUNDARY_MODES)
def test_box_is_that_of_scipy(mode):
    x = noise(3, 43, 2)
    for size, dim in itertools.product(range(1, 41), range(3)):
        expected = scipy.ndimage.uniform_filter1d(x.numpy(), size, axis=dim, mode=mode, cval=0.25)
        ours = box_filter(x, size, dim, mode, cval=0.25).numpy()
        assert np.abs(ours - expected).max() < 1e-12, (size, dim)


@pytest.mark.parametrize("mode", BOUNDARY_MODES)
def test_windows_longer_than_the_axis(mode):
    x = noise(2, 3, 5)
    for size, dim in itertools.product((1, 2, 4, 7, 12, 31), range(3)):
        for rank in {0, size // 3, size // 2, size - 1}:
            ours = rank_filter(x, size, rank, dim, mode, cval=0.1)
            assert torch.equal(ours, ranked(x, size, rank, dim, mode, 0.1)), (size, dim, rank)
        mean = windows(x, size, dim, mode, 0.1).mean(-1)
        assert torch.allclose(box_filter(x, size, dim, mode, 0.1), mean, rtol=0, atol=1e-12), (size, dim)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_axis_of_any_layout(layout):
    x = LAYOUTS[layout]()
    for dim in range(-x.dim(), x.dim()):
        if x.shape[dim] == 0:
            continue
        for size in (1, 4, 5):
            if x.numel():
                assert torch.equal(median_filter(x, size, dim), ranked(x, size, size // 2, dim)), (dim, size)
                mean = windows(x, size, dim).mean(-1)
                assert torch.allclose(box_filter(x, size, dim), mean, rtol=0, atol=1e-12), (dim, size)
            assert median_filter(x, size, dim).shape == box_filter(x, size, dim).shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_floating_type(dtype):
    x = noise(3, 4, 37).to(dtype)
    for size in (2, 9, 50):
        assert torch.equal(median_filter(x, size), median_filter(x.double(), size).to(dtype)), size
    mean = box_filter(x, 9)
    assert mean.dtype == dtype
    assert torch.allclose(mean.double(), box_filter(x.double(), 9), rtol=0, atol=6 * torch.finfo(dtype).eps)
    gradient = gradient_of(lambda leaf: median_filter(leaf, 3), x)
    assert gradient.dtype == dtype
    exact = gradient_of(lambda leaf: median_filter(leaf, 3), x.double())
    assert torch.allclose(gradient.double(), exact, rtol=0, atol=30 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("function", [median_filter, maximum_filter, minimum_filter, box_filter])
def test_nan_affects_only_its_windows(function):
    x = noise(3, 2, 40)
    clean = function(x, 7)
    x[1, 0, 20] = torch.nan
    dirty = function(x, 7)
    reached = torch.zeros(3, 2, 40, dtype=torch.bool)
    reached[1, 0, 17:24] = True
    assert torch.equal(dirty.isnan(), reached)
    assert torch.allclose(dirty[~reached], clean[~reached], rtol=0, atol=1e-15)


def test_infinite_values_are_ordered():
    x = torch.tensor([0.0, torch.inf, -torch.inf, 3.0, torch.inf])
    assert median_filter(x, 3, mode="nearest").tolist() == [0.0, 0.0, 3.0, 3.0, torch.inf]


@pytest.mark.parametrize("shape", [(3, 4, 50), (2, 3, 50, 6), (60,)])
def test_blocks_change_nothing(shape, monkeypatch):
    x = noise(*shape)
    whole = [median_filter(x, 9, dim) for dim in range(x.dim())]
    gradients = [gradient_of(lambda leaf, dim=dim: median_filter(leaf, 9, dim), x) for dim in range(x.dim())]
    for block in (1, 120, 777):
        monkeypatch.setattr(
            importlib.import_module("torchsep.functional.filters.rank_filter"), "_BLOCK", BlockSize(block, block)
        )
        for dim in range(x.dim()):
            assert torch.equal(median_filter(x, 9, dim), whole[dim]), (block, dim)
            gradient = gradient_of(lambda leaf, dim=dim: median_filter(leaf, 9, dim), x)
            assert torch.allclose(gradient, gradients[dim], rtol=0, atol=1e-13), (block, dim)


def test_input_is_not_modified():
    x = noise(3, 20)
    copy = x.clone()
    for function in (median_filter, maximum_filter, minimum_filter, box_filter):
        output = function(x, 1)
        output.mul_(2.0)
        assert torch.equal(x, copy), function.__name__


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_operators_keep_the_rules_of_torch(dim):
    x = noise(4, 7, 5)
    arguments = (3, 1, dim, "reflect", 0.0)
    torch.library.opcheck(torch.ops.torchsep.rank_filter.default, (x.clone().requires_grad_(), *arguments))
    torch.library.opcheck(torch.ops.torchsep.rank_filter.default, (noise(4, 5, 7).mT, *arguments))
    chosen = median_filter(x, 3, dim)
    torch.library.opcheck(torch.ops.torchsep.locate_in_window.default, (x, chosen, 3, dim, "reflect", 0.0))
    offset = torch.ops.torchsep.locate_in_window(x, chosen, 3, dim, "reflect", 0.0)
    torch.library.opcheck(torch.ops.torchsep.scatter_from_window.default, (x, offset, 3, dim, "reflect"))


def test_compiled_equals_eager():
    compiled = torch.compile(lambda x: median_filter(x, 5, -2) + box_filter(x, 4), fullgraph=True, backend="aot_eager")
    for x in (noise(2, 9, 8), noise(2, 8, 9).mT):
        eager = gradient_of(lambda leaf: median_filter(leaf, 5, -2) + box_filter(leaf, 4), x)
        assert torch.equal(compiled(x), median_filter(x, 5, -2) + box_filter(x, 4))
        assert torch.allclose(gradient_of(compiled, x), eager, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: median_filter(x, 0), "size must be at least 1, got 0"),
        (lambda x: median_filter(x, 3.0), "size must be an integer, got 3.0"),
        (lambda x: rank_filter(x, 3, 3), "rank must be less than size=3, got 3"),
        (lambda x: rank_filter(x, 3, -1), "rank must be at least 0, got -1"),
        (lambda x: median_filter(x, 3, mode="reflekt"), "mode must be one of .* did you mean reflect"),
        (lambda x: pad(x, 1, 1, mode="symmetric"), "mode must be one of reflect, mirror, nearest, wrap, constant"),
        (lambda x: median_filter(x.int(), 3), r"x must be floating point, got torch\.int32"),
        (lambda x: median_filter(x[:, :0], 3), r"x must have elements along axis -1, got shape \(2, 0\)"),
        (lambda x: median_filter(x[0, 0], 3), r"x must have elements along axis -1, got shape \(\)"),
        (lambda x: box_filter(x, 0), "size must be at least 1, got 0"),
        (lambda x: box_filter(x, 3, mode="none"), "mode must be one of"),
        (lambda x: box_filter(x[:, :0], 3), r"x must have elements along axis -1, got shape \(2, 0\)"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 4))


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=25),
    size=st.integers(1, 40),
    share=st.floats(0, 1),
    mode=st.sampled_from(BOUNDARY_MODES),
    scale=st.sampled_from([0.25, 1.0, 8.0]),
    shift=st.integers(-3, 3),
)
def test_order_statistics_of_any_values(values, size, share, mode, scale, shift):
    x = torch.tensor(values, dtype=torch.float64)
    rank = min(int(share * size), size - 1)
    filtered = rank_filter(x, size, rank, mode=mode)
    assert torch.equal(filtered, ranked(x, size, rank, 0, mode))
    mapped = rank_filter(scale * x + shift, size, rank, mode=mode, cval=float(shift))
    assert torch.equal(mapped, scale * filtered + shift)
    assert torch.equal(-rank_filter(-x, size, size - 1 - rank, mode=mode), filtered)
    constant = torch.full_like(x, values[0])
    assert torch.equal(rank_filter(constant, size, rank, mode=mode, cval=values[0]), constant)


@pytest.mark.gpu
@pytest.mark.parametrize("dim", [-1, -2])
def test_accelerator_needs_a_few_copies_of_its_input(dim):
    x = torch.rand(2, 1025, 1293)
    expected = median_filter(x, 31, dim)
    on_device = x.cuda()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    filtered = median_filter(on_device, 31, dim)
    assert torch.cuda.max_memory_allocated() - before < 10 * x.numel() * x.element_size()
    assert torch.equal(filtered.cpu(), expected)
