"""Overlap-add: separation of long recordings in overlapping windows."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

from torchsep.checks import check_boolean, check_choice, check_integer, check_mixture, check_number
from torchsep.functional.assignment import best_permutation
from torchsep.separators.bases.separator import Separator
from torchsep.transforms.stft import WINDOWS, window_values
from torchsep.typing import Estimates, Waveform

__all__ = ["OverlapAdd"]

_WINDOW_TYPES = [name for name, parameter in WINDOWS.items() if parameter is None]
_LEAST_WEIGHT = 1e-6  # of a window at its ends, where no other may overlap, relative to its centre
_INHERITED = ("names", "channels", "requires", "differentiable", "conservative", "autocast")


class _Crossfade:
    """Overlap-add of the windows of a mixture, in order.

    Samples before the start of the last window are final and returned; only later ones are buffered.
    """

    def __init__(self, weights: Float[Tensor, " L"], *, find_permutation: bool) -> None:
        self.weights = weights
        self.find_permutation = find_permutation
        self.start = 0  # of the last window
        self.total: Tensor | None = None  # samples from that start on
        self.weight = weights[:0]
        self.last: Tensor | None = None

    def add(self, starts: list[int], estimates: Float[Tensor, "B n S C L"]) -> Float[Tensor, "B S C t"]:
        """Add windows at given starts; returns the samples that are final now."""
        reach = starts[-1] - self.start + len(self.weights)
        total = estimates.new_zeros(*estimates[:, 0].shape[:-1], reach)
        if self.total is not None:
            total[..., : self.total.shape[-1]] = self.total
        weight = torch.nn.functional.pad(self.weight, (0, reach - len(self.weight)))
        previous = self.start
        for start, window in zip(starts, estimates.unbind(1), strict=True):
            samples = slice(start - self.start, start - self.start + len(self.weights))
            ordered = window
            if self.find_permutation:
                ordered = window if self.last is None else _reorder(window, self.last[..., start - previous :])
                self.last, previous = ordered, start
            total[..., samples] += ordered * self.weights
            weight[samples] += self.weights
        done = starts[-1] - self.start
        self.start, self.total, self.weight = starts[-1], total[..., done:], weight[done:]
        return total[..., :done] / weight[:done]

    def flush(self) -> Float[Tensor, "B S C t"]:
        """The remaining samples, after the last window."""
        return self.weights[:0] if self.total is None else self.total / self.weight


def _reorder(window: Float[Tensor, "B S C L"], previous: Float[Tensor, "B S C t"]) -> Float[Tensor, "B S C L"]:
    """A window with its sources permuted to match the overlapping end of the previous window."""
    order = best_permutation(previous, window[..., : previous.shape[-1]])
    return window[torch.arange(len(window), device=window.device)[:, None], order]


# Shorter windows, and more windows over a sample, would take hundreds of times the time of the separator.
_SHORTEST = 0.005  # seconds
_MOST_OVERLAP = 32


class OverlapAdd(Separator):
    r"""Overlap-add: apply a separator to overlapping windows of a long recording and crossfade the estimates.

    .. math::
        \hat s(t) = \frac{\sum_k w(t - t_k)\, \hat s_k(t)}{\sum_k w(t - t_k)}

    Memory is bounded by the number of windows processed together, for any duration; :meth:`stream` has the same bound
    for recordings that are never in memory as a whole. It suits separators whose cost grows with the square of the
    duration, networks trained on short excerpts, and music that changes, since parameters such as the period of REPET
    are estimated in every window. A mixture not longer than a window is processed as a whole.

    All windows have the same length: the last one is moved back to end with the mixture.

    Args:
        separator: separator that is applied to the windows; a separator, or its config or name.
        window_duration: length of a window, in seconds, at least 0.005.
        hop_duration: hop between windows, in seconds, at most ``window_duration`` and at least a 32nd of it; half of it
            if None.
        window: window function of the crossfade: ``bartlett``, ``blackman``, ``cosine``, ``hamming``, ``hann``,
            ``nuttall`` or ``rectangular``.
        find_permutation: whether the sources of each window are permuted to correlate best with those of the previous
            window in the overlap; for separators without a fixed source order.
        batch_size: number of windows of each mixture that are processed together.
        sample_rate: sample rate of the mixtures, in Hz, equal to that of the separator.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, with the sources and required tensors of the separator.

    Raises:
        ValueError: on a call, if the separator raises it for a window.

    Gradient:
        That of the separator, with the permutations held fixed.

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
        check_boolean(find_permutation, "find_permutation")
        check_integer(batch_size, "batch_size", at_least=1)
        self.separator = separator
        self.window_duration = window_duration
        self.hop_duration = hop_duration
        self.window = window
        self.find_permutation = find_permutation
        self.batch_size = batch_size
        _check_lengths(self)
        if find_permutation and self.hop_length == self.window_length:
            rule = f"less than window_duration={window_duration} to find the permutation"
            raise ValueError(f"hop_duration must be {rule}, got {hop_duration}")
        # Not a buffer, so that casting to half precision and back keeps all digits. Every other value of a window of
        # twice the length is a symmetric window.
        with unset_fake_temporarily():
            self._window = window_values(window, 2 * self.window_length)[1::2].clamp(min=_LEAST_WEIGHT)
        # The class attributes hold for any separator; these are those of the given one.
        vars(self).update({name: getattr(separator, name) for name in _INHERITED})

    @property
    def window_length(self) -> int:
        """Length of a window, in samples."""
        return max(1, round(self.window_duration * self.sample_rate))

    @property
    def hop_length(self) -> int:
        """Hop between windows, in samples."""
        if self.hop_duration is None:
            return max(1, self.window_length // 2)
        return min(self.window_length, max(1, round(self.hop_duration * self.sample_rate)))

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Separate the windows, ``batch_size`` at a time, and overlap-add them."""
        if mixture.shape[-1] <= self.window_length:
            return self.separator(mixture, **required)
        starts = self._starts(mixture.shape[-1])
        crossfade = self._crossfade(mixture)
        pieces = []
        for first in range(0, len(starts), self.batch_size):
            group = starts[first : first + self.batch_size]
            pieces.append(crossfade.add(group, self._estimates(group, mixture, required)))
        return torch.cat((*pieces, crossfade.flush()), -1)

    def stream(self, blocks: Iterable[Float[Tensor, "C t"]]) -> Iterator[Float[Tensor, "S C t"]]:
        """The estimates of one long mixture, piece by piece, from its consecutive blocks.

        Memory holds a block, ``batch_size + 1`` windows, and what the separator needs for them. The concatenated pieces
        equal the result of a call on the concatenated blocks. No gradient is recorded.

        Args:
            blocks: consecutive blocks of the mixture, of any lengths.

        Raises:
            ValueError: if the separator requires tensors besides the mixture; during iteration, like a call.
        """
        if self.requires:
            raise ValueError(f"separator must require only the mixture in a stream, got {self.separator!r}")
        return self._stream(blocks)

    @torch.no_grad()
    def _stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        for piece in self._pieces(blocks):
            if piece.shape[-1]:
                yield piece[0]

    def _pieces(self, blocks: Iterable[Tensor]) -> Iterator[Float[Tensor, "1 S C t"]]:
        """The pieces of a stream, some of them empty."""
        buffered: list[Tensor] = []  # the mixture from `origin`, the start of the last window, up to `length`
        origin, length, windows = 0, 0, 0
        for block in blocks:
            self._check_block(block, buffered)
            if not buffered:
                dtype, crossfade = block.dtype, self._crossfade(block)
            buffered.append(block.to(crossfade.weights.dtype))
            length += block.shape[-1]
            # At least one sample more than a window, since a mixture of one window is processed as a whole.
            while length > max(self.window_length, self._reach(windows) - 1):
                whole = torch.cat(buffered, -1)
                group = [self.hop_length * (windows + number) for number in range(self.batch_size)]
                yield crossfade.add(group, self._estimates(group, whole[None], {}, origin)).to(dtype)
                buffered, origin, windows = [whole[:, group[-1] - origin :].clone()], group[-1], windows + len(group)
        if not buffered:
            raise ValueError("blocks must contain at least one sample, got none")
        whole = torch.cat(buffered, -1)[None]
        if length <= self.window_length:
            yield self.separator(whole).to(dtype)
            return
        group = self._starts(length)[windows:]
        if group:
            yield crossfade.add(group, self._estimates(group, whole, {}, origin)).to(dtype)
        yield crossfade.flush().to(dtype)

    def _reach(self, windows: int) -> int:
        """The end of the next group of windows, after a number of windows."""
        return self.hop_length * (windows + self.batch_size - 1) + self.window_length

    def _crossfade(self, mixture: Tensor) -> _Crossfade:
        dtype = torch.float64 if mixture.dtype == torch.float64 else torch.float32
        return _Crossfade(self._window.to(mixture.device, dtype), find_permutation=self.find_permutation)

    def _check_block(self, block: Tensor, buffered: list[Tensor]) -> None:
        if block.dim() != 2 or (buffered and len(block) != len(buffered[0])):
            wanted = f"({len(buffered[0]) if buffered else 'C'}, t)"
            raise ValueError(f"blocks must have shape {wanted}, got {tuple(block.shape)}")
        check_mixture(block, self.channels)

    def _starts(self, length: int) -> list[int]:
        """The starts of the windows of a mixture longer than one window."""
        last = length - self.window_length
        starts = list(range(0, last + 1, self.hop_length))
        return starts if starts[-1] == last else [*starts, last]

    def _estimates(
        self, starts: list[int], mixture: Waveform, required: Mapping[str, Tensor], origin: int = 0
    ) -> Float[Tensor, "B n S C L"]:
        """The estimates of windows of a mixture that begins at ``origin``, separated as one batch."""
        length = self.window_length

        def windows(tensor: Tensor) -> Tensor:
            parts = [tensor[..., start - origin : start - origin + length] for start in starts]
            return torch.stack(parts, 1).flatten(0, 1)

        estimates = self.separator(windows(mixture), **{name: windows(tensor) for name, tensor in required.items()})
        return estimates.unflatten(0, (len(mixture), len(starts)))


def _check_lengths(separator: OverlapAdd) -> None:
    """Raise where windows are too short or too many."""
    if separator.window_duration < _SHORTEST:
        raise ValueError(f"window_duration must be at least {_SHORTEST}, got {separator.window_duration}")
    if separator.window_length > _MOST_OVERLAP * separator.hop_length:
        rule = f"at least window_duration / {_MOST_OVERLAP}"
        raise ValueError(f"hop_duration must be {rule}, got {separator.hop_duration}")
