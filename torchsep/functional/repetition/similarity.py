"""Self-similarity of spectrograms: similar frames, their median, and the mask of a recurring background."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional._chunks import BlockSize
from torchsep.functional._comparator_network import middles, ranked
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional._layout import empty_like_frames, frames_first, in_shape_of
from torchsep.functional.masks import clipped_ratio_mask
from torchsep.functional.repetition._frame_search import chosen_frames

__all__ = ["median_of_frames", "recurring_mask", "similar_frames"]

# Gathered elements of the spectrogram that are processed together.
_GATHERED = BlockSize(cpu=1 << 21, accelerator=1 << 26)
# Groups of frames are multiples of this number, so that they and their halves are aligned to cache lines.
_ALIGNED = 32


def similar_frames(
    x: Float[Tensor, "B *any N"], distance: int, limit: int, threshold: float = 0.0
) -> Int[Tensor, "B N K"]:
    """Indices of the frames most similar to each frame, by decreasing similarity, padded with -1.

    The similarity is the cosine similarity over all channels and bins. Frames are selected greedily, at a minimum
    distance from the frame itself and from each other. A frame without similar frames, such as a silent one, is its own
    only similar frame. The result is that of this plain search::

        for frame in range(length):
            frames[frame, :] = -1
            candidates = similarity[frame].clone()
            candidates[max(0, frame - distance + 1) : frame + distance] = -inf
            for slot in range(limit):
                best = candidates.argmax()
                if candidates[best] <= threshold:
                    break
                frames[frame, slot] = best
                candidates[max(0, best - distance + 1) : best + distance] = -inf
            if frames[frame, 0] < 0:
                frames[frame, 0] = frame

    It is computed for many frames at once. The maximum of each block of candidates is stored, and a selection only
    updates the maxima of three blocks.

    Args:
        x: non-negative values; the result does not depend on the level of any frame.
        distance: minimum distance in frames between the frame and selected frames, and between any two of these.
        limit: maximum number of frames to select.
        threshold: minimum similarity (exclusive), from 0 to 1.

    Gradient:
        None: the selection is discrete.

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
    """At each frame, the median over the frames with given indices.

    For an even number of frames the mean of the two middle values is returned.

    Args:
        x: values; NaN propagates to the frames that use it.
        frames: indices of frames, at least one for each frame, padded with -1 at the end.

    Gradient:
        Exact: it goes to the one or two selected frames. Two indices per output are saved for backward.

    Example:
        >>> x = torch.tensor([[1.0, 5.0, 2.0]])
        >>> median_of_frames(x, torch.tensor([[[0, 1, 2], [1, -1, -1], [2, 1, -1]]]))
        tensor([[2.0000, 5.0000, 3.5000]])
    """
    _check_frames(x, frames)
    if torch.is_grad_enabled() and x.requires_grad:
        lower, upper = _middles_of_frames(x, frames)
        return 0.5 * lower + 0.5 * upper
    median: Tensor = _median_or_mask(x, frames, as_mask=False)
    return median


def recurring_mask(x: Float[Tensor, "B *any F N"], frames: Int[Tensor, "B N K"]) -> Float[Tensor, "B *any F N"]:
    """The mask of a recurring background: :func:`clipped_ratio_mask` of :func:`median_of_frames`.

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
    mask: Tensor = _median_or_mask(x, frames, as_mask=True)
    return mask


def _check_frames(x: Tensor, frames: Tensor) -> None:
    wanted = x.shape[0], x.shape[-1]
    if frames.dim() != 3 or frames.shape[:2] != wanted or frames.is_floating_point():
        got = f"{frames.dtype} {tuple(frames.shape)}"
        raise ValueError(f"frames must be integers of shape ({wanted[0]}, {wanted[1]}, K), got {got}")


class _Group(NamedTuple):
    """Frames with the same number of given frames; frames are rows ``(items * channels * N, E)``."""

    own: Tensor  # row index of each frame, (P)
    others: Tensor  # row indices of its given frames, (K, P)
    values: Tensor  # their values, (K, P, E)
    existing: Tensor | None  # number of existing ones, (P); None if all exist

    def exist(self) -> Tensor | None:
        """Whether each value exists, (K, P, 1)."""
        if self.existing is None:
            return None
        return (torch.arange(len(self.values), device=self.existing.device)[:, None] < self.existing)[..., None]


def _groups(rows: Tensor, frames: Tensor) -> Iterator[_Group]:
    """All frames, in groups whose values stay in cache. The buffer of the values is reused."""
    length, most = frames.shape[1:]
    given = frames.flatten(0, 1)
    if int(given.max()) >= length:
        raise ValueError(f"frames must be below the number of frames, {length}, got {int(given.max())}")
    channel = torch.arange(0, len(rows) // len(frames), length, device=rows.device)[:, None]
    count = (given >= 0).sum(-1).clamp_(min=1)
    # Each number of frames needs its own comparator network, so large numbers are rounded up by a sixteenth at most.
    step = torch.ones_like(count) << (torch.frexp(count.double()).exponent - 5).clamp_(min=0)
    slots = torch.div(count + step - 1, step, rounding_mode="floor").mul_(step).clamp_(max=most)
    order = slots.argsort(stable=True)
    exact, sizes = (torch.bincount(number, minlength=most + 1).tolist() for number in (count, slots))
    size = max(_GATHERED.on(rows.device) // rows.shape[1], most * len(channel))
    size = min(size, len(rows) * most)
    buffer = rows.new_empty(size, rows.shape[1])
    for num, members in zip(range(most + 1), order.split(sizes), strict=True):
        together = size // (max(1, num) * len(channel))
        together -= together % _ALIGNED if together > _ALIGNED else 0
        for some in members.split(together) if len(members) else ():
            item = torch.div(some, length, rounding_mode="floor") * (len(channel) * length) + channel
            own = (item + some % length).flatten()
            others = (item + given[some, :num].mT.clamp(min=0)[:, None]).flatten(1)
            values = buffer[: others.numel()]
            torch.index_select(rows, 0, others.flatten(), out=values)
            exist = None if exact[num] == len(members) else count[some].repeat(len(channel))
            yield _Group(own, others, values.view(*others.shape, -1), exist)


def _middles(group: _Group) -> tuple[Tensor, Tensor]:
    """The lower and the upper median of the values given for a group of frames."""
    exist = group.exist()
    if group.existing is None or exist is None:
        middle = (len(group.values) - 1) // 2, len(group.values) // 2
        found = ranked(group.values, tuple(dict.fromkeys(middle)))
        return found[0], found[-1]
    lower, upper = middles(group.values[:, None], group.existing[None, :, None], exist[:, None])
    return lower[0], upper[0]


def _rows(x: Tensor) -> Tensor:
    """All frames of all items and channels, ``(items * channels * N, E)``."""
    return frames_first(x).flatten(0, 1)


@operator(lambda x, frames, as_mask: empty_like_frames(x))  # noqa: ARG005
def _median_or_mask(x: Tensor, frames: Tensor, as_mask: bool) -> Tensor:  # noqa: FBT001
    """The median, or its clipped ratio to the values, in blocks that stay in cache."""
    rows, result, tiny = _rows(x), empty_like_frames(x), torch.finfo(x.dtype).tiny
    for group in _groups(rows, frames):
        lower, upper = _middles(group)
        middle = lower if upper is lower else lower.mul_(0.5).add_(upper, alpha=0.5)
        if as_mask:
            values = rows.index_select(0, group.own)
            # The smallest normal number only affects silence, where the mask becomes one.
            torch.minimum(middle, values, out=middle).add_(tiny).div_(values.add_(tiny))
        _rows(result).index_copy_(0, group.own, middle)
    return result


@operator(lambda x, frames: (empty_like_frames(x), empty_like_frames(x)))  # noqa: ARG005
def _middles_of_frames(x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    found = empty_like_frames(x), empty_like_frames(x)
    for group in _groups(_rows(x), frames):
        for target, middle in zip(found, _middles(group), strict=True):
            _rows(target).index_copy_(0, group.own, middle)
    return found


@operator(lambda x, frames, chosen: torch.empty_like(frames_first(chosen), dtype=torch.int32))  # noqa: ARG005
def _locate_frame(x: Tensor, frames: Tensor, chosen: Tensor) -> Tensor:
    """The first of the given frames that equals the selected value."""
    wanted = _rows(chosen)
    located = torch.empty_like(frames_first(chosen), dtype=torch.int32)
    for group in _groups(_rows(x), frames):
        found = group.values == wanted.index_select(0, group.own)
        exist = group.exist()
        found = found if exist is None else found & exist
        number = (group.others % frames.shape[1]).int().mT
        located.flatten(0, 1).index_copy_(0, group.own, number.gather(-1, found.byte().argmax(0)))
    return located


@operator(lambda gradient, located: empty_like_frames(gradient))  # noqa: ARG005
def _scatter_to_frame(gradient: Tensor, located: Tensor) -> Tensor:
    """The sum, at each frame, of the gradients of the frames that selected it."""
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
