"""Which frames of a spectrogram are alike, and what is common to those that are."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional.layout import frames_first, in_shape_of, room_like
from torchsep.functional.operators import operator, register_gradient
from torchsep.functional.parts import in_parts
from torchsep.functional.selection import middles

__all__ = ["median_of_frames", "similar_frames"]

# Similarities that are held together, of some frames with all frames; of no fewer frames than pay for the calls.
_SIMILARITIES = {"cpu": 1 << 22}
_DEVICE_SIMILARITIES = 1 << 27
_FEWEST_ROWS = 64

# Gathered elements of the spectrogram that are worked on together.
_GATHERED = {"cpu": 1 << 21}
_DEVICE_GATHERED = 1 << 26


def similar_frames(
    x: Float[Tensor, "B *any N"], distance: int, limit: int, threshold: float = 0.0
) -> Int[Tensor, "B N K"]:
    """For each frame, the others most similar to it, some distance apart, by decreasing similarity; -1 for none.

    The similarity is the cosine of the angle between two frames, all channels and bins together. Of the frames far
    enough from the frame itself the most similar is taken, then of those far enough from both the most similar, and so
    on. A frame to which nothing is similar, as a silent one, is given itself.

    The result is exact, yet most similarities are looked at once only: of each block of frames the largest is kept,
    and what a choice rules out lies in three blocks, whose largest are found again. Room is taken by the similarities
    of some frames with all, never of all with all.

    Args:
        x: non-negative values. Their level plays no part, nor that of any frame.
        distance: in frames, the least between the frame and those chosen, and between any two of these.
        limit: the most frames to choose.
        threshold: frames at or below this similarity, from 0 to 1, are not chosen.

    Gradient:
        None: frames are a choice.

    Example:
        >>> x = torch.tensor([[[1.0, 0.0, 2.0, 0.0, 3.0], [0.0, 1.0, 1.0, 1.0, 0.0]]])
        >>> similar_frames(x, distance=2, limit=2)[0]
        tensor([[ 4,  2],
                [ 3, -1],
                [ 0,  4],
                [ 1, -1],
                [ 0,  2]])
    """
    check_integer(distance, "distance", at_least=1)
    check_integer(limit, "limit", at_least=1)
    check_number(threshold, "threshold", at_least=0.0, at_most=1.0)
    frames: Tensor = _similar_frames(x.detach(), distance, limit, float(threshold))
    return frames


def median_of_frames(x: Float[Tensor, "B *any N"], frames: Int[Tensor, "B N K"]) -> Float[Tensor, "B *any N"]:
    """At each frame, the median over the frames that are given for it.

    Of an even number of frames the mean of the two middle values is taken.

    Args:
        x: values; a NaN makes NaN of the frames that it is given for.
        frames: numbers of frames, at least one for each frame; -1 stands for none, and comes after the others.

    Gradient:
        Exact: it goes to the one or two frames that are the median. Two indices an output are kept for backward.

    Example:
        >>> x = torch.tensor([[1.0, 5.0, 2.0]])
        >>> median_of_frames(x, torch.tensor([[[0, 1, 2], [1, -1, -1], [2, 1, -1]]]))
        tensor([[2.0000, 5.0000, 3.5000]])
    """
    wanted = x.shape[0], x.shape[-1]
    if frames.dim() != 3 or frames.shape[:2] != wanted or frames.is_floating_point():
        got = f"{frames.dtype} {tuple(frames.shape)}"
        raise ValueError(f"frames must hold integers of shape ({wanted[0]}, {wanted[1]}, K), got {got}")
    lower, upper = _middles_of_frames(x, frames)
    return in_parts(lambda lower, upper: 0.5 * lower + 0.5 * upper, lower, upper)


def _unit_frames(x: Tensor, before: int, after: int) -> Tensor:
    """Frames of length one, ``(B, before + N + after, D)``; those that are silent, not finite or added are zero."""
    vectors = x.reshape(x.shape[0], -1, x.shape[-1]).mT
    units = vectors.new_zeros(len(vectors), before + x.shape[-1] + after, vectors.shape[-1])
    inside = units[:, before : before + x.shape[-1]]
    torch.div(vectors, vectors.amax(-1, keepdim=True), out=inside)  # so that no square is too large or too small
    length = torch.linalg.vector_norm(inside, dim=-1, keepdim=True)
    inside.div_(length).masked_fill_(~(length > 0), 0.0)
    return units


def _num_similar(length: int, distance: int, limit: int) -> int:
    """The most frames that can be chosen for one, or one."""
    return max(1, min(limit, (length - 1) // distance))


@operator(
    lambda x, distance, limit, threshold: x.new_empty(  # noqa: ARG005
        x.shape[0], x.shape[-1], _num_similar(x.shape[-1], distance, limit), dtype=torch.long
    )
)
def _similar_frames(x: Tensor, distance: int, limit: int, threshold: float) -> Tensor:
    items, length = len(x), x.shape[-1]
    count = _num_similar(length, distance, limit)
    frames = torch.empty(items, length, count, dtype=torch.long, device=x.device)
    # Any width will do that is not less than the distance; this one balances the blocks and what is in them.
    width = max(min(distance, length), math.ceil(math.sqrt(length / 3)))
    blocks = -(-length // width)
    units = _unit_frames(x, before=width, after=(blocks + 1) * width - length)  # a silent block at either end
    # The frames worked on together do not depend on the other items, nor does therefore how a product is rounded.
    room = _SIMILARITIES.get(x.device.type, _DEVICE_SIMILARITIES) // units.shape[1]
    rows = min(length, max(_FEWEST_ROWS, room))
    together = max(1, room // rows)
    for item in range(0, items, together):
        group = units[item : item + together]
        for first in range(0, length, rows):
            own = slice(width + first, width + min(first + rows, length))
            similarity = group[:, own] @ group.mT
            torch.threshold_(similarity, threshold, -torch.inf)
            similarity.diagonal(own.start, 1, 2).fill_(torch.inf)
            chosen = _choose(similarity.view(-1, blocks + 2, width), distance, 1 + count)
            chosen[:, 1] = torch.where(chosen[:, 1] < 0, chosen[:, 0], chosen[:, 1])
            frames[item : item + together, first : first + rows] = chosen[:, 1:].view(len(group), -1, count) - width
    return frames.clamp_(min=-1)


def _choose(similarity: Tensor, distance: int, count: int) -> Tensor:
    """Positions ``(rows, count)`` among similarities ``(rows, blocks, width)``, of which little remains."""
    rows, blocks, width = similarity.shape
    chosen = torch.full((rows, count), -1, device=similarity.device)
    best = similarity.amax(-1)
    row = torch.arange(rows, device=best.device)[:, None]
    position = torch.arange(3 * width, device=best.device)
    for slot in range(count):
        value, block = best.max(-1)
        exists = value > -torch.inf
        if not exists.any():
            break
        around = block.clamp(1, blocks - 2)[:, None] + torch.arange(-1, 2, device=best.device)
        values = similarity[row, around]
        place = width + values[:, 1].argmax(-1, keepdim=True)
        chosen[:, slot] = torch.where(exists, around[:, 0] * width + place[:, 0], -1)
        values.masked_fill_(((position - place).abs() < distance).view_as(values), -torch.inf)
        similarity[row, around] = values
        best[row, around] = values.amax(-1)
    return chosen


def _over_blocks(rows: Tensor, frames: Tensor) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Blocks of frames with those given for each, ``(K, items, n)``, their number and their values."""
    frames = frames[..., : int((frames >= 0).sum(-1).max())]
    channels = len(rows) // len(frames)
    item = torch.arange(len(rows), device=rows.device)[:, None]
    room = _GATHERED.get(rows.device.type, _DEVICE_GATHERED)
    together = max(1, room // (frames.shape[-1] * len(rows) * rows.shape[-1]))
    for first in range(0, rows.shape[1], together):
        block = slice(first, first + together)
        given = frames[:, block].repeat_interleave(channels, 0).movedim(-1, 0)
        yield block, given, (given >= 0).sum(0)[..., None], rows[item, given.clamp(min=0)]


@operator(lambda x, frames: (room_like(x), room_like(x)))  # noqa: ARG005
def _middles_of_frames(x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    rows, lower, upper = (frames_first(tensor) for tensor in (x, room_like(x), room_like(x)))
    for block, given, count, values in _over_blocks(rows, frames):
        lower[:, block], upper[:, block] = middles(values, count, (given >= 0)[..., None])
    return in_shape_of(lower, x), in_shape_of(upper, x)


@operator(lambda x, frames, chosen: torch.empty_like(frames_first(chosen), dtype=torch.int32))  # noqa: ARG005
def _locate_frame(x: Tensor, frames: Tensor, chosen: Tensor) -> Tensor:
    """The first of the frames given for each that equals the chosen value."""
    rows, wanted = frames_first(x), frames_first(chosen)
    located = torch.empty_like(wanted, dtype=torch.int32)
    for block, given, _, values in _over_blocks(rows, frames):
        found = (values == wanted[:, block]) & (given >= 0)[..., None]
        located[:, block] = given.movedim(0, -1).gather(-1, found.byte().argmax(0))
    return located


@operator(lambda gradient, located: room_like(gradient))  # noqa: ARG005
def _scatter_to_frame(gradient: Tensor, located: Tensor) -> Tensor:
    """The sum, at each frame, of the gradients of the frames that chose it."""
    rows = frames_first(gradient)
    scattered = torch.zeros_like(rows, memory_format=torch.contiguous_format)
    together = max(1, _GATHERED.get(rows.device.type, _DEVICE_GATHERED) // rows[:, 0].numel())
    for first in range(0, rows.shape[1], together):
        block = slice(first, first + together)
        scattered.scatter_add_(1, located[:, block].long(), rows[:, block])
    return in_shape_of(scattered, gradient)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    x, frames = inputs
    ctx.save_for_backward(*(_locate_frame(x, frames, chosen) for chosen in output))


def _backward(ctx: Any, lower: Tensor, upper: Tensor) -> tuple[Tensor, None]:
    lower_frame, upper_frame = ctx.saved_tensors
    return _scatter_to_frame(lower, lower_frame) + _scatter_to_frame(upper, upper_frame), None


register_gradient(_middles_of_frames, _setup, _backward)
