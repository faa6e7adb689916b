"""Greedy search for the frames most similar to each frame, from inner products of normalised frames."""

import math

import torch
from torch import Tensor

from torchsep.functional._chunks import BlockSize
from torchsep.functional._custom_ops import operator

__all__ = ["chosen_frames"]

# Elements of a block of rows of the similarity matrix, and its minimum number of rows, for efficient products.
_SIMILARITIES = BlockSize(cpu=1 << 24, accelerator=1 << 27)
_FEWEST_ROWS = 192

# Rows of each product where the whole similarity matrix is stored.
_ROWS_TOGETHER = 192

# Minimum width of the blocks whose maxima are stored, and its alignment to cache lines.
_MIN_WIDTH = 64
_ALIGNMENT = 16


def _unit_frames(x: Tensor, before: int, after: int) -> Tensor:
    """Zero-padded unit-length frames, ``(B, before + N + after, D)``; silent or non-finite ones are zero."""
    frames = x.unsqueeze(1) if x.dim() < 4 else x.flatten(1, -3)
    frames = frames.movedim(-1, 1) if x.dim() > 2 else frames.mT[..., None]
    units = frames.new_zeros(len(x), before + x.shape[-1] + after, *frames.shape[2:])
    inside = units[:, before : before + x.shape[-1]]
    torch.div(frames, frames.amax((-2, -1), keepdim=True), out=inside)  # no square overflows or underflows
    length = torch.linalg.vector_norm(inside, dim=(-2, -1), keepdim=True)
    inside.div_(length)
    invalid = ~(length > 0)
    if invalid.any():
        inside.masked_fill_(invalid, 0.0)
    return units.flatten(2)


def _num_similar(length: int, distance: int, limit: int) -> int:
    """The maximum number of frames that can be selected for a frame, at least one."""
    return max(1, min(limit, (length - 1) // distance))


@operator(
    lambda x, distance, limit, threshold: x.new_empty(  # noqa: ARG005
        x.shape[0], x.shape[-1], _num_similar(x.shape[-1], distance, limit), dtype=torch.long
    )
)
def chosen_frames(x: Tensor, distance: int, limit: int, threshold: float) -> Tensor:
    """Custom operator of :func:`torchsep.functional.similar_frames`."""
    items, length = len(x), x.shape[-1]
    count = _num_similar(length, distance, limit)
    frames = torch.empty(items, length, count, dtype=torch.long, device=x.device)
    distance = min(distance, length)
    width = min(length, _ALIGNMENT * math.ceil(max(distance, _MIN_WIDTH) / _ALIGNMENT))
    blocks = 2 + -(-length // width)
    units = _unit_frames(x, before=width, after=(blocks - 1) * width - length)  # a silent block at both ends
    # The number of rows, and thus rounding, does not depend on the number of items.
    limit = _SIMILARITIES.on(x.device) // units.shape[1]
    rows = min(length, max(_FEWEST_ROWS, limit))
    group_size = min(items, max(1, limit // rows))
    workspace = units.new_empty(group_size, rows, units.shape[1])
    for item in range(0, items, group_size):
        group = units[item : item + group_size]
        for first in range(0, length, rows):
            own = slice(width + first, width + min(first + rows, length))
            similarity = workspace.flatten()[: len(group) * (own.stop - own.start) * units.shape[1]]
            similarity = similarity.view(len(group), -1, units.shape[1])
            if rows == length:
                _fill_with_all(similarity, group[:, own], width, distance)
            else:
                torch.bmm(group[:, own], group.mT, out=similarity)
            diagonal = (similarity.stride(0), similarity.stride(1) + 1, 1)
            size = (len(group), similarity.shape[1], 2 * distance - 1)
            similarity.as_strided(size, diagonal, own.start - distance + 1).fill_(-torch.inf)
            chosen = _select(similarity.view(-1, blocks, width), distance, count, threshold)
            chosen = chosen.view(len(group), -1, count).sub_(width).clamp_(min=-1)
            itself = torch.arange(first, first + chosen.shape[1], device=x.device)
            chosen[..., 0] = torch.where(chosen[..., 0] < 0, itself, chosen[..., 0])
            frames[item : item + group_size, first : first + rows] = chosen
    return frames


def _fill_with_all(similarity: Tensor, units: Tensor, width: int, distance: int) -> None:
    """Fill in the similarity matrix ``(B, N, width + N + padding)``, computing only one triangle."""
    length = units.shape[1]
    similarity[..., :width] = 0.0
    similarity[..., width + length :] = 0.0
    inside = similarity[..., width : width + length]
    for first in range(0, length, _ROWS_TOGETHER):
        last = min(first + _ROWS_TOGETHER, length)
        # Frames closer than the distance are not needed.
        start = first + (distance if distance >= last - first else 0)
        product = units[:, start:] @ units[:, first:last].mT
        inside[:, start:, first:last] = product
        inside[:, first:last, start:] = product.mT


def _select(similarity: Tensor, distance: int, count: int, threshold: float) -> Tensor:
    """Indices ``(rows, count)`` into similarities ``(rows, blocks, width)``, which are overwritten.

    The first and the last block are padding.
    """
    rows, blocks, width = similarity.shape
    chosen = torch.full((rows, count), -1, device=similarity.device)
    best = torch.threshold(similarity.amax(-1), threshold, -torch.inf)
    best[:, 0] = best[:, -1] = -torch.inf
    flat = similarity.view(-1, width)
    row = torch.arange(rows, device=best.device)[:, None]
    start = (width * torch.arange(blocks, device=best.device)).expand(rows, -1)
    if blocks > 2 * (3 * count + 2):
        # Each selection changes three blocks, so all selections lie in the 3 * count blocks with the largest maxima.
        kept = best[:, 1:-1].topk(3 * count, sorted=False).indices.sort(-1).values + 1
        kept = torch.cat((torch.zeros_like(row), kept, torch.full_like(row, blocks - 1)), -1)
        flat = flat.index_select(0, (row * blocks + kept).flatten())
        best, start, blocks = best.gather(-1, kept), kept * width, kept.shape[-1]
    neighbours = torch.arange(-1, 2, device=best.device)
    # Penalties of a block, for every position of the selected frame from the previous to the next block.
    position = torch.arange(-width, 2 * width, device=best.device)[:, None]
    excluded = (position - position[width : 2 * width, 0]).abs() < distance
    penalty = torch.zeros_like(excluded, dtype=flat.dtype).masked_fill_(excluded, -torch.inf)
    values, penalties = flat.new_empty(2, 3 * rows, width)
    for slot in range(count):
        value, block = best.max(-1, keepdim=True)
        exists = value > -torch.inf
        if not exists.any():
            break
        around = block.clamp(1, blocks - 2) + neighbours
        lines = (row * blocks + around).flatten()
        torch.index_select(flat, 0, lines, out=values)
        near = values.view(rows, 3, width)
        begin = start.gather(-1, around)
        index = begin[:, 1:2] + near[:, 1].argmax(-1, keepdim=True)
        chosen[:, slot] = torch.where(exists, index, -1)[:, 0]
        line = (index - begin).clamp_(-width, 2 * width - 1).add_(width)
        torch.index_select(penalty, 0, line.flatten(), out=penalties)
        flat.index_copy_(0, lines, values.add_(penalties))
        best.scatter_(1, around, torch.threshold(near.amax(-1), threshold, -torch.inf))
        best[:, 0] = best[:, -1] = -torch.inf
    return chosen
