"""The gradient of multiplicative updates, and its memory."""

import weakref
from collections import Counter

import pytest
import torch
from scenes import noise
from torch.utils._python_dispatch import TorchDispatchMode

from torchsep.functional._chunks import BlockSize
from torchsep.functional.nmf import _updates as nmf_updates
from torchsep.functional.nmf._backward import Gradients, backpropagate
from torchsep.functional.nmf.nmf import fit_nmf, nmf_activations

BETAS = [2.0, 1.0, 0.0, 0.5, 1.5, 2.5, -0.5]


def positive(*shape, seed=0):
    return noise(*shape, seed=seed).square() + 0.02


@pytest.mark.parametrize("block", [None, 30])
@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("beta", BETAS)
def test_the_gradient_is_exact(beta, alpha, block, monkeypatch):
    if block:  # several groups of items and several blocks of frames
        monkeypatch.setattr(nmf_updates, "_BLOCK", BlockSize(block, block))
        monkeypatch.setattr(nmf_updates, "_ALIGNMENT", 1)
    matrix, templates = positive(2, 5, 13).requires_grad_(), positive(2, 5, 3, seed=1).requires_grad_()
    how = {"beta_loss": beta, "alpha": alpha, "l1_ratio": 0.3, "tol": 0.0}
    assert torch.autograd.gradcheck(
        lambda matrix: fit_nmf(matrix, 3, max_iter=6, **how)[:2], matrix, fast_mode=True, atol=1e-4
    )
    assert torch.autograd.gradcheck(
        lambda *both: nmf_activations(*both, max_iter=5, **how), (matrix, templates), fast_mode=True, atol=1e-4
    )


def test_the_gradient_is_exact_where_items_stop_at_different_times():
    matrix = torch.stack((positive(6, 9), positive(6, 9, seed=4)))
    assert len(set(fit_nmf(matrix, 3, tol=1e-2).n_iter.tolist())) == 2
    assert torch.autograd.gradcheck(
        lambda matrix: fit_nmf(matrix, 3, tol=1e-2).templates, matrix.requires_grad_(), fast_mode=True, atol=1e-4
    )


class PeakMemory(TorchDispatchMode):
    """Tracks the memory of the results of operations, and its peak."""

    def __init__(self):
        super().__init__()
        self.references, self.now, self.peak = Counter(), 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.hold(tensor)
        return result

    def hold(self, tensor):
        place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        self.now += size if not self.references[place] else 0
        self.references[place] += 1
        self.peak = max(self.peak, self.now)
        weakref.finalize(tensor, self.release, place, size)

    def release(self, place, size):
        self.references[place] -= 1
        self.now -= size if not self.references[place] else 0


@pytest.mark.parametrize("learn", [True, False])
def test_memory_of_backward_grows_little_with_the_number_of_updates(learn):
    data, activations, templates = positive(1, 100, 60), positive(1, 4, 100), positive(1, 4, 60)
    peaks = []
    for number in (20, 200):
        ((_, updates),) = nmf_updates.grouped(data, data.new_zeros(1, 0), 1.0, learn=learn)
        gradients = Gradients(
            torch.zeros_like(data), data.new_zeros(1, 0), torch.ones_like(activations), torch.ones_like(templates)
        )
        with PeakMemory() as memory:
            backpropagate(updates, (activations, templates), torch.tensor([number]), gradients)
        peaks.append(memory.peak)
    assert peaks[0] > data.nbytes
    assert peaks[1] < 1.5 * peaks[0]


def test_only_the_inputs_are_saved():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda x: x):
        sizes = []
        for max_iter in (1, 50):
            fit_nmf(positive(20, 30).requires_grad_(), 4, max_iter=max_iter, tol=0.0)
            sizes.append(sum(kept))
            kept.clear()
    assert sizes[0] == sizes[1]
    assert not fit_nmf(positive(20, 30), 4).templates.requires_grad
