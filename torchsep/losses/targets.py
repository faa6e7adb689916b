"""Training targets: target magnitudes, ideal assignments of bins to sources, and bin weights."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchsep.checks import check_choice, check_number
from torchsep.functional.magnitude import magnitude, phase_sensitive_magnitude

__all__ = ["ideal_assignments", "loud_bin_weights", "magnitude_target", "magnitude_weights"]

Spectrograms = Complex[Tensor, "B S C F N"]
Mixtures = Complex[Tensor, "B C F N"]

_BINS = (1, 2, 3)  # channels, frequencies and frames


def magnitude_target(
    source_spectrograms: Complex[Tensor, "*any"], mixture_spectrogram: Complex[Tensor, "*any"], kind: str = "tpsa"
) -> Float[Tensor, "*any"]:
    r"""Target magnitudes for masked mixtures.

    Args:
        source_spectrograms: :math:`S`.
        mixture_spectrogram: :math:`X`, which broadcasts with the sources, ``(B, 1, C, F, N)`` with
            ``(B, S, C, F, N)``.
        kind: ``msa``, the magnitudes :math:`|S|`; ``psa``, the phase-sensitive :math:`|S| \cos(\angle S - \angle X)`,
            which compensates for the phase of the mixture and may be negative; or ``tpsa``, the same truncated to
            :math:`[0, |X|]`, the range of masks from zero to one.

    Gradient:
        Exact.

    Example:
        >>> sources, mixture = torch.tensor([[3.0 + 4j], [-1.0]]), torch.tensor([[2.0 + 0j]])
        >>> [magnitude_target(sources, mixture, kind).flatten().tolist() for kind in ("msa", "psa", "tpsa")]
        [[5.0, 1.0], [3.0, -1.0], [2.0, 0.0]]

    References:
        H. Erdogan, J. R. Hershey, S. Watanabe and J. Le Roux, "Phase-sensitive and recognition-boosted speech
        separation using deep recurrent neural networks", ICASSP, 2015.
    """
    check_choice(kind, ("msa", "psa", "tpsa"), "kind")
    if kind == "msa":
        return magnitude(source_spectrograms)
    return phase_sensitive_magnitude(source_spectrograms, mixture_spectrogram, truncated=kind == "tpsa")


def ideal_assignments(source_spectrograms: Spectrograms) -> Float[Tensor, "B C F N S"]:
    """One-hot assignment of each bin to its dominant source.

    Ties go to the first source; a bin in which all sources are silent is assigned to none.

    Args:
        source_spectrograms: complex spectrograms or magnitudes.

    Gradient:
        None: the assignment is discrete.

    Example:
        >>> ideal_assignments(torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).view(1, 2, 1, 1, 3))[0, 0, 0]
        tensor([[1., 0.],
                [1., 0.],
                [0., 0.]])
    """
    if source_spectrograms.dim() != 5:
        got = tuple(source_spectrograms.shape)
        raise ValueError(f"source_spectrograms must have shape (B, S, C, F, N), got {got}")
    loudness = _magnitude(source_spectrograms)
    loudest, dominant = loudness.max(1)
    sources = torch.arange(loudness.shape[1], device=dominant.device)
    return ((dominant[..., None] == sources) & (loudest != 0)[..., None]).to(loudness.dtype)


def magnitude_weights(mixture_spectrogram: Mixtures) -> Float[Tensor, "B C F N"]:
    r"""Bin weights proportional to the magnitude, :math:`|X| / \sum |X|`; zero for silence.

    Args:
        mixture_spectrogram: :math:`X`, complex or magnitude.

    Gradient:
        None: the weights are treated as constant.

    Example:
        >>> magnitude_weights(torch.tensor([3.0, 1.0, 0.0]).view(1, 1, 1, 3)).flatten()
        tensor([0.7500, 0.2500, 0.0000])

    References:
        Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep clustering", ICASSP, 2018.
    """
    _check_mixture(mixture_spectrogram)
    return _normalised(_magnitude(mixture_spectrogram))


def loud_bin_weights(mixture_spectrogram: Mixtures, threshold_db: float = 40.0) -> Float[Tensor, "B C F N"]:
    """Equal weights for all bins above a threshold, zero for the others; zero for silence.

    The weights sum to one. All bins above the threshold count equally; :func:`magnitude_weights` emphasises loud bins
    instead.

    Args:
        mixture_spectrogram: complex spectrogram or magnitudes.
        threshold_db: level in dB below the loudest bin of an item at which the weight becomes zero.

    Gradient:
        None.

    Example:
        >>> loud_bin_weights(torch.tensor([3.0, 1.0, 0.01]).view(1, 1, 1, 3)).flatten()
        tensor([0.5000, 0.5000, 0.0000])

    References:
        J. Hershey, Z. Chen, J. Le Roux and S. Watanabe, "Deep clustering: discriminative embeddings for segmentation
        and separation", ICASSP, 2016.
    """
    check_number(threshold_db, "threshold_db", above=0.0)
    _check_mixture(mixture_spectrogram)
    values = _magnitude(mixture_spectrogram)
    loudest = values.amax(_BINS, keepdim=True)
    loud = (values > 10 ** (-threshold_db / 20) * loudest).to(values.dtype)
    return _normalised(loud.masked_fill(loudest.isnan(), torch.nan))


def _check_mixture(mixture_spectrogram: Tensor) -> None:
    if mixture_spectrogram.dim() != 4:
        got = tuple(mixture_spectrogram.shape)
        raise ValueError(f"mixture_spectrogram must have shape (B, C, F, N), got {got}")


def _magnitude(spectrogram: Tensor) -> Tensor:
    """Detached magnitudes of a complex or magnitude spectrogram."""
    return magnitude(spectrogram.detach()) if spectrogram.is_complex() else spectrogram.detach()


def _normalised(values: Float[Tensor, "B C F N"]) -> Float[Tensor, "B C F N"]:
    total = values.sum(_BINS, keepdim=True)
    return values / total.masked_fill(total == 0, 1.0)
