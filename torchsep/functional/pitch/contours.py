"""Pitch contours: sequences of salient pitches of successive frames."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number

__all__ = ["Contours", "pitch_contours"]

# Constants of the method's authors (Salamon and Gomez, 2012).
_RATIO_TO_STRONGEST = 0.9
_DEVIATIONS_BELOW_MEAN = 0.9

# Number of frames whose pitches are compared with those of the next frame at a time.
_BLOCK = 1 << 14


@dataclass(frozen=True)
class Contours:
    """The points of all contours of a batch, sorted by contour and time.

    Args:
        contour: contour index of each point; contours are numbered across the batch.
        row: frame index of each point across the batch, ``item * num_frames + frame``.
        pitch: pitch of each point.
        salience: salience of each point.
        item: batch item of each contour.
    """

    contour: Int[Tensor, " P"]
    row: Int[Tensor, " P"]
    pitch: Float[Tensor, " P"]
    salience: Float[Tensor, " P"]
    item: Int[Tensor, " M"]

    def total(self, values: Float[Tensor, " P"]) -> Float[Tensor, " M"]:
        """The sum over the points of each contour."""
        return values.new_zeros(len(self.item)).index_add_(0, self.contour, values)

    def mean(self, values: Float[Tensor, " P"]) -> Float[Tensor, " M"]:
        """The mean over the points of each contour."""
        return self.total(values) / self.length

    @property
    def length(self) -> Float[Tensor, " M"]:
        """The number of points of each contour, equal to its number of frames."""
        return self.total(torch.ones_like(self.pitch))


def pitch_contours(
    pitch: Float[Tensor, "B N K"], salience: Float[Tensor, "B N K"], max_jump: float = 80.0, max_gap: int = 17
) -> Contours:
    """Pitch contours formed from salient pitches.

    Two pitches of successive frames are linked if each is the nearest to the other and they are close enough. A
    contour is a section of a chain of linked pitches that begins and ends with a strong pitch and has no long run of
    weak pitches. A pitch is strong if its salience is at least 0.9 times the maximum of its frame, and at most 0.9
    standard deviations below the mean salience of such pitches in the item.

    Chains are found for all frames in parallel by pointer jumping, in a logarithmic number of steps.

    Args:
        pitch: pitches in cents, any number per frame and in any order.
        salience: salience of the pitches; zero for absent ones.
        max_jump: maximum difference between successive frames, in cents.
        max_gap: maximum number of successive weak pitches.

    Gradient:
        None: contours are discrete.

    Example:
        >>> pitch = torch.tensor([[[100.0, 900.0], [130.0, 700.0], [950.0, 160.0]]])
        >>> salience = torch.tensor([[[1.0, 0.1], [0.95, 0.2], [0.1, 1.0]]])
        >>> contours = pitch_contours(pitch, salience)
        >>> contours.pitch
        tensor([100., 130., 160.])
    """
    check_number(max_jump, "max_jump", at_least=0.0)
    check_integer(max_gap, "max_gap", at_least=0)
    frames, count = pitch.shape[1:]
    strong = _strong(salience).flatten()
    first = _first_of_chain(pitch, salience, max_jump)
    present = (salience > 0).flatten().nonzero()[:, 0]
    # Pitches are stored frame by frame, so a stable sort by chain keeps the order of time.
    index = present[first[present].argsort(stable=True)]
    contour, inside = _sections(first[index], strong[index], max_gap)
    index, contour = index[inside], contour[inside]
    row = index // count
    item = row.new_zeros(int(contour[-1]) + 1 if len(contour) else 0)
    item[contour] = row // frames
    return Contours(contour, row, pitch.flatten()[index], salience.flatten()[index], item)


def _strong(salience: Float[Tensor, "B N K"]) -> Bool[Tensor, "B N K"]:
    strong = (salience > 0) & (salience >= _RATIO_TO_STRONGEST * salience.amax(-1, keepdim=True))
    number = strong.sum((1, 2), keepdim=True).clamp(min=1)
    mean = (salience * strong).sum((1, 2), keepdim=True) / number
    variance = ((salience - mean).square() * strong).sum((1, 2), keepdim=True) / number
    return strong & (salience >= mean - _DEVIATIONS_BELOW_MEAN * variance.sqrt())


def _first_of_chain(pitch: Tensor, salience: Tensor, max_jump: float) -> Int[Tensor, " P"]:
    """The flat index of the first pitch of each pitch's chain."""
    frames = pitch.shape[1]
    index = torch.arange(pitch.numel(), device=pitch.device).view_as(pitch)
    previous = index.clone()
    for start in range(0, frames - 1, _BLOCK):
        early, late = slice(start, min(start + _BLOCK, frames - 1)), slice(start + 1, start + _BLOCK + 1)
        linked, partner = _mutually_nearest(pitch, salience, early, late, max_jump)
        following = index[:, late].gather(-1, partner)[linked]
        previous.view(-1)[following] = index[:, early][linked]
    first = previous.flatten()
    for _ in range(math.ceil(math.log2(max(frames, 2)))):
        first = first[first]
    return first


def _mutually_nearest(
    pitch: Tensor, salience: Tensor, early: slice, late: slice, max_jump: float
) -> tuple[Bool[Tensor, "B n K"], Int[Tensor, "B n K"]]:
    """Whether each pitch of the early frames is linked to one of the late frames, and the index of that one."""
    distance = (pitch[:, early, :, None] - pitch[:, late, None, :]).abs_()
    distance.masked_fill_((salience[:, early] <= 0)[..., None], torch.inf)
    distance.masked_fill_((salience[:, late] <= 0)[:, :, None], torch.inf)
    nearest, partner = distance.min(-1)
    back = distance.argmin(-2).gather(-1, partner)
    own = torch.arange(pitch.shape[-1], device=pitch.device)
    return (back == own) & (nearest <= max_jump), partner


def _sections(chain: Tensor, strong: Tensor, max_gap: int) -> tuple[Int[Tensor, " P"], Bool[Tensor, " P"]]:
    """The contour index of each pitch, and whether it is in a contour; pitches are sorted by chain and time."""
    number = len(chain)
    if number == 0:
        return chain, strong
    here = torch.arange(number, device=chain.device)
    last = here.where(strong, -1).cummax(0).values
    following = here.where(strong, number).flip(0).cummin(0).values.flip(0)

    def is_whole(early: Tensor, late: Tensor) -> Tensor:
        """Whether the strong pitches at two positions, if they exist, belong to one contour."""
        exists = (early >= 0) & (late < number)
        same = chain[early.clamp(min=0)] == chain[late.clamp(max=number - 1)]
        return exists & same & (late - early <= max_gap + 1)

    before = last.roll(1)
    before[0] = -1
    starts = strong & ~is_whole(before, here)
    return starts.cumsum(0) - 1, strong | is_whole(last, following)
