"""Analysis-synthesis filter banks of time-domain networks: learned filters, and the STFT."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import reduce
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_boolean, check_choice, check_integer
from torchsep.configurable import Configurable

__all__ = ["FilterBank", "LearnedFilterBank", "STFTFilterBank"]

ACTIVATIONS = ("relu", "none")
WINDOWS = ("sqrt_hann", "hann", "hamming", "rectangular")

# Minimum of the sum of squared windows, relative to its maximum, for inversion in float32.
_LEAST_OVERLAP = 1e-4

Kernels = Float[Tensor, "K L"]


class FilterBank(Configurable, ABC):
    r"""Base class of analysis-synthesis filter banks.

    The signal is zero-padded, with all frames that overlap it, so every sample is covered by the same number of frames.

    .. math::
        c_{kn} = \sum_{t=0}^{L-1} a_{kt}\, x_{nh + t - (L - h)}, \qquad
        \hat x_{t} = \sum_{n} \sum_k c_{kn}\, s_{k,\, t - nh + (L - h)}

    Args:
        num_filters: number ``K`` of filters.
        kernel_size: length :math:`L` of a filter, in samples.
        stride: hop :math:`h` between frames in samples, at most ``kernel_size``; half of it if None.

    Shape:
        ``(..., T) -> (..., K, N)`` with ``N = ceil((T + L - h) / h)``, and back.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, num_filters: int, kernel_size: int, stride: int | None = None) -> None:
        super().__init__()
        check_integer(num_filters, "num_filters", at_least=1)
        check_integer(kernel_size, "kernel_size", at_least=1)
        self.num_filters = num_filters
        self.kernel_size = kernel_size
        self.stride = max(1, kernel_size // 2) if stride is None else stride
        check_integer(self.stride, "stride", at_least=1)
        if self.stride > kernel_size:
            raise ValueError(f"stride must be at most kernel_size={kernel_size}, got {self.stride}")

    @abstractmethod
    def kernels(self) -> tuple[Kernels, Kernels]:
        """The analysis filters :math:`a` and synthesis filters :math:`s`, each ``(num_filters, kernel_size)``."""

    @property
    def receptive_field(self) -> int:
        """Number of input samples that an output sample depends on."""
        return (self._reach - 1) * self.stride + self.kernel_size

    @property
    def latency(self) -> int:
        """Number of future input samples that an output sample depends on."""
        return self.kernel_size - 1

    def num_frames(self, length: int) -> int:
        """The number ``N`` of frames of a signal of ``length`` samples."""
        return (length + self._before + self.stride - 1) // self.stride  # ONNX rounds negative quotients differently

    def encode(self, waveform: Float[Tensor, "*any T"]) -> Float[Tensor, "*any K N"]:
        """The coefficients of a waveform."""
        length = waveform.shape[-1]
        whole = (self.num_frames(length) - 1) * self.stride + self.kernel_size
        signals = nn.functional.pad(waveform.reshape(-1, 1, length), (self._before, whole - self._before - length))
        coefficients = nn.functional.conv1d(signals, self.kernels()[0][:, None], stride=self.stride)
        return coefficients.unflatten(0, waveform.shape[:-1]) if waveform.dim() > 1 else coefficients[0]

    def decode(self, coefficients: Float[Tensor, "*any K N"], length: int) -> Float[Tensor, "*any T"]:
        """The waveform of ``length`` samples synthesised from coefficients.

        Raises:
            ValueError: if filters or frames do not match the filter bank and ``length``.
        """
        filters, frames = coefficients.shape[-2:]
        if filters != self.num_filters or frames != self.num_frames(length):
            wanted, got = (self.num_filters, self.num_frames(length)), (filters, frames)
            raise ValueError(f"coefficients must have (filters, frames) = {wanted} for length={length}, got {got}")
        # A matrix product and a sum of shifted hops: several times as fast on a CPU as a transposed convolution.
        kernels = nn.functional.pad(self.kernels()[1], (0, self._reach * self.stride - self.kernel_size))
        hops = (coefficients.mT @ kernels).unflatten(-1, (self._reach, self.stride)).unbind(-2)
        last = self._reach - 1
        rows = reduce(torch.add, (nn.functional.pad(piece, (0, 0, hop, last - hop)) for hop, piece in enumerate(hops)))
        return rows.flatten(-2)[..., self._before : self._before + length]

    @property
    def _before(self) -> int:
        """Number of zeros at the beginning of the first frame."""
        return self.kernel_size - self.stride

    @property
    def _reach(self) -> int:
        """The number of hops that a frame spans."""
        return -(-self.kernel_size // self.stride)


class LearnedFilterBank(FilterBank):
    """Learned filter bank, trained jointly with the network, as in time-domain speech separation networks.

    The filters are shorter than those of an STFT and have less latency. Filters learned for speech are concentrated at
    low frequencies and encode phase.

    Args:
        num_filters: number ``K`` of filters.
        kernel_size: length of a filter, in samples.
        stride: hop between frames in samples, at most ``kernel_size``; half of it if None.
        activation: activation of the coefficients: ``relu`` or ``none``.

    Shape:
        ``(..., T) -> (..., K, N)``, and back.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> bank = LearnedFilterBank(num_filters=6, kernel_size=4)
        >>> coefficients = bank.encode(torch.ones(2, 9))
        >>> coefficients.shape, bank.decode(coefficients, length=9).shape
        (torch.Size([2, 6, 6]), torch.Size([2, 9]))

    References:
        Y. Luo and N. Mesgarani, "TasNet: time-domain audio separation network for real-time, single-channel speech
        separation", ICASSP, 2018.
    """

    def __init__(
        self, num_filters: int = 512, kernel_size: int = 16, stride: int | None = None, activation: str = "relu"
    ) -> None:
        super().__init__(num_filters, kernel_size, stride)
        check_choice(activation, ACTIVATIONS, "activation")
        self.activation = activation
        self.analysis = nn.Parameter(torch.empty(num_filters, kernel_size))
        self.synthesis = nn.Parameter(torch.empty(num_filters, kernel_size))
        # Waveforms of unit RMS have coefficients of about unit RMS, and vice versa.
        nn.init.normal_(self.analysis, std=kernel_size**-0.5)
        nn.init.normal_(self.synthesis, std=(num_filters * kernel_size / self.stride) ** -0.5)

    def kernels(self) -> tuple[Kernels, Kernels]:
        """The learned filters."""
        return self.analysis, self.synthesis

    def encode(self, waveform: Float[Tensor, "*any T"]) -> Float[Tensor, "*any K N"]:
        """The coefficients of a waveform."""
        coefficients = super().encode(waveform)
        return coefficients.relu() if self.activation == "relu" else coefficients


class STFTFilterBank(FilterBank):
    r"""STFT as a real-valued filter bank, with exact inverse.

    The filters are those of the real parts, from zero to half the sample rate, then of the imaginary parts that are not
    identically zero; their number equals the length of a frame. The coefficients preserve the energy of the waveform if
    the squared windows sum to a constant. Preferable to learned filters for reverberant signals or little data.

    .. math::
        a_{kt} = g\, w_t \sqrt{\tfrac{2}{L}} \cos(2 \pi k t / L), \quad
        -g\, w_t \sqrt{\tfrac{2}{L}} \sin(2 \pi k t / L), \qquad
        s_{kt} = \frac{a_{kt}}{\sum_m g^2 w_{t + mh}^2}

    with the first and, for even :math:`L`, the last cosine divided by :math:`\sqrt 2`, and :math:`g` such that the
    squared windows sum to one on average.

    Args:
        kernel_size: length :math:`L` of a frame in samples, and number of filters.
        stride: hop :math:`h` between frames in samples; half of ``kernel_size`` if None.
        window: window :math:`w`: ``sqrt_hann``, ``hann``, ``hamming`` or ``rectangular``.
        trainable: whether the filters are trained further.

    Shape:
        ``(..., T) -> (..., L, N)``, and back.

    Raises:
        ValueError: if an argument is out of range, or the sum of the squared windows is below 1e-4 of its maximum
            anywhere (NOLA).

    Example:
        >>> bank = STFTFilterBank(kernel_size=8)
        >>> signal = torch.arange(5.0)
        >>> coefficients = bank.encode(signal)
        >>> coefficients.shape
        torch.Size([8, 3])
        >>> bank.decode(coefficients, length=5).allclose(signal, atol=1e-6)
        True

    References:
        J. Heitkaemper, D. Jakobeit, C. Boeddeker, L. Drude and R. Haeb-Umbach, "Demystifying TasNet: a dissecting
        approach", ICASSP, 2020.
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(
        self,
        kernel_size: int = 256,
        stride: int | None = None,
        window: str = "sqrt_hann",
        *,
        trainable: bool = False,
    ) -> None:
        super().__init__(kernel_size, kernel_size, stride)
        check_boolean(trainable, "trainable")
        check_choice(window, WINDOWS, "window")
        self.window = window
        self.trainable = trainable
        analysis, synthesis = self._fourier()
        dtype = torch.get_default_dtype()
        if trainable:
            self.analysis = nn.Parameter(analysis.to(dtype))
            self.synthesis = nn.Parameter(synthesis.to(dtype))
        else:
            # Not saved with the weights, since they are determined by the arguments.
            self.register_buffer("analysis", analysis.to(dtype), persistent=False)
            self.register_buffer("synthesis", synthesis.to(dtype), persistent=False)

    def kernels(self) -> tuple[Kernels, Kernels]:
        """The fixed or trained filters."""
        return self.analysis, self.synthesis

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:  # noqa: FBT001 - signature of nn.Module
        """Cast or move the filters; fixed ones are recomputed, so that casts lose no precision."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if not self.trainable:
            analysis, synthesis = self._fourier()
            self.analysis = analysis.to(self.analysis)
            self.synthesis = synthesis.to(self.synthesis)
        return self

    def _fourier(self) -> tuple[Kernels, Kernels]:
        """The filters in float64, on the CPU."""
        length = self.kernel_size
        window = self._window()
        period = nn.functional.pad(window.square(), (0, self._reach * self.stride - length))
        overlap = period.view(self._reach, self.stride).sum(0)
        if overlap.min() < _LEAST_OVERLAP * overlap.max():
            raise ValueError(
                f"stride must let the squared windows overlap everywhere (NOLA), got {self.stride} "
                f"with window={self.window!r} of {length} samples"
            )
        time = torch.arange(length, dtype=torch.float64, device=window.device)
        angles = 2 * math.pi / length * torch.outer(time[: length // 2 + 1], time)
        cosines, sines = angles.cos(), -angles[1 : (length + 1) // 2].sin()
        cosines[0] *= 0.5**0.5
        if length % 2 == 0:
            cosines[-1] *= 0.5**0.5
        transform = torch.cat((cosines, sines)) * (2 / length) ** 0.5  # orthonormal rows
        analysis = transform * (window / overlap.mean().sqrt())
        return analysis, transform * (window * overlap.mean().sqrt() / overlap.repeat(self._reach)[:length])

    def _window(self) -> Float[Tensor, " L"]:
        if self.window == "rectangular":
            return torch.ones(self.kernel_size, dtype=torch.float64, device="cpu")
        make = getattr(torch, f"{self.window.removeprefix('sqrt_')}_window")
        window: Tensor = make(self.kernel_size, dtype=torch.float64, device="cpu")
        return window.clamp(min=0).sqrt() if self.window.startswith("sqrt_") else window
