"""The short-time Fourier transform and its exact inverse."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.configurable import Configurable
from torchsep.functional._chunks import BlockSize

__all__ = ["STFT", "WINDOWS", "window_values"]

# Names of torch.signal.windows with their parameter, if any.
WINDOWS: dict[str, str | None] = {
    "bartlett": None,
    "blackman": None,
    "cosine": None,
    "exponential": "tau",
    "gaussian": "std",
    "general_cosine": "a",
    "general_hamming": "alpha",
    "hamming": None,
    "hann": None,
    "kaiser": "beta",
    "nuttall": None,
    "rectangular": None,
}
_INCOMPLETE = {"exponential", "gaussian", "general_cosine"}  # without their parameter

# Minimum of the sum of squared windows, relative to its maximum, for inversion in float32.
_LEAST_OVERLAP = 1e-4

# Without gradient, frames are transformed in groups of about this many samples, which fit the cache of a processor and
# limit the memory of a device.
_SAMPLES_TOGETHER = BlockSize(cpu=1 << 20, accelerator=1 << 25)

Window = str | Sequence[str | float | Sequence[float]]


@unset_fake_temporarily()  # values are read
def window_values(window: Window, length: int) -> Float[Tensor, " n"]:
    """The values of a periodic window, in float64 on the CPU.

    Args:
        window: name in ``torch.signal.windows`` or ``rectangular``, with the prefix ``sqrt_`` for the square root; or
            a pair of such a name and the window's parameter, as ``("kaiser", 8.0)``.
        length: number of values.

    Raises:
        ValueError: if the name is unknown, or a parameter is missing, unexpected or invalid.

    Example:
        >>> window_values("hann", 4)
        tensor([0.0000, 0.5000, 1.0000, 0.5000], dtype=torch.float64)
    """
    if not isinstance(window, (str, list, tuple)) or not window:
        raise ValueError(f"window must be a name, or a pair of a name and its parameter, got {window!r}")
    name, *parameters = [window] if isinstance(window, str) else window
    check_choice(name, [*WINDOWS, *(f"sqrt_{known}" for known in WINDOWS)], "window")
    kind = str(name).removeprefix("sqrt_")
    wanted = WINDOWS[kind]
    if len(parameters) > (wanted is not None):
        raise ValueError(f"window must be a name{f' and {wanted}' if wanted else ''}, got {window!r}")
    if not parameters and kind in _INCOMPLETE:
        raise ValueError(f"window must come with its {wanted}, as ({name!r}, {wanted}), got {window!r}")
    if kind == "rectangular":
        return torch.ones(length, dtype=torch.float64, device="cpu")
    arguments = {wanted: parameters[0]} if wanted and parameters else {}
    try:
        make = getattr(torch.signal.windows, kind)
        values: Tensor = make(length, sym=False, dtype=torch.float64, device="cpu", **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"window must have a valid {wanted}, got {window!r}: {reason}") from None
    if str(name).startswith("sqrt_"):
        if (values < -1e-12).any():
            raise ValueError(f"window must not be negative to have a square root, got {window!r}")
        values = values.clamp(min=0).sqrt()
    return values


class STFT(Configurable):
    r"""Short-time Fourier transform with an exact inverse.

    Frame :math:`n` is centred on sample ``n * hop_length``, and the signal is padded by zeros. The frames cover all
    samples, so signals of any length, even a single sample, are reconstructed exactly.

    .. math::
        X_{fn} = \sum_t w_t\, x_{nh + t - L / 2}\, e^{-2 \pi i f t / L}

    Args:
        n_fft: length :math:`L` of the transform, in samples.
        hop_length: hop :math:`h` between frames, in samples; a quarter of ``n_fft`` if None.
        window: analysis and synthesis window :math:`w`: name in ``torch.signal.windows`` or ``rectangular``, with the
            prefix ``sqrt_`` for its square root, or a pair with its parameter, as ``("kaiser", 8.0)``.
        win_length: length of the window, in samples, centred in the transform; ``n_fft`` if None.

    Shape:
        ``(..., T) -> (..., F, N)`` with ``F = n_fft // 2 + 1`` and ``N = 1 + ceil(T / hop_length)``.

    Raises:
        ValueError: if the sum of the squared windows is below 1e-4 of its maximum anywhere (non-zero overlap-add,
            NOLA).

    Gradient:
        Exact in both directions.

    Example:
        >>> stft = STFT(n_fft=8)
        >>> signal = torch.arange(5.0)
        >>> spectrogram = stft(signal)
        >>> spectrogram.shape
        torch.Size([5, 4])
        >>> stft.inverse(spectrogram, length=5).allclose(signal, atol=1e-6)
        True

    References:
        D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform", IEEE TASSP, 1984.
    """

    def __init__(
        self,
        n_fft: int,
        hop_length: int | None = None,
        window: Window = "sqrt_hann",
        win_length: int | None = None,
    ) -> None:
        super().__init__()
        check_integer(n_fft, "n_fft", at_least=2)
        self.n_fft = int(n_fft)
        self.hop_length = max(1, self.n_fft // 4) if hop_length is None else hop_length
        self.win_length = self.n_fft if win_length is None else win_length
        check_integer(self.hop_length, "hop_length", at_least=1)
        check_integer(self.win_length, "win_length", at_least=1)
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length must be at most n_fft={self.n_fft}, got {self.win_length}")
        left = (self.n_fft - self.win_length) // 2
        with unset_fake_temporarily():  # its values are read
            values = window_values(window, self.win_length)
            # Not a buffer, so that casting to half precision and back keeps all digits.
            self._window = torch.nn.functional.pad(values, (left, self.n_fft - self.win_length - left))
            self.window = window if isinstance(window, str) else tuple(window)
            self._check_overlap()

    @classmethod
    def from_sample_rate(cls, sample_rate: int) -> "STFT":
        """The default front end of a sample rate in Hz: 32 ms rounded up to a power of two, with a hop of a quarter.

        Example:
            >>> STFT.from_sample_rate(44100).n_fft, STFT.from_sample_rate(8000).n_fft
            (2048, 256)
        """
        check_number(sample_rate, "sample_rate", above=0)
        return cls(n_fft=max(4, 2 ** math.ceil(math.log2(0.032 * sample_rate))))

    @property
    def num_bins(self) -> int:
        """The number ``F`` of frequency bins."""
        return self.n_fft // 2 + 1

    def num_frames(self, length: int) -> int:
        """The number ``N`` of frames of a signal of ``length`` samples."""
        return 1 + math.ceil(length / self.hop_length)

    def frequencies(self, sample_rate: float) -> Float[Tensor, " F"]:
        """The centre frequency of each bin in Hz, in float64 on the CPU."""
        return torch.arange(self.num_bins, dtype=torch.float64, device="cpu") * (sample_rate / self.n_fft)

    def bins_below(self, frequency_hz: float, sample_rate: float) -> Bool[Tensor, " F"]:
        """Whether each bin lies below the one nearest to a frequency.

        Example:
            >>> STFT(n_fft=8).bins_below(1400.0, sample_rate=8000)
            tensor([ True, False, False, False, False])
        """
        return torch.arange(self.num_bins, device="cpu") < math.floor(frequency_hz * self.n_fft / sample_rate + 0.5)

    def forward(self, waveform: Float[Tensor, "*any T"]) -> Complex[Tensor, "*any F N"]:
        """The spectrogram of a waveform; half precision is computed in single."""
        if not waveform.is_floating_point():
            raise ValueError(f"waveform must be floating point, got {waveform.dtype}; divide integers by full scale")
        if waveform.dim() == 0 or waveform.numel() == 0:
            raise ValueError(f"waveform must have at least one sample, got shape {tuple(waveform.shape)}")
        length = waveform.shape[-1]
        flat = waveform.reshape(-1, length)
        if flat.dtype in {torch.float16, torch.bfloat16}:
            flat = flat.float()
        frames = self.num_frames(length)
        whole = (frames - 1) * self.hop_length + self.n_fft
        before = self.n_fft // 2
        padded = torch.nn.functional.pad(flat, (before, whole - before - length))
        framed = padded.unfold(-1, self.n_fft, self.hop_length)
        window = self._window.to(flat)
        parts = self._groups(frames, len(flat), flat)
        if len(parts) == 1:
            spectrogram = torch.fft.rfft(framed * window)
        else:
            dtype = torch.complex128 if flat.dtype == torch.float64 else torch.complex64
            spectrogram = torch.empty(len(flat), frames, self.num_bins, dtype=dtype, device=flat.device)
            for part in parts:
                spectrogram[:, part] = torch.fft.rfft(framed[:, part] * window)
        return spectrogram.mT.view(*waveform.shape[:-1], self.num_bins, frames)

    def inverse(
        self,
        spectrogram: Complex[Tensor, "*any F N"],
        length: int,
        masks: Float[Tensor, "*any #F #N"] | None = None,
    ) -> Float[Tensor, "*any T"]:
        """The waveform whose spectrogram is closest to the given one in the least-squares sense.

        Args:
            spectrogram: bins and frames as returned by :meth:`forward`.
            length: number of samples to return.
            masks: masks that the spectrogram is multiplied by, with broadcasting. Without gradient the product is
                computed block by block, so many masks on a long spectrogram take little memory.

        Raises:
            ValueError: if bins or frames do not match ``n_fft`` and ``length``.
        """
        if not spectrogram.is_complex():
            raise ValueError(f"spectrogram must be complex, got {spectrogram.dtype}")
        bins, frames = spectrogram.shape[-2:]
        if bins != self.num_bins or frames != self.num_frames(length):
            wanted = (self.num_bins, self.num_frames(length))
            raise ValueError(f"spectrogram must have (bins, frames) = {wanted} for length={length}, got {bins, frames}")
        leading = spectrogram.shape[:-2]
        if masks is not None:
            leading = torch.broadcast_shapes(leading, masks.shape[:-2])
        window = self._window.to(spectrogram.device, spectrogram.real.dtype)
        total = window.new_zeros(*leading, frames + self._reach - 1, self.hop_length)
        factors = [] if masks is None else [masks]
        for part in self._groups(frames, math.prod(leading), spectrogram, *factors):
            masked = spectrogram[..., part]
            for factor in factors:
                masked = masked * (factor if factor.shape[-1] == 1 else factor[..., part])
            windowed = torch.fft.irfft(masked.mT, n=self.n_fft).mul_(window)
            self._overlap_add(total[..., part.start :, :], windowed)
        weight = window.new_zeros(frames + self._reach - 1, self.hop_length)
        self._overlap_add(weight, window.square().expand(frames, -1))
        start = self.n_fft // 2
        inside = slice(start, start + length)
        signal = total.flatten(-2)[..., inside]
        return signal / weight.flatten()[inside] if signal.requires_grad else signal.div_(weight.flatten()[inside])

    @property
    def _reach(self) -> int:
        """The number of hops that a frame spans."""
        return math.ceil(self.n_fft / self.hop_length)

    def _groups(self, frames: int, signals: int, *inputs: Tensor) -> list[slice]:
        """Consecutive groups of frames to process one by one; a single group with gradient or under the compiler."""
        recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
        if recorded or torch.compiler.is_compiling():
            return [slice(0, frames)]
        samples = _SAMPLES_TOGETHER.on(inputs[0].device)
        together = max(1, min(frames, samples // (max(1, signals) * self.n_fft)))
        return [slice(first, min(first + together, frames)) for first in range(0, frames, together)]

    def _overlap_add(self, total: Tensor, frames: Tensor) -> None:
        """Add frames ``(..., N, n_fft)`` to rows of one hop each, ``(..., N + reach - 1 or more, hop_length)``."""
        count = frames.shape[-2]
        for hop in range(self._reach):
            piece = frames[..., hop * self.hop_length : (hop + 1) * self.hop_length]
            total[..., hop : hop + count, : piece.shape[-1]] += piece

    def _check_overlap(self) -> None:
        period = self._window.new_zeros(self._reach * self.hop_length)
        period[: self.n_fft] = self._window.square()
        overlap = period.view(self._reach, self.hop_length).sum(0)
        if overlap.min() < _LEAST_OVERLAP * overlap.max() or overlap.max() == 0:
            raise ValueError(
                f"hop_length must let the squared windows overlap everywhere (NOLA), "
                f"got hop_length={self.hop_length} with window={self.window!r} of {self.win_length} samples"
            )
