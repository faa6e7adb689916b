"""What a separator is trained for: from a separator and a batch to a loss for each item.

An objective sees both, so that one task serves networks with masks, with embeddings and with waveforms, and classical
separators whose hyper-parameters are learned. All are small callables that a configuration can describe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from torchsep import losses
from torchsep.checks import check_choice, check_number
from torchsep.configurable import registry_name
from torchsep.functional.magnitude import magnitude, rms
from torchsep.separators import ClusteringSeparator, DeepMaskEstimation, MaskSeparator, Separator

__all__ = ["ChimeraObjective", "EmbeddingObjective", "MaskObjective", "Objective", "WaveformObjective"]

Batch = Mapping[str, Any]
Loss = Callable[[Tensor, Tensor], Tensor]

_WEIGHTS: dict[str, Callable[[Tensor], Tensor | None]] = {
    "magnitude": losses.magnitude_weights,
    "loud": losses.loud_bin_weights,
    "none": lambda _: None,
}


class Objective(Protocol):
    """From a separator and a batch with ``mixture (B, C, T)`` and ``sources (B, S, C, T)`` to a loss for each item."""

    def __call__(self, separator: Separator, batch: Batch, /) -> Tensor:
        """The losses ``(B,)``."""
        ...


@dataclass(frozen=True)
class WaveformObjective:
    """The loss of the estimated waveforms, for any separator.

    Args:
        loss: of ``(estimates, sources)``, both ``(B, S, C, T)``.
    """

    loss: Loss = field(default_factory=lambda: losses.PermutationInvariant(losses.si_sdr_loss))

    def __call__(self, separator: Separator, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        required = {name: batch[name] for name in separator.requires}
        return self.loss(separator(batch["mixture"], **required), batch["sources"])


@dataclass(frozen=True)
class MaskObjective:
    """The loss of the masked magnitudes, for a separator by masks: cheaper than that of waveforms.

    Args:
        loss: of ``(estimates, targets)``, both ``(B, S, C, F, N)``, at one level.
        target: magnitudes that the masks shall leave: ``msa``, ``psa`` or ``tpsa``, see
            :func:`torchsep.losses.magnitude_target`.
    """

    loss: Loss = field(default_factory=lambda: losses.PermutationInvariant(losses.magnitude_l1_loss))
    target: str = "tpsa"

    def __call__(self, separator: MaskSeparator, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        _check_kind(separator, MaskSeparator, "masks")
        spectrogram = separator.stft(batch["mixture"])
        return self.of_masks(separator, batch, spectrogram, separator.masks(spectrogram))

    def of_masks(self, separator: MaskSeparator, batch: Batch, spectrogram: Tensor, masks: Tensor) -> Tensor:
        """The losses of masks that are known."""
        heard = magnitude(spectrogram)
        level = rms(heard)[:, None]
        wanted = losses.magnitude_target(separator.stft(batch["sources"]), spectrogram[:, None], self.target)
        return self.loss(masks * heard[:, None] / level, wanted / level)


@dataclass(frozen=True)
class EmbeddingObjective:
    """The loss of the vectors of bins against which source is loudest in each, for separators that cluster.

    Args:
        loss: ``deep_clustering`` or ``whitened_kmeans``, see :mod:`torchsep.losses`.
        weights: of the bins: ``magnitude`` of the mixture, ``loud`` for those within 40 dB of the loudest alone, or
            ``none``.
    """

    loss: str = "deep_clustering"
    weights: str = "magnitude"

    def __post_init__(self) -> None:
        check_choice(self.loss, ("deep_clustering", "whitened_kmeans"), "loss")
        check_choice(self.weights, tuple(_WEIGHTS), "weights")

    def __call__(self, separator: ClusteringSeparator, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        _check_kind(separator, ClusteringSeparator, "an embedding")
        spectrogram = separator.stft(batch["mixture"])
        return self.of_features(separator, batch, spectrogram, separator.features(spectrogram))

    def of_features(self, separator: MaskSeparator, batch: Batch, spectrogram: Tensor, features: Tensor) -> Tensor:
        """The losses of an embedding that is known."""
        owners = losses.ideal_assignments(separator.stft(batch["sources"]))
        weights = _WEIGHTS[self.weights](spectrogram)
        loss = losses.deep_clustering_loss if self.loss == "deep_clustering" else losses.whitened_kmeans_loss
        return loss(features, owners, weights)


@dataclass(frozen=True)
class ChimeraObjective:
    """Both losses of a network with masks and an embedding, which teaches the body what belongs together.

    Args:
        embedding_weight: from 0 to 1, of the embedding's loss; the rest is of what the masks give.
        embedding: loss of the embedding.
        signal: loss of what the masks give, as waveforms, or as magnitudes by a :class:`MaskObjective`.
    """

    embedding_weight: float = 0.5
    embedding: EmbeddingObjective = field(default_factory=EmbeddingObjective)
    signal: WaveformObjective | MaskObjective = field(default_factory=MaskObjective)

    def __post_init__(self) -> None:
        check_number(self.embedding_weight, "embedding_weight", at_least=0.0, at_most=1.0)

    def __call__(self, separator: DeepMaskEstimation, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        _check_kind(separator, DeepMaskEstimation, "masks and an embedding")
        spectrogram = separator.stft(batch["mixture"])
        masks, features = separator.masks_and_features(spectrogram)
        apart = self.embedding.of_features(separator, batch, spectrogram, features)
        if isinstance(self.signal, MaskObjective):
            heard = self.signal.of_masks(separator, batch, spectrogram, masks)
        else:
            estimates = separator.stft.inverse(spectrogram[:, None], batch["mixture"].shape[-1], masks)
            heard = self.signal.loss(estimates, batch["sources"])
        return self.embedding_weight * apart + (1 - self.embedding_weight) * heard


def _check_kind(separator: Separator, kind: type[Any], what: str) -> None:
    if not isinstance(separator, kind):
        name = registry_name(type(separator))
        raise ValueError(f"objective must suit the separator, got one of {what} for {name}")
