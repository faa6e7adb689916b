"""Magnitudes and RMS levels of spectrograms and signals."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchsep.functional._chunks import empty_frames, frame_chunks, map_frames

__all__ = ["log_magnitude", "magnitude", "phase_sensitive_magnitude", "rms"]

_FLOOR = 1e-3  # 60 dB below the level


def magnitude(spectrogram: Complex[Tensor, "*any F N"]) -> Float[Tensor, "*any F N"]:
    """The magnitude of a spectrogram; without gradient, in a fifth of the time of ``abs``.

    Args:
        spectrogram: complex values; in single precision, values below 1e-19 may underflow and above 1e19 overflow.

    Gradient:
        Exact; zero where the value is zero.

    Example:
        >>> magnitude(torch.tensor([[3.0 + 4.0j, 0.0]]))
        tensor([[5., 0.]])
    """
    chunks = frame_chunks(spectrogram)
    if chunks is None and spectrogram.requires_grad:
        return spectrogram.abs()  # whose gradient is zero at zero
    if chunks is None:
        return (spectrogram.real.square() + spectrogram.imag.square()).sqrt()
    absolute = empty_frames(spectrogram, tuple(spectrogram.shape), spectrogram.real.dtype)
    for chunk in chunks:
        block, real, imaginary = absolute[..., chunk], spectrogram.real[..., chunk], spectrogram.imag[..., chunk]
        torch.square(real, out=block).addcmul_(imaginary, imaginary).sqrt_()
    return absolute


def rms(signal: Tensor) -> Tensor:
    r"""The root mean square of each item, with its axes kept, as a divisor for normalisation; one for silence.

    .. math::
        \sqrt{\frac{1}{n} \sum_i x_i^2}

    Args:
        signal: ``(B, ...)``, items of any shape; they are divided by their peak before squaring to avoid overflow.

    Gradient:
        Exact; zero for silence.

    Example:
        >>> rms(torch.tensor([[3.0, -3.0], [0.0, 0.0]]))
        tensor([[3.],
                [1.]])
    """
    axes = tuple(range(1, signal.dim()))
    largest = signal.detach().abs().amax(axes, keepdim=True)
    silent = largest == 0
    scale = largest.masked_fill(silent, 1.0)
    squares = (signal / scale).square().mean(axes, keepdim=True)
    return squares.masked_fill(silent, 1.0).sqrt() * scale


def log_magnitude(magnitude: Tensor) -> Tensor:
    r"""Log magnitudes :math:`\log_{10}(x + 10^{-3})`, -3 for silence.

    Args:
        magnitude: magnitudes normalised to unit RMS.

    Example:
        >>> log_magnitude(torch.tensor([0.0, 0.999]))
        tensor([-3.,  0.])
    """
    return torch.log10(magnitude + _FLOOR)


def phase_sensitive_magnitude(
    source: Complex[Tensor, "*any"], mixture: Complex[Tensor, "*any"], *, truncated: bool = True
) -> Float[Tensor, "*any"]:
    r"""The projection of a source on the phase of the mixture, :math:`|S| \cos(\angle S - \angle X)`.

    Combined with the mixture's phase, it is the closest approximation to the source. It may be negative, or larger than
    the mixture's magnitude.

    Args:
        source: spectrogram :math:`S`.
        mixture: spectrogram :math:`X`, broadcast with the source.
        truncated: whether values are clipped to :math:`[0, |X|]`, so that masks do not exceed one.

    Gradient:
        Exact.

    Example:
        >>> source, mixture = torch.tensor([1j, -0.5, 3.0 + 1j]), torch.tensor([1.0, 1.0, 2.0 + 0j])
        >>> phase_sensitive_magnitude(source, mixture)
        tensor([0., 0., 2.])
        >>> phase_sensitive_magnitude(source, mixture, truncated=False)
        tensor([ 0.0000, -0.5000,  3.0000])

    References:
        H. Erdogan, J. R. Hershey, S. Watanabe and J. Le Roux, "Phase-sensitive and recognition-boosted speech
        separation using deep recurrent neural networks", ICASSP, 2015.
    """

    def project(source: Tensor, mixture: Tensor) -> Tensor:
        magnitude = mixture.abs()
        projected = (source * mixture.conj()).real / magnitude.masked_fill(magnitude == 0, 1.0)
        return torch.minimum(projected.clamp(min=0.0), magnitude) if truncated else projected

    return map_frames(project, source, mixture)
