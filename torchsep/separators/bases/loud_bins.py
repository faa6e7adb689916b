"""The loudest time-frequency bins of a mixture, and the confidence in their clustering."""

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_choice, check_mixture, check_number
from torchsep.functional.clustering.confidence import CONFIDENCES
from torchsep.functional.magnitude import magnitude
from torchsep.separators.bases.mask_separator import MaskSeparator
from torchsep.typing import Features, Spectrogram, Waveform

__all__ = ["clustering_confidence", "loud_points"]


def loud_points(
    features: Features, spectrogram: Spectrogram, percentile: float, at_least: int
) -> tuple[Float[Tensor, "B P D"], Float[Tensor, "B P"]]:
    """The features of the loudest bins, in the order of their positions, and the power of these bins.

    Args:
        features: feature vector of every bin.
        spectrogram: spectrogram of the mixture.
        percentile: percentile of the power at or above which bins are returned.
        at_least: minimum number of bins, if there are that many.
    """
    points = features.flatten(1, 3)
    power = magnitude(spectrogram.detach()).square()
    if features.shape[1] == 1:
        power = power.sum(1, keepdim=True)
    loudness = power.flatten(1)
    count = loudness.shape[1]
    kept = min(count, max(at_least, count - int(count * percentile / 100)))
    if kept == count:
        return points, loudness
    loudest: Int[Tensor, "B P"] = loudness.topk(kept, sorted=False).indices.sort().values
    return points.gather(1, loudest[..., None].expand(-1, -1, points.shape[-1])), loudness.gather(1, loudest)


def clustering_confidence(
    separator: MaskSeparator,
    mixture: Waveform,
    approach: str,
    threshold: float,
    features: Callable[[Spectrogram], Features],
    assign: Callable[[Tensor, Tensor], Tensor],
    n_clusters: int,
) -> Float[Tensor, " B"]:
    """The confidence in a clustering of the loudest bins of each mixture.

    Args:
        separator: separator, for its front end and number of channels.
        mixture: ``(B, C, T)`` or ``(C, T)``.
        approach: name of a measure, see :mod:`torchsep.functional.clustering.confidence`.
        threshold: percentile of power at or above which bins are used.
        features: gives the features of the bins of a spectrogram.
        assign: gives the posteriors of the clusters from points ``(B, P, D)`` and their power ``(B, P)``.
        n_clusters: number of clusters.
    """
    check_choice(approach, tuple(CONFIDENCES), "approach")
    check_number(threshold, "threshold", at_least=0.0, at_most=100.0)
    check_mixture(mixture, separator.channels)
    batched = mixture.dim() == 3
    spectrogram = separator.stft(mixture if batched else mixture[None])
    points, power = loud_points(features(spectrogram), spectrogram, threshold, n_clusters)
    confidence = CONFIDENCES[approach](points, assign(points, power), power)
    return confidence if batched else confidence[0]
