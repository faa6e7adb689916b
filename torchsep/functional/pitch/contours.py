"""Pitch contours: salient pitches of successive frames that continue one another."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number

__all__ = ["Contours", "pitch_contours"]

# Constants of the method's authors (Salamon and Gomez, 2012).
_SHARE_OF_STRONGEST = 0.9
_DEVIATIONS_BELOW_MEAN = 0.9

# Frames whose pitches are compared with the next frame's together.
_TOGETHER = 1 << 14


@dataclass(frozen=True)
class Contours:
    """The points of all contours of a batch, contour by contour and in order of time.

    Args:
        contour: the number of each point's contour; contours are numbered through the batch.
        row: the number of each point's frame, also numbered through: ``item * num_frames + frame``.
        pitch: of each point.
        salience: of each point.
        item: the batch item of each contour.
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
        """The number of points of each contour, as many as frames."""
        return self.total(torch.ones_like(self.pitch))


def pitch_contours(
    pitch: Float[Tensor, "B N K"], salience: Float[Tensor, "B N K"], max_jump: float = 80.0, max_gap: int = 17
) -> Contours:
    """Contours that salient pitches grow to.

    Pitches of two successive frames continue one another where each is the other's nearest and they are near enough.
    Of such a chain, the stretches are contours that begin and end with a strong pitch and between them have not too
    many weak ones in succession. Strong is a pitch of at least 0.9 times the salience of its frame's most salient, and
    not more than 0.9 standard deviations below the mean salience of such pitches in the item.

    Chains are found for all frames at once: each pitch learns its chain's first one in as many steps as the
    number of frames has binary digits.

    Args:
        pitch: in cents, any number in a frame and in any order.
        salience: of the pitches; zero for none.
        max_jump: most cents from one frame to the next.
        max_gap: most weak pitches in succession.

    Gradient:
        None: contours are a choice.

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
    # Pitches lie frame by frame, and so, chain by chain, in order of time.
    place = present[first[present].argsort(stable=True)]
    contour, inside = _stretches(first[place], strong[place], max_gap)
    place, contour = place[inside], contour[inside]
    row = place // count
    item = row.new_zeros(int(contour[-1]) + 1 if len(contour) else 0)
    item[contour] = row // frames
    return Contours(contour, row, pitch.flatten()[place], salience.flatten()[place], item)


def _strong(salience: Float[Tensor, "B N K"]) -> Bool[Tensor, "B N K"]:
    strong = (salience > 0) & (salience >= _SHARE_OF_STRONGEST * salience.amax(-1, keepdim=True))
    number = strong.sum((1, 2), keepdim=True).clamp(min=1)
    mean = (salience * strong).sum((1, 2), keepdim=True) / number
    variance = ((salience - mean).square() * strong).sum((1, 2), keepdim=True) / number
    return strong & (salience >= mean - _DEVIATIONS_BELOW_MEAN * variance.sqrt())


def _first_of_chain(pitch: Tensor, salience: Tensor, max_jump: float) -> Int[Tensor, " P"]:
    """For each pitch, by its place in the whole tensor, the place of the first pitch of its chain."""
    frames = pitch.shape[1]
    place = torch.arange(pitch.numel(), device=pitch.device).view_as(pitch)
    previous = place.clone()
    for start in range(0, frames - 1, _TOGETHER):
        early, late = slice(start, min(start + _TOGETHER, frames - 1)), slice(start + 1, start + _TOGETHER + 1)
        linked, partner = _mutually_nearest(pitch, salience, early, late, max_jump)
        following = place[:, late].gather(-1, partner)[linked]
        previous.view(-1)[following] = place[:, early][linked]
    first = previous.flatten()
    for _ in range(math.ceil(math.log2(max(frames, 2)))):
        first = first[first]
    return first


def _mutually_nearest(
    pitch: Tensor, salience: Tensor, early: slice, late: slice, max_jump: float
) -> tuple[Bool[Tensor, "B n K"], Int[Tensor, "B n K"]]:
    """Which pitches of early frames go on in the late ones, and as which."""
    distance = (pitch[:, early, :, None] - pitch[:, late, None, :]).abs_()
    distance.masked_fill_((salience[:, early] <= 0)[..., None], torch.inf)
    distance.masked_fill_((salience[:, late] <= 0)[:, :, None], torch.inf)
    nearest, partner = distance.min(-1)
    back = distance.argmin(-2).gather(-1, partner)
    own = torch.arange(pitch.shape[-1], device=pitch.device)
    return (back == own) & (nearest <= max_jump), partner


def _stretches(chain: Tensor, strong: Tensor, max_gap: int) -> tuple[Int[Tensor, " P"], Bool[Tensor, " P"]]:
    """The number of each pitch's contour, and whether it is in one; pitches are in order of chain and time."""
    number = len(chain)
    if number == 0:
        return chain, strong
    here = torch.arange(number, device=chain.device)
    last = here.where(strong, -1).cummax(0).values
    following = here.where(strong, number).flip(0).cummin(0).values.flip(0)

    def is_whole(early: Tensor, late: Tensor) -> Tensor:
        """Whether the strong pitches at two places, if there are any, belong to one contour."""
        exists = (early >= 0) & (late < number)
        same = chain[early.clamp(min=0)] == chain[late.clamp(max=number - 1)]
        return exists & same & (late - early <= max_gap + 1)

    before = last.roll(1)
    before[0] = -1
    starts = strong & ~is_whole(before, here)
    return starts.cumsum(0) - 1, strong | is_whole(last, following)
