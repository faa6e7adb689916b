"""Training objectives: from a separator and a batch to a loss for each item.

An objective has access to both, so that one task serves networks with masks, with embeddings and with waveforms, and
classical separators with trainable hyper-parameters. All are small callables that a configuration can describe.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchsep import losses
from torchsep.checks import check_choice, check_number
from torchsep.configurable import registry_name
from torchsep.functional import magnitude, rms, source_images
from torchsep.separators import ClusteringSeparator, DeepMaskEstimation, MaskSeparator, Separator

__all__ = ["ChimeraObjective", "EmbeddingObjective", "MaskObjective", "Objective", "WaveformObjective"]

Batch = Mapping[str, Any]
Loss = Callable[[Tensor, Tensor], Tensor]

_WEIGHTS: dict[str, Callable[[Tensor], Tensor | None]] = {
    "magnitude": losses.magnitude_weights,
    "loud": losses.loud_bin_weights,
    "none": lambda _: None,
}


class Objective(ABC):
    """A training loss that is computed from a separator and a batch.

    A batch holds ``mixture (B, C, T)`` and ``sources (B, S, C, T)``. A subclass writes :meth:`__call__`; one that
    overrides :meth:`with_estimates` too makes validation run the separator once for each batch instead of twice.
    """

    @abstractmethod
    def __call__(self, separator: Any, batch: Batch, /) -> Tensor:
        """The losses ``(B,)``."""

    def with_estimates(self, separator: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses ``(B,)`` and the estimates ``(B, S, C, T)``."""
        return self(separator, batch), _estimates(separator, batch)


@dataclass(frozen=True)
class WaveformObjective(Objective):
    """The loss of the estimated waveforms, for any separator.

    Args:
        loss: of ``(estimates, sources)``, both ``(B, S, C, T)``.
    """

    loss: Loss = field(default_factory=lambda: losses.PermutationInvariant(losses.si_sdr_loss))

    def __call__(self, separator: Separator, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        return self.with_estimates(separator, batch)[0]

    def with_estimates(self, separator: Separator, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses ``(B,)`` and the estimates."""
        estimates = _estimates(separator, batch)
        return self.loss(estimates, batch["sources"]), estimates


@dataclass(frozen=True)
class MaskObjective(Objective):
    """The loss of the masked magnitudes, for mask separators; cheaper than that of waveforms.

    Args:
        loss: of ``(estimates, targets)``, both ``(B, S, C, F, N)``, normalised by the RMS magnitude of the mixture.
        target: target magnitudes: ``msa``, ``psa`` or ``tpsa``, see :func:`torchsep.losses.magnitude_target`.
    """

    loss: Loss = field(default_factory=lambda: losses.PermutationInvariant(losses.magnitude_l1_loss))
    target: str = "tpsa"

    def __call__(self, separator: MaskSeparator, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        spectrogram, masks = self._masks(separator, batch)
        return self.of_masks(separator, batch, spectrogram, masks)

    def with_estimates(self, separator: MaskSeparator, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses ``(B,)`` and the estimates."""
        spectrogram, masks = self._masks(separator, batch)
        found = self.of_masks(separator, batch, spectrogram, masks)
        return found, separator.apply_masks(masks, spectrogram, batch["mixture"])

    def of_masks(self, separator: MaskSeparator, batch: Batch, spectrogram: Tensor, masks: Tensor) -> Tensor:
        """The losses of given masks."""
        mixture = magnitude(spectrogram)
        level = rms(mixture)[:, None]
        targets = losses.magnitude_target(separator.stft(batch["sources"]), spectrogram[:, None], self.target)
        return self.loss(masks * mixture[:, None] / level, targets / level)

    def _masks(self, separator: MaskSeparator, batch: Batch) -> tuple[Tensor, Tensor]:
        _check_kind(separator, MaskSeparator, "masks")
        spectrogram = separator.stft(batch["mixture"])
        return spectrogram, separator.masks(spectrogram)


@dataclass(frozen=True)
class EmbeddingObjective(Objective):
    """The loss of the embedding of each bin given the dominant source of each bin, for clustering separators.

    Args:
        loss: ``deep_clustering`` or ``whitened_kmeans``, see :mod:`torchsep.losses`.
        weights: of the bins: ``magnitude`` of the mixture, ``loud`` for equal weights of the bins within 40 dB of the
            loudest, or ``none``.
    """

    loss: str = "deep_clustering"
    weights: str = "magnitude"

    def __post_init__(self) -> None:
        check_choice(self.loss, ("deep_clustering", "whitened_kmeans"), "loss")
        check_choice(self.weights, tuple(_WEIGHTS), "weights")

    def __call__(self, separator: ClusteringSeparator, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        spectrogram, features = self._features(separator, batch)
        return self.of_features(separator, batch, spectrogram, features)

    def with_estimates(self, separator: ClusteringSeparator, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses ``(B,)`` and the estimates."""
        spectrogram, features = self._features(separator, batch)
        found = self.of_features(separator, batch, spectrogram, features)
        masks = separator.masks_of_features(features, spectrogram)
        return found, separator.apply_masks(masks, spectrogram, batch["mixture"])

    def of_features(self, separator: MaskSeparator, batch: Batch, spectrogram: Tensor, features: Tensor) -> Tensor:
        """The losses of a given embedding."""
        assignments = losses.ideal_assignments(separator.stft(batch["sources"]))
        weights = _WEIGHTS[self.weights](spectrogram)
        loss = losses.deep_clustering_loss if self.loss == "deep_clustering" else losses.whitened_kmeans_loss
        return loss(features, assignments, weights)

    def _features(self, separator: ClusteringSeparator, batch: Batch) -> tuple[Tensor, Tensor]:
        _check_kind(separator, ClusteringSeparator, "an embedding")
        spectrogram = separator.stft(batch["mixture"])
        return spectrogram, separator.features(spectrogram)


@dataclass(frozen=True)
class ChimeraObjective(Objective):
    """Both losses of a network with masks and an embedding (multi-task training).

    Args:
        embedding_weight: from 0 to 1, of the embedding's loss; the masks' loss has the complementary weight.
        embedding: loss of the embedding.
        signal: loss of the masked mixture, as waveforms, or as magnitudes by a :class:`MaskObjective`.
    """

    embedding_weight: float = 0.5
    embedding: EmbeddingObjective = field(default_factory=EmbeddingObjective)
    signal: WaveformObjective | MaskObjective = field(default_factory=MaskObjective)

    def __post_init__(self) -> None:
        check_number(self.embedding_weight, "embedding_weight", at_least=0.0, at_most=1.0)

    def __call__(self, separator: DeepMaskEstimation, batch: Batch) -> Tensor:
        """The losses ``(B,)``."""
        spectrogram, masks, features = self._outputs(separator, batch)
        if isinstance(self.signal, MaskObjective):
            signal = self.signal.of_masks(separator, batch, spectrogram, masks)
        else:
            signal = self.signal.loss(separator.apply_masks(masks, spectrogram, batch["mixture"]), batch["sources"])
        return self._weighted(self.embedding.of_features(separator, batch, spectrogram, features), signal)

    def with_estimates(self, separator: DeepMaskEstimation, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses ``(B,)`` and the estimates."""
        spectrogram, masks, features = self._outputs(separator, batch)
        estimates = separator.apply_masks(masks, spectrogram, batch["mixture"])
        if isinstance(self.signal, MaskObjective):
            signal = self.signal.of_masks(separator, batch, spectrogram, masks)
        else:
            signal = self.signal.loss(estimates, batch["sources"])
        return self._weighted(self.embedding.of_features(separator, batch, spectrogram, features), signal), estimates

    def _weighted(self, embedding: Tensor, signal: Tensor) -> Tensor:
        return self.embedding_weight * embedding + (1 - self.embedding_weight) * signal

    def _outputs(self, separator: DeepMaskEstimation, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        _check_kind(separator, DeepMaskEstimation, "masks and an embedding")
        spectrogram = separator.stft(batch["mixture"])
        return spectrogram, *separator.masks_and_features(spectrogram)


def _estimates(separator: Separator, batch: Batch) -> Tensor:
    required = {name: batch[name] for name in separator.requires}
    return source_images(separator(batch["mixture"], **required), batch["mixture"])


def _check_kind(separator: Separator, kind: type, gives: str) -> None:
    """Raise unless a separator is of a kind; the message names what such separators give."""
    if not isinstance(separator, kind):
        raise ValueError(f"objective needs a separator with {gives}, got {registry_name(type(separator))}")
