"""Rank and box filters under test."""

import torch
from scenes import noise

LAYOUTS = {
    "contiguous": lambda: noise(3, 4, 5, 7),
    "frames first": lambda: noise(3, 4, 7, 5).mT,
    "frames first, one frame": lambda: noise(3, 4, 1, 5).mT,
    "frames first, one channel": lambda: noise(3, 1, 7, 5).mT,
    "one bin": lambda: noise(3, 4, 1, 7),
    "permuted": lambda: noise(5, 3, 7, 4).permute(1, 3, 0, 2),
    "channels last": lambda: noise(3, 4, 5, 7).contiguous(memory_format=torch.channels_last),
    "every other": lambda: noise(3, 8, 5, 14)[:, ::2, :, 1::2],
    "expanded": lambda: noise(3, 1, 5, 7).expand(3, 4, 5, 7),
    "two axes": lambda: noise(6, 11),
    "two axes, frames first": lambda: noise(6, 11).mT,
    "one axis": lambda: noise(13),
    "one axis, every third": lambda: noise(39)[::3],
    "six axes": lambda: noise(2, 3, 2, 4, 3, 5),
    "no item": lambda: noise(0, 4, 5),
}


def gradient_of(function, x, seed=1):
    """The gradient of a weighted sum of the outputs."""
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    output = function(leaf)
    weight = noise(*output.shape, seed=seed).to(output.dtype)
    (output * weight).sum().backward()
    return leaf.grad
