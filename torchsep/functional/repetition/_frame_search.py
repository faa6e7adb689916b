"""The choice of the frames most similar to each, some distance apart: all products of unit frames, and their peaks."""

import math

import torch
from torch import Tensor

from torchsep.functional._chunks import BlockSize
from torchsep.functional._custom_ops import operator

__all__ = ["chosen_frames"]

# Similarities that are held together, of some frames with all frames; of no fewer frames than pay for the products.
_SIMILARITIES = BlockSize(cpu=1 << 24, accelerator=1 << 27)
_FEWEST_ROWS = 192

# Where all similarities are held, frames whose products with the later ones are computed together.
_ROWS_TOGETHER = 192

# The least number of frames of which the most similar is kept, and of what that number is a multiple: lines of cache.
_NARROWEST = 64
_LINE = 16


def _unit_frames(x: Tensor, before: int, after: int) -> Tensor:
    """Frames of length one, ``(B, before + N + after, D)``; those that are silent, not finite or added are zero."""
    frames = x.unsqueeze(1) if x.dim() < 4 else x.flatten(1, -3)
    frames = frames.movedim(-1, 1) if x.dim() > 2 else frames.mT[..., None]
    units = frames.new_zeros(len(x), before + x.shape[-1] + after, *frames.shape[2:])
    inside = units[:, before : before + x.shape[-1]]
    torch.div(frames, frames.amax((-2, -1), keepdim=True), out=inside)  # so that no square is too large or too small
    length = torch.linalg.vector_norm(inside, dim=(-2, -1), keepdim=True)
    inside.div_(length)
    unfit = ~(length > 0)
    if unfit.any():
        inside.masked_fill_(unfit, 0.0)
    return units.flatten(2)


def _num_similar(length: int, distance: int, limit: int) -> int:
    """The most frames that can be chosen for one, or one."""
    return max(1, min(limit, (length - 1) // distance))


@operator(
    lambda x, distance, limit, threshold: x.new_empty(  # noqa: ARG005
        x.shape[0], x.shape[-1], _num_similar(x.shape[-1], distance, limit), dtype=torch.long
    )
)
def chosen_frames(x: Tensor, distance: int, limit: int, threshold: float) -> Tensor:
    """What :func:`similar_frames` returns, as an operator."""
    items, length = len(x), x.shape[-1]
    count = _num_similar(length, distance, limit)
    frames = torch.empty(items, length, count, dtype=torch.long, device=x.device)
    distance = min(distance, length)
    width = min(length, _LINE * math.ceil(max(distance, _NARROWEST) / _LINE))
    blocks = 2 + -(-length // width)
    units = _unit_frames(x, before=width, after=(blocks - 1) * width - length)  # a silent block at either end
    # The frames worked on together do not depend on the other items, nor does therefore how a product is rounded.
    room = _SIMILARITIES.on(x.device) // units.shape[1]
    rows = min(length, max(_FEWEST_ROWS, room))
    together = min(items, max(1, room // rows))
    held = units.new_empty(together, rows, units.shape[1])
    for item in range(0, items, together):
        group = units[item : item + together]
        for first in range(0, length, rows):
            own = slice(width + first, width + min(first + rows, length))
            similarity = held.flatten()[: len(group) * (own.stop - own.start) * units.shape[1]]
            similarity = similarity.view(len(group), -1, units.shape[1])
            if rows == length:
                _fill_with_all(similarity, group[:, own], width, distance)
            else:
                torch.bmm(group[:, own], group.mT, out=similarity)
            near = (similarity.stride(0), similarity.stride(1) + 1, 1)
            size = (len(group), similarity.shape[1], 2 * distance - 1)
            similarity.as_strided(size, near, own.start - distance + 1).fill_(-torch.inf)
            chosen = _choose(similarity.view(-1, blocks, width), distance, count, threshold)
            chosen = chosen.view(len(group), -1, count).sub_(width).clamp_(min=-1)
            alone = torch.arange(first, first + chosen.shape[1], device=x.device)
            chosen[..., 0] = torch.where(chosen[..., 0] < 0, alone, chosen[..., 0])
            frames[item : item + together, first : first + rows] = chosen
    return frames


def _fill_with_all(similarity: Tensor, units: Tensor, width: int, distance: int) -> None:
    """Similarities ``(B, N, width + N + any)`` of all frames with all, each computed once."""
    length = units.shape[1]
    similarity[..., :width] = 0.0
    similarity[..., width + length :] = 0.0
    inside = similarity[..., width : width + length]
    for first in range(0, length, _ROWS_TOGETHER):
        last = min(first + _ROWS_TOGETHER, length)
        # What is nearer than the distance is not looked at.
        start = first + (distance if distance >= last - first else 0)
        product = units[:, start:] @ units[:, first:last].mT
        inside[:, start:, first:last] = product
        inside[:, first:last, start:] = product.mT


def _choose(similarity: Tensor, distance: int, count: int, threshold: float) -> Tensor:
    """Positions ``(rows, count)`` among similarities ``(rows, blocks, width)``, of which little remains.

    No position is chosen in the first and the last block.
    """
    rows, blocks, width = similarity.shape
    chosen = torch.full((rows, count), -1, device=similarity.device)
    best = torch.threshold(similarity.amax(-1), threshold, -torch.inf)
    best[:, 0] = best[:, -1] = -torch.inf
    flat = similarity.view(-1, width)
    row = torch.arange(rows, device=best.device)[:, None]
    start = (width * torch.arange(blocks, device=best.device)).expand(rows, -1)
    if blocks > 2 * (3 * count + 2):
        # A choice changes three blocks, so that what is chosen lies in those that are the best at the beginning.
        kept = best[:, 1:-1].topk(3 * count, sorted=False).indices.sort(-1).values + 1
        kept = torch.cat((torch.zeros_like(row), kept, torch.full_like(row, blocks - 1)), -1)
        flat = flat.index_select(0, (row * blocks + kept).flatten())
        best, start, blocks = best.gather(-1, kept), kept * width, kept.shape[-1]
    beside = torch.arange(-1, 2, device=best.device)
    # What a choice rules out, line by line for all that its place may be in a block: from the block before to the next.
    position = torch.arange(-width, 2 * width, device=best.device)[:, None]
    too_near = (position - position[width : 2 * width, 0]).abs() < distance
    ruled_out = torch.zeros_like(too_near, dtype=flat.dtype).masked_fill_(too_near, -torch.inf)
    values, penalties = flat.new_empty(2, 3 * rows, width)
    for slot in range(count):
        value, block = best.max(-1, keepdim=True)
        exists = value > -torch.inf
        if not exists.any():
            break
        around = block.clamp(1, blocks - 2) + beside
        lines = (row * blocks + around).flatten()
        torch.index_select(flat, 0, lines, out=values)
        near = values.view(rows, 3, width)
        begin = start.gather(-1, around)
        place = begin[:, 1:2] + near[:, 1].argmax(-1, keepdim=True)
        chosen[:, slot] = torch.where(exists, place, -1)[:, 0]
        line = (place - begin).clamp_(-width, 2 * width - 1).add_(width)
        torch.index_select(ruled_out, 0, line.flatten(), out=penalties)
        flat.index_copy_(0, lines, values.add_(penalties))
        best.scatter_(1, around, torch.threshold(near.amax(-1), threshold, -torch.inf))
        best[:, 0] = best[:, -1] = -torch.inf
    return chosen
