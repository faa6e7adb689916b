"""Magnitudes and levels: absolute values, root mean squares, log magnitudes and phase-sensitive magnitudes."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchsep.functional._chunks import empty_frames, frame_chunks, map_frames

__all__ = ["log_magnitude", "magnitude", "phase_sensitive_magnitude", "rms"]

_FLOOR = 1e-3  # 60 dB below the level


def magnitude(spectrogram: Complex[Tensor, "*any F N"]) -> Float[Tensor, "*any F N"]:
    """The absolute values of a spectrogram, in a fifth of the time that ``abs`` takes where no gradient is asked.

    Args:
        spectrogram: complex values; below 1e-19 in single precision they may count as zero, above 1e19 as infinite.

    Gradient:
        Exact; zero where the value is.

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
        room, real, imaginary = absolute[..., chunk], spectrogram.real[..., chunk], spectrogram.imag[..., chunk]
        torch.square(real, out=room).addcmul_(imaginary, imaginary).sqrt_()
    return absolute


def rms(signal: Tensor) -> Tensor:
    r"""The root mean square of each item, with its axes kept, to divide by; one for silence.

    .. math::
        \sqrt{\frac{1}{n} \sum_i x_i^2}

    Args:
        signal: ``(B, ...)``, items of any shape; their largest values are taken out before squaring, so that nothing
            overflows.

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
    r"""Magnitudes on a logarithmic scale, :math:`\log_{10}(x + 10^{-3})`, from -3 for silence.

    Args:
        magnitude: of a root mean square of one.

    Example:
        >>> log_magnitude(torch.tensor([0.0, 0.999]))
        tensor([-3.,  0.])
    """
    return torch.log10(magnitude + _FLOOR)


def phase_sensitive_magnitude(
    source: Complex[Tensor, "*any"], mixture: Complex[Tensor, "*any"], *, truncated: bool = True
) -> Float[Tensor, "*any"]:
    r"""What of a source's bin points in the mixture's direction, :math:`|S| \cos(\angle S - \angle X)`.

    Of all magnitudes, with the mixture's phase, it is the nearest to the source; but it may be negative, or above the
    mixture's.

    Args:
        source: :math:`S`.
        mixture: :math:`X`, with which the source broadcasts.
        truncated: whether it is brought to :math:`[0, |X|]`, so that no mask made of it amplifies.

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

    def along(source: Tensor, mixture: Tensor) -> Tensor:
        magnitude = mixture.abs()
        projected = (source * mixture.conj()).real / magnitude.masked_fill(magnitude == 0, 1.0)
        return torch.minimum(projected.clamp(min=0.0), magnitude) if truncated else projected

    return map_frames(along, source, mixture)
