"""Long recordings in windows that overlap."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_mixture, check_number
from torchsep.functional.assignment import best_permutation
from torchsep.separators.bases.separator import Separator
from torchsep.transforms.stft import WINDOWS, window_values
from torchsep.typing import Estimates, Waveform

__all__ = ["OverlapAdd"]

_WINDOW_TYPES = [name for name, parameter in WINDOWS.items() if parameter is None]
_LEAST_WEIGHT = 1e-6  # of a window at its ends, where no other may reach, relative to its middle
_FOLLOWED = ("names", "channels", "requires", "differentiable", "conservative", "autocast")


class _Fading:
    """The windows of a mixture faded into one another as they come, in order.

    What is before the start of the last window is finished; only what is after it is held.
    """

    def __init__(self, weights: Float[Tensor, " L"], *, find_permutation: bool) -> None:
        self.weights = weights
        self.find_permutation = find_permutation
        self.start = 0  # of the last window
        self.total: Tensor | None = None  # from there on
        self.weight = weights[:0]
        self.last: Tensor | None = None

    def add(self, starts: list[int], estimates: Float[Tensor, "B n S C L"]) -> Float[Tensor, "B S C t"]:
        """What the windows that start there finish."""
        reach = starts[-1] - self.start + len(self.weights)
        total = estimates.new_zeros(*estimates[:, 0].shape[:-1], reach)
        if self.total is not None:
            total[..., : self.total.shape[-1]] = self.total
        weight = torch.nn.functional.pad(self.weight, (0, reach - len(self.weight)))
        previous = self.start
        for start, window in zip(starts, estimates.unbind(1), strict=True):
            place = slice(start - self.start, start - self.start + len(self.weights))
            ordered = window
            if self.find_permutation:
                ordered = window if self.last is None else _reorder(window, self.last[..., start - previous :])
                self.last, previous = ordered, start
            total[..., place] += ordered * self.weights
            weight[place] += self.weights
        done = starts[-1] - self.start
        self.start, self.total, self.weight = starts[-1], total[..., done:], weight[done:]
        return total[..., :done] / weight[:done]

    def rest(self) -> Float[Tensor, "B S C t"]:
        """What is finished when there are no more windows."""
        return torch.empty(0) if self.total is None else self.total / self.weight


def _reorder(window: Float[Tensor, "B S C L"], before: Float[Tensor, "B S C t"]) -> Float[Tensor, "B S C L"]:
    """A window with its sources in the order of what was there before where it begins."""
    order = best_permutation(before, window[..., : before.shape[-1]])
    return window[torch.arange(len(window), device=window.device)[:, None], order]


class OverlapAdd(Separator):
    r"""Run any separator on long recordings: on windows that overlap, whose estimates are faded into one another.

    .. math::
        \hat s(t) = \frac{\sum_k w(t - t_k)\, \hat s_k(t)}{\sum_k w(t - t_k)}

    Memory is bounded by the windows that are worked on together, however long the recording; :meth:`stream` needs no
    more for what never is in memory as a whole. It suits whatever grows with the square of the duration, or was
    trained on short excerpts, and music that changes: what a method finds in a mixture, as REPET its period, is found
    anew in every window, if from fewer repetitions. A mixture no longer than a window is separated as it is.

    All windows are of one length: the last is moved back to end with the mixture, so that no method gets too little to
    work on.

    Args:
        separator: what is run on the windows; a separator, or its config or name.
        window_duration: length of a window, in seconds.
        hop_duration: from one window to the next, in seconds, at most ``window_duration``; half of it if None.
        window: how windows are weighed: ``bartlett``, ``blackman``, ``cosine``, ``hamming``, ``hann``,
            ``nuttall`` or ``rectangular``.
        find_permutation: whether the sources of each window are put in the order in which they are most like those of
            the window before, where both overlap; for separators that number their sources in no fixed order.
        batch_size: windows of each mixture that are separated together.
        sample_rate: of the mixtures, in Hz, as that of the separator.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, with the sources of the separator, and what it requires.

    Raises:
        ValueError: on a call, what the separator raises for a window.

    Gradient:
        That of the separator; the order of the sources is held.

    Example:
        >>> separator = OverlapAdd(HPSS(sample_rate=8000), window_duration=0.5, sample_rate=8000)
        >>> mixture = torch.randn(2, 20000)
        >>> estimates = separator(mixture)
        >>> estimates.shape
        torch.Size([2, 2, 20000])
        >>> torch.allclose(estimates.sum(0), mixture, atol=1e-5)
        True
        >>> pieces = separator.stream(mixture.split(3000, dim=1))
        >>> torch.equal(torch.cat(list(pieces), -1), estimates)
        True
    """

    def __init__(
        self,
        separator: Separator,
        window_duration: float = 15.0,
        hop_duration: float | None = None,
        window: str = "hann",
        find_permutation: bool = False,  # noqa: FBT001 - a constructor's argument, stored as given
        batch_size: int = 1,
        *,
        sample_rate: int,
    ) -> None:
        super().__init__(sample_rate=sample_rate)
        if not isinstance(separator, Separator):
            raise ValueError(f"separator must be a separator, got {separator!r}")
        if separator.sample_rate != sample_rate:
            raise ValueError(f"sample_rate must be the separator's {separator.sample_rate}, got {sample_rate}")
        check_number(window_duration, "window_duration", above=0.0)
        if hop_duration is not None:
            check_number(hop_duration, "hop_duration", above=0.0, at_most=window_duration)
        check_choice(window, _WINDOW_TYPES, "window")
        if not isinstance(find_permutation, bool):
            raise ValueError(f"find_permutation must be True or False, got {find_permutation!r}")
        check_integer(batch_size, "batch_size", at_least=1)
        self.separator = separator
        self.window_duration = window_duration
        self.hop_duration = hop_duration
        self.window = window
        self.find_permutation = find_permutation
        self.batch_size = batch_size
        if find_permutation and self.hop_length == self.window_length:
            rule = f"less than window_duration={window_duration} to find the permutation"
            raise ValueError(f"hop_duration must be {rule}, got {hop_duration}")
        # Not a buffer: a module cast to half precision and back must keep the digits. Every other value of a window
        # twice as long is a window that is the same from both ends.
        self._window = window_values(window, 2 * self.window_length)[1::2].clamp(min=_LEAST_WEIGHT)
        # On the class stands what holds for any separator; here, what holds for this one.
        vars(self).update({name: getattr(separator, name) for name in _FOLLOWED})

    @property
    def window_length(self) -> int:
        """Length of a window, in samples."""
        return max(1, round(self.window_duration * self.sample_rate))

    @property
    def hop_length(self) -> int:
        """From one window to the next, in samples."""
        if self.hop_duration is None:
            return max(1, self.window_length // 2)
        return min(self.window_length, max(1, round(self.hop_duration * self.sample_rate)))

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Separate the windows, some at a time, and fade them into one another."""
        if mixture.shape[-1] <= self.window_length:
            return self.separator(mixture, **required)
        starts = self._starts(mixture.shape[-1])
        fading = self._fading(mixture)
        pieces = []
        for first in range(0, len(starts), self.batch_size):
            group = starts[first : first + self.batch_size]
            pieces.append(fading.add(group, self._estimates(group, mixture, required)))
        return torch.cat((*pieces, fading.rest()), -1)

    def stream(self, blocks: Iterable[Float[Tensor, "C t"]]) -> Iterator[Float[Tensor, "S C t"]]:
        """The estimates of one long mixture piece by piece, from its blocks one after another.

        In memory are a block, ``batch_size`` windows and one more, and what the separator needs for them. All pieces
        are together what a call gives for all blocks together. No gradient is recorded.

        Args:
            blocks: consecutive parts of the mixture, of one sample or any other number.

        Raises:
            ValueError: if the separator needs more than the mixture; or on the way, what a call raises.
        """
        if self.requires:
            raise ValueError(f"separator must need the mixture alone in a stream, got {self.separator!r}")
        return self._stream(blocks)

    @torch.no_grad()
    def _stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        for piece in self._pieces(blocks):
            if piece.shape[-1]:
                yield piece[0]

    def _pieces(self, blocks: Iterable[Tensor]) -> Iterator[Float[Tensor, "1 S C t"]]:
        """The pieces of a stream, some of them empty."""
        held: list[Tensor] = []  # the mixture from `origin`, where the last window starts, up to `length`
        origin, length, windows = 0, 0, 0
        for block in blocks:
            self._check_block(block, held)
            if not held:
                dtype, fading = block.dtype, self._fading(block)
            held.append(block.to(fading.weights.dtype))
            length += block.shape[-1]
            # One sample more than a window has to be there, since a mixture of one window is separated as it is.
            while length > max(self.window_length, self._reach(windows) - 1):
                whole = torch.cat(held, -1)
                group = [self.hop_length * (windows + number) for number in range(self.batch_size)]
                yield fading.add(group, self._estimates(group, whole[None], {}, origin)).to(dtype)
                held, origin, windows = [whole[:, group[-1] - origin :].clone()], group[-1], windows + len(group)
        if not held:
            raise ValueError("blocks must hold at least one sample, got none")
        whole = torch.cat(held, -1)[None]
        if length <= self.window_length:
            yield self.separator(whole).to(dtype)
            return
        group = self._starts(length)[windows:]
        if group:
            yield fading.add(group, self._estimates(group, whole, {}, origin)).to(dtype)
        yield fading.rest().to(dtype)

    def _reach(self, windows: int) -> int:
        """Where the next windows end that are separated together, after so many."""
        return self.hop_length * (windows + self.batch_size - 1) + self.window_length

    def _fading(self, mixture: Tensor) -> _Fading:
        dtype = torch.float64 if mixture.dtype == torch.float64 else torch.float32
        return _Fading(self._window.to(mixture.device, dtype), find_permutation=self.find_permutation)

    def _check_block(self, block: Tensor, held: list[Tensor]) -> None:
        if block.dim() != 2 or (held and len(block) != len(held[0])):
            wanted = f"({len(held[0]) if held else 'C'}, t)"
            raise ValueError(f"blocks must have shape {wanted}, got {tuple(block.shape)}")
        check_mixture(block, self.channels)

    def _starts(self, length: int) -> list[int]:
        """Where the windows start in a mixture longer than one."""
        last = length - self.window_length
        starts = list(range(0, last + 1, self.hop_length))
        return starts if starts[-1] == last else [*starts, last]

    def _estimates(
        self, starts: list[int], mixture: Waveform, required: Mapping[str, Tensor], origin: int = 0
    ) -> Float[Tensor, "B n S C L"]:
        """The estimates of some windows of what begins at an origin; all are one batch to the separator."""
        length = self.window_length

        def windows(tensor: Tensor) -> Tensor:
            parts = [tensor[..., start - origin : start - origin + length] for start in starts]
            return torch.stack(parts, 1).flatten(0, 1)

        estimates = self.separator(windows(mixture), **{name: windows(tensor) for name, tensor in required.items()})
        return estimates.unflatten(0, (len(mixture), len(starts)))
