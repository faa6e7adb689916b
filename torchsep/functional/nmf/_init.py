"""NMF initialisation."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.hashing import hashed_uniform

__all__ = ["STARTS", "random_start", "singular_start"]

Factors = tuple[Float[Tensor, "B N K"], Float[Tensor, "B K F"]]

# Orthogonal iterations for the leading singular vectors.
_ITERATIONS = 20


def random_start(values: Float[Tensor, "B N F"], n_components: int, seed: int) -> Factors:
    """Absolute values of normal random numbers, scaled so that the mean of their product is about one."""
    items, frames, bins = values.shape
    uniform = hashed_uniform((bins + frames, n_components), seed, values.device)
    start = (torch.erfinv(uniform) * (2 / n_components) ** 0.5).to(values.dtype)
    return start[bins:].expand(items, -1, -1), start[:bins].mT.expand(items, -1, -1)


@torch.no_grad()
def singular_start(values: Float[Tensor, "B N F"], n_components: int, seed: int) -> Factors:
    """NNDSVD: the positive or negative parts, whichever have the larger norm, of the leading singular vectors.

    Zeros are replaced by the mean of a random initialisation. The vectors are computed by orthogonal iteration.
    """
    items, frames, bins = values.shape
    rank = min(n_components, frames, bins)
    right = (hashed_uniform((bins, rank), seed, values.device) - 0.5).to(values.dtype).expand(items, -1, -1)
    for _ in range(_ITERATIONS):
        right = torch.linalg.qr(values.mT @ (values @ right)).Q
    signs = torch.tensor([1.0, -1.0], dtype=values.dtype, device=values.device)[:, None, None, None]
    pairs = [(signs * factor).clamp(min=0) for factor in (values @ right, right)]
    lengths = [torch.linalg.vector_norm(pair, dim=-2, keepdim=True) for pair in pairs]
    larger = (lengths[0] * lengths[1]).argmax(0, keepdim=True)
    factors = [pair.gather(0, larger.expand(1, *pair.shape[1:]))[0] for pair in pairs]
    left_length, right_length = (length.gather(0, larger)[0] for length in lengths)
    balance = torch.where(left_length * right_length > 0, (right_length / left_length).sqrt(), 0.0)
    level = n_components**-0.5
    scaled = factors[0] * balance, factors[1] / balance.masked_fill(balance == 0, 1.0)
    filled = [torch.where(factor > 0, factor, level) for factor in scaled]
    missing = (0, n_components - rank)
    activations, templates = (torch.nn.functional.pad(factor, missing, value=level) for factor in filled)
    return activations, templates.mT


STARTS = {"random": random_start, "nndsvd": singular_start}
