"""Which frames of a spectrogram are alike, and what is common to those that are."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional._chunks import BlockSize
from torchsep.functional._comparator_network import middles, ranked
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional._layout import frames_first, in_shape_of, room_like
from torchsep.functional.masks import clipped_ratio_mask
from torchsep.functional.repetition._frame_search import chosen_frames

__all__ = ["median_of_frames", "recurring_mask", "similar_frames"]

# Gathered elements of the spectrogram that are worked on together.
_GATHERED = BlockSize(cpu=1 << 21, accelerator=1 << 26)
# So many frames together begin and, in the halves that two cores take, end with a line of cache.
_ALIGNED = 32


def similar_frames(
    x: Float[Tensor, "B *any N"], distance: int, limit: int, threshold: float = 0.0
) -> Int[Tensor, "B N K"]:
    """For each frame, the others most similar to it, some distance apart, by decreasing similarity; -1 for none.

    The similarity is the cosine of the angle between two frames, all channels and bins together. Of the frames far
    enough from the frame itself the most similar is taken, then of those far enough from both the most similar, and so
    on. A frame to which nothing is similar, as a silent one, is given itself.

    The result is exact, yet most similarities are looked at once only: of each block of frames the largest is kept,
    and what a choice rules out lies in three blocks, whose largest are found again. Those of a short signal are
    computed once for both frames; of a long one, room is taken by the similarities of some frames with all.

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
    frames: Tensor = chosen_frames(x.detach(), distance, limit, float(threshold))
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
    _check_frames(x, frames)
    if torch.is_grad_enabled() and x.requires_grad:
        lower, upper = _middles_of_frames(x, frames)
        return 0.5 * lower + 0.5 * upper
    median: Tensor = _lean_median_of_frames(x, frames, share=False)
    return median


def recurring_mask(x: Float[Tensor, "B *any F N"], frames: Int[Tensor, "B N K"]) -> Float[Tensor, "B *any F N"]:
    """:func:`clipped_ratio_mask` of :func:`median_of_frames` in the values themselves, at once if no gradient is asked.

    Args:
        x: non-negative values.
        frames: as for :func:`median_of_frames`.

    Example:
        >>> recurring_mask(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[0, 2], [1, -1], [2, 0]]]))
        tensor([[[1.0000, 1.0000, 0.6250]]])
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return clipped_ratio_mask(median_of_frames(x, frames), x)
    _check_frames(x, frames)
    share: Tensor = _lean_median_of_frames(x, frames, share=True)
    return share


def _check_frames(x: Tensor, frames: Tensor) -> None:
    wanted = x.shape[0], x.shape[-1]
    if frames.dim() != 3 or frames.shape[:2] != wanted or frames.is_floating_point():
        got = f"{frames.dtype} {tuple(frames.shape)}"
        raise ValueError(f"frames must hold integers of shape ({wanted[0]}, {wanted[1]}, K), got {got}")


class _Alike(NamedTuple):
    """Some frames for which equally many others are given; frames are rows ``(items * channels * N, E)``."""

    own: Tensor  # numbers of their rows, (P)
    others: Tensor  # those of the rows given for each, (K, P)
    values: Tensor  # which these hold, (K, P, E)
    existing: Tensor | None  # how many exist, (P); None if all do

    def exist(self) -> Tensor | None:
        """Which of the values do, (K, P, 1)."""
        if self.existing is None:
            return None
        return (torch.arange(len(self.values), device=self.existing.device)[:, None] < self.existing)[..., None]


def _over_alike(rows: Tensor, frames: Tensor) -> Iterator[_Alike]:
    """All frames, few enough at a time for their values to stay in cache. The room of the values is used again."""
    length, most = frames.shape[1:]
    given = frames.flatten(0, 1)
    if int(given.max()) >= length:
        raise ValueError(f"frames must be numbers below {length}, that of frames, got {int(given.max())}")
    channel = torch.arange(0, len(rows) // len(frames), length, device=rows.device)[:, None]
    count = (given >= 0).sum(-1).clamp_(min=1)
    # Each number of frames is a program of its own, so that large numbers are taken for a sixteenth more at most.
    step = torch.ones_like(count) << (torch.frexp(count.double()).exponent - 5).clamp_(min=0)
    slots = torch.div(count + step - 1, step, rounding_mode="floor").mul_(step).clamp_(max=most)
    order = slots.argsort(stable=True)
    exact, sizes = (torch.bincount(number, minlength=most + 1).tolist() for number in (count, slots))
    room = max(_GATHERED.on(rows.device) // rows.shape[1], most * len(channel))
    room = min(room, len(rows) * most)
    gathered = rows.new_empty(room, rows.shape[1])
    for num, alike in zip(range(most + 1), order.split(sizes), strict=True):
        together = room // (max(1, num) * len(channel))
        together -= together % _ALIGNED if together > _ALIGNED else 0
        for some in alike.split(together) if len(alike) else ():
            item = torch.div(some, length, rounding_mode="floor") * (len(channel) * length) + channel
            own = (item + some % length).flatten()
            others = (item + given[some, :num].mT.clamp(min=0)[:, None]).flatten(1)
            values = gathered[: others.numel()]
            torch.index_select(rows, 0, others.flatten(), out=values)
            exist = None if exact[num] == len(alike) else count[some].repeat(len(channel))
            yield _Alike(own, others, values.view(*others.shape, -1), exist)


def _middles(alike: _Alike) -> tuple[Tensor, Tensor]:
    """The lower and the upper median of the values given for some frames."""
    exist = alike.exist()
    if alike.existing is None or exist is None:
        middle = (len(alike.values) - 1) // 2, len(alike.values) // 2
        found = ranked(alike.values, tuple(dict.fromkeys(middle)))
        return found[0], found[-1]
    lower, upper = middles(alike.values[:, None], alike.existing[None, :, None], exist[:, None])
    return lower[0], upper[0]


def _rows(x: Tensor) -> Tensor:
    """All frames of all items and channels, ``(items * channels * N, E)``."""
    return frames_first(x).flatten(0, 1)


@operator(lambda x, frames, share: room_like(x))  # noqa: ARG005
def _lean_median_of_frames(x: Tensor, frames: Tensor, share: bool) -> Tensor:  # noqa: FBT001
    """The median, or its share in the values, of which one part after another stays in cache."""
    rows, median, tiny = _rows(x), room_like(x), torch.finfo(x.dtype).tiny
    for alike in _over_alike(rows, frames):
        lower, upper = _middles(alike)
        middle = lower if upper is lower else lower.mul_(0.5).add_(upper, alpha=0.5)
        if share:
            values = rows.index_select(0, alike.own)
            # The least normal number changes nothing but the share of silence in silence, which is one.
            torch.minimum(middle, values, out=middle).add_(tiny).div_(values.add_(tiny))
        _rows(median).index_copy_(0, alike.own, middle)
    return median


@operator(lambda x, frames: (room_like(x), room_like(x)))  # noqa: ARG005
def _middles_of_frames(x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    found = room_like(x), room_like(x)
    for alike in _over_alike(_rows(x), frames):
        for room, middle in zip(found, _middles(alike), strict=True):
            _rows(room).index_copy_(0, alike.own, middle)
    return found


@operator(lambda x, frames, chosen: torch.empty_like(frames_first(chosen), dtype=torch.int32))  # noqa: ARG005
def _locate_frame(x: Tensor, frames: Tensor, chosen: Tensor) -> Tensor:
    """The first of the frames given for each that equals the chosen value."""
    wanted = _rows(chosen)
    located = torch.empty_like(frames_first(chosen), dtype=torch.int32)
    for alike in _over_alike(_rows(x), frames):
        found = alike.values == wanted.index_select(0, alike.own)
        exist = alike.exist()
        found = found if exist is None else found & exist
        number = (alike.others % frames.shape[1]).int().mT
        located.flatten(0, 1).index_copy_(0, alike.own, number.gather(-1, found.byte().argmax(0)))
    return located


@operator(lambda gradient, located: room_like(gradient))  # noqa: ARG005
def _scatter_to_frame(gradient: Tensor, located: Tensor) -> Tensor:
    """The sum, at each frame, of the gradients of the frames that chose it."""
    rows = frames_first(gradient)
    scattered = torch.zeros_like(rows, memory_format=torch.contiguous_format)
    together = max(1, _GATHERED.on(rows.device) // rows[:, 0].numel())
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
