"""What networks are trained towards: magnitudes, owners of bins, and how much each bin counts."""

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
    r"""The magnitudes that masked mixtures should have.

    Args:
        source_spectrograms: :math:`S`.
        mixture_spectrogram: :math:`X`, which broadcasts with them, ``(B, 1, C, F, N)`` with ``(B, S, C, F, N)``.
        kind: ``msa``, the magnitudes :math:`|S|`; ``psa``, the phase-sensitive :math:`|S| \cos(\angle S - \angle X)`,
            which makes up for the mixture's phase, but may be negative; or ``tpsa``, the same brought to
            :math:`[0, |X|]`, which a mask from zero to one can reach.

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
    """One for the source that is the loudest in a bin, zero for the others.

    Of sources as loud as one another the first owns the bin; a bin in which all are silent belongs to none.

    Args:
        source_spectrograms: complex, or their magnitudes.

    Gradient:
        None: the owners are discrete.

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
    loudest, owner = loudness.max(1)
    sources = torch.arange(loudness.shape[1], device=owner.device)
    return ((owner[..., None] == sources) & (loudest != 0)[..., None]).to(loudness.dtype)


def magnitude_weights(mixture_spectrogram: Mixtures) -> Float[Tensor, "B C F N"]:
    r"""How much each bin counts: its share of the magnitudes, :math:`|X| / \sum |X|`; zero for silence.

    Args:
        mixture_spectrogram: :math:`X`, complex, or its magnitudes.

    Gradient:
        None: how much a bin counts is not to be learned.

    Example:
        >>> magnitude_weights(torch.tensor([3.0, 1.0, 0.0]).view(1, 1, 1, 3)).flatten()
        tensor([0.7500, 0.2500, 0.0000])

    References:
        Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep clustering", ICASSP, 2018.
    """
    _check_mixture(mixture_spectrogram)
    return _shares(_magnitude(mixture_spectrogram))


def loud_bin_weights(mixture_spectrogram: Mixtures, threshold_db: float = 40.0) -> Float[Tensor, "B C F N"]:
    """The same weight for all bins but the soft ones, which have none; zero for silence.

    They add up to one. Soft bins matter as much as loud ones then, where they can be told from noise at all; prefer
    :func:`magnitude_weights` where the sources' level is what counts.

    Args:
        mixture_spectrogram: complex, or its magnitudes.
        threshold_db: by how much a bin is softer than the loudest of its item to have no weight.

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
    return _shares(loud.masked_fill(loudest.isnan(), torch.nan))


def _check_mixture(mixture_spectrogram: Tensor) -> None:
    if mixture_spectrogram.dim() != 4:
        got = tuple(mixture_spectrogram.shape)
        raise ValueError(f"mixture_spectrogram must have shape (B, C, F, N), got {got}")


def _magnitude(spectrogram: Tensor) -> Tensor:
    """Of a spectrogram, or what it is already; as a constant."""
    return magnitude(spectrogram.detach()) if spectrogram.is_complex() else spectrogram.detach()


def _shares(values: Float[Tensor, "B C F N"]) -> Float[Tensor, "B C F N"]:
    total = values.sum(_BINS, keepdim=True)
    return values / total.masked_fill(total == 0, 1.0)
