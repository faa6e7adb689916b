"""Gradients of rank and box filters."""

import pytest
import torch
from functional.filtering import LAYOUTS, gradient_of
from scenes import noise

from torchsep.functional import box_filter, maximum_filter, median_filter, minimum_filter, pad, rank_filter
from torchsep.functional.filters.rank_filter import BOUNDARY_MODES


def test_pad_passes_the_gradient_to_where_each_element_came_from():
    for mode in BOUNDARY_MODES:
        assert torch.autograd.gradcheck(
            lambda x, mode=mode: pad(x, 5, 9, dim=0, mode=mode, cval=1.0), noise(3, 2).requires_grad_()
        )


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "no item"])
def test_gradient_in_any_axis_of_any_layout(layout):
    x = LAYOUTS[layout]()
    for dim in range(x.dim()):
        if x.stride(dim) == 0:  # nothing but equal values, of which the other method chooses others
            continue
        ours = gradient_of(lambda leaf, dim=dim: median_filter(leaf, 5, dim), x)

        def plain(leaf, dim=dim):
            return pad(leaf, 2, 2, dim).unfold(dim, 5, 1).median(-1).values

        assert torch.allclose(ours, gradient_of(plain, x), rtol=0, atol=1e-12), dim


def test_gradient_may_come_in_any_layout():
    x = noise(3, 5, 7).requires_grad_()
    for shape in ((), (3, 1, 7), (5, 7)):
        upstream = noise(*shape).expand(3, 5, 7)
        (ours,) = torch.autograd.grad(median_filter(x, 3), x, upstream)
        (dense,) = torch.autograd.grad(median_filter(x, 3), x, upstream.contiguous())
        assert torch.equal(ours, dense), shape


@pytest.mark.parametrize("mode", BOUNDARY_MODES)
@pytest.mark.parametrize("function", [median_filter, maximum_filter, minimum_filter, box_filter])
def test_gradient_is_that_of_finite_differences(function, mode):
    for size, dim in ((1, 0), (2, 1), (3, 2), (6, 2), (11, 1)):
        x = noise(2, 4, 5).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, size=size, dim=dim: function(x, size, dim, mode, 0.1), x)


@pytest.mark.parametrize("mode", BOUNDARY_MODES[:-1])
@pytest.mark.parametrize("size", [4, 31, 300, 400])
def test_gradient_is_handed_on_whole(size, mode):
    """What comes in goes out: no gradient is lost or made, also with offsets that need two bytes."""
    x = noise(3, 130).requires_grad_()
    upstream = noise(3, 130, seed=1)
    (gradient,) = torch.autograd.grad(rank_filter(x, size, size // 3, mode=mode), x, upstream)
    assert torch.allclose(gradient.sum(-1), upstream.sum(-1), rtol=0, atol=1e-11)


def test_gradient_of_a_constant_boundary_goes_nowhere():
    x = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    maximum_filter(x, 3, mode="constant", cval=7.0).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_gradient_of_equal_values_goes_to_the_first():
    x = torch.zeros(2, 6, dtype=torch.float64, requires_grad=True)
    median_filter(x, 3, mode="nearest").sum().backward()
    assert x.grad.tolist() == [[2.0, 1.0, 1.0, 1.0, 1.0, 0.0]] * 2
    x = torch.tensor([0.0, 1.0, 1.0, 1.0], requires_grad=True)
    maximum_filter(x, 4, mode="nearest")[2].backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("size", [255, 256, 257, 300])
def test_gradient_of_long_windows(size):
    x = noise(2, 350)
    ours = gradient_of(lambda leaf: rank_filter(leaf, size, 7), x)
    plain = gradient_of(
        lambda leaf: pad(leaf, size // 2, (size - 1) // 2).unfold(1, size, 1).sort(-1).values[..., 7], x
    )
    assert torch.allclose(ours, plain, rtol=0, atol=1e-12)


def test_gradient_next_to_not_a_number_is_clean():
    x = noise(2, 40)
    x[0, 20] = torch.nan
    gradient = gradient_of(lambda leaf: median_filter(leaf, 7), x)
    clean = x.clone()
    clean[0, 20] = 0.0
    expected = gradient_of(lambda leaf: median_filter(leaf, 7), clean)
    assert torch.equal(gradient[1], expected[1])
    assert torch.allclose(gradient[0, 30:], expected[0, 30:], rtol=0, atol=1e-15)


@pytest.mark.parametrize(("size", "bytes_an_output"), [(31, 1), (256, 1), (257, 2)])
def test_memory_kept_for_backward(size, bytes_an_output):
    kept = []

    def keep(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    x = noise(3, 5, 300).float().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        median_filter(x, size)
    assert sum(kept) == bytes_an_output * x.numel()
