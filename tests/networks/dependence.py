"""Measurement of the receptive field."""

import torch

from torchsep.networks import EmbeddingNetwork, MaskNetwork


def dependence(network, mixture, positions):
    """Whether frames or samples of the result at some positions have a gradient into each of the mixture (columns)."""
    mixture = mixture.requires_grad_()
    result = network(mixture)
    if isinstance(network, EmbeddingNetwork) and not isinstance(network, MaskNetwork):
        result = result.transpose(-2, -1)
    result = result.flatten(0, -2)
    weights = torch.linspace(1, 2, len(result), dtype=result.dtype)
    rows = []
    for position in positions:
        (gradient,) = torch.autograd.grad(weights @ result[:, position], mixture, retain_graph=True)
        rows.append(gradient.flatten(0, -2).ne(0).any(0))
    return torch.stack(rows)
