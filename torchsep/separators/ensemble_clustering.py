"""Ensemble clustering: separation by clustering the masks of several separators."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.configurable import registry_name
from torchsep.functional.images import source_images
from torchsep.functional.magnitude import magnitude
from torchsep.functional.masks import clipped_ratio_masks
from torchsep.separators.bases.clustering_separator import ClusteringOptions, ClusteringSeparator
from torchsep.separators.bases.mask_separator import MaskSeparator
from torchsep.separators.bases.separator import Separator
from torchsep.typing import Features, Spectrogram, Waveform

__all__ = ["EnsembleClustering"]


class EnsembleClustering(ClusteringSeparator):
    """Ensemble clustering: cluster bins by the masks of several separators.

    The features of a bin are its weighted values in the masks of all separators. Methods with different errors are
    jointly better than most of them alone. The separators, which may be ensembles as well, are submodules and are moved
    and trained with the ensemble.

    In a cascade, all separators are applied again to the estimates of all separators; the features are the ratios of
    the last estimates to the mixture.

    Args:
        separators: separators that require only the mixture, with the same sample rate; or their configs or names.
        weights: weight of the masks of each separator; all one if None.
        source_indices: for each separator, indices of the sources to use, counted from 0; all if None.
        num_cascades: number of times that the separators are applied in cascade; 1 applies them to the mixture only.
        extracted_feature: ``masks`` of mask separators with the front end of the ensemble; or ``estimates``, the ratio
            of each estimate's magnitude to the mixture's, for any separators. If None, masks where all have such masks.
        num_sources: number of clusters, at least two.
        options: arguments of :class:`ClusteringSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Gradient:
        Exact with respect to the mixture and the separators, with the cluster assignment of k-means held fixed.

    Example:
        >>> from torchsep.separators import FT2D, HPSS
        >>> parts = [HPSS(sample_rate=8000), FT2D(sample_rate=8000)]
        >>> ensemble = EnsembleClustering(parts, source_indices=[[0], [0, 1]], sample_rate=8000)
        >>> ensemble(torch.ones(1, 4000)).shape
        torch.Size([2, 1, 4000])

    References:
        P. Seetharaman and B. Pardo, "Simultaneous separation and segmentation in layered music", ISMIR, 2016;
        E. Manilow, P. Seetharaman, F. Pishdadian and B. Pardo, "Predicting algorithm efficacy for adaptive
        multi-cue source separation", WASPAA, 2017.
    """

    def __init__(
        self,
        separators: Sequence[Separator],
        weights: Sequence[float] | None = None,
        source_indices: Sequence[Sequence[int]] | None = None,
        num_cascades: int = 1,
        extracted_feature: str | None = None,
        num_sources: int = 2,
        **options: Unpack[ClusteringOptions],
    ) -> None:
        super().__init__(num_sources, **options)
        if extracted_feature is not None:
            check_choice(extracted_feature, ("masks", "estimates"), "extracted_feature")
        check_integer(num_cascades, "num_cascades", at_least=1)
        parts = list(separators) if isinstance(separators, (Sequence, nn.ModuleList)) else []
        if not parts or not all(isinstance(part, Separator) for part in parts):
            raise ValueError(f"separators must be a list of separators, got {separators!r}")
        for part in parts:
            _check_part(part, self.sample_rate)
        reasons = [reason for reason in (_why_no_masks(part, self) for part in parts) if reason is not None]
        if extracted_feature == "masks" and reasons:
            raise ValueError(f"{reasons[0]}; or set extracted_feature='estimates'")
        self._uses_masks = extracted_feature != "estimates" and not reasons
        _check_weights(weights, parts)
        _check_source_indices(source_indices, parts)
        self.separators = nn.ModuleList(parts)
        self.weights = weights
        self.source_indices = source_indices
        self.num_cascades = num_cascades
        self.extracted_feature = extracted_feature
        self.channels = next((part.channels for part in parts if part.channels is not None), None)

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The mask values of each bin, one feature for each selected source."""
        if self._uses_masks:
            masks, counts = self._cascaded_masks(spectrogram)
        else:
            # The longest signal with this number of centred frames.
            length = (spectrogram.shape[-1] - 1) * self.stft.hop_length
            estimates, counts = self._estimates(self.stft.inverse(spectrogram, length))
            masks = clipped_ratio_masks(magnitude(self.stft(estimates)), magnitude(spectrogram))
        if self.weights is not None:
            repeated = [weight for weight, count in zip(self.weights, counts, strict=True) for _ in range(count)]
            weights = torch.tensor(repeated, dtype=masks.dtype, device=masks.device)
            masks = masks * weights.repeat(masks.shape[1] // len(weights))[:, None, None, None]
        return masks.movedim(1, -1)

    def _cascaded_masks(self, spectrogram: Spectrogram) -> tuple[Float[Tensor, "B D C F N"], list[int]]:
        """The masks of all separators, in a cascade the products of successive masks; and their number for each."""
        given, products = spectrogram[:, None], spectrogram.real.new_ones(1, 1, 1, 1, 1)
        for _ in range(self.num_cascades):
            leading = given.shape[:2]
            masks = [
                part.final_masks(given.flatten(0, 1))[:, indices].expand(-1, -1, given.shape[2], -1, -1)
                for part, indices in self._selected()
            ]
            new = torch.cat(masks, 1).unflatten(0, leading)
            given = (new * given[:, :, None]).flatten(1, 2)
            products = (new * products[:, :, None]).flatten(1, 2)
        return products, [mask.shape[1] for mask in masks]

    def _estimates(self, mixture: Waveform) -> tuple[Float[Tensor, "B D C T"], list[int]]:
        """The estimates of all separators, in a cascade those of the previous estimates; and their number for each."""
        signals = mixture[:, None]
        for _ in range(self.num_cascades):
            leading = signals.shape[:2]
            given = signals.flatten(0, 1)
            estimates = [source_images(part(given), given)[:, indices] for part, indices in self._selected()]
            signals = torch.cat(estimates, 1).unflatten(0, leading).flatten(1, 2)
        return signals, [estimate.shape[1] for estimate in estimates]

    def _selected(self) -> list[tuple[Any, list[int] | slice]]:
        """The separators, each with the indices of its selected sources."""
        parts: list[Any] = list(self.separators)
        if self.source_indices is None:
            return [(part, slice(None)) for part in parts]
        return [(part, list(indices)) for part, indices in zip(parts, self.source_indices, strict=True)]


def _check_part(part: Separator, sample_rate: int) -> None:
    name = registry_name(type(part))
    if part.requires:
        raise ValueError(f"separators must require only the mixture, got {name}, which requires {part.requires[0]}")
    if part.sample_rate != sample_rate:
        raise ValueError(f"separators must have sample_rate={sample_rate}, got {name} with {part.sample_rate}")


def _why_no_masks(part: Separator, whole: ClusteringSeparator) -> str | None:
    """Why a separator has no masks for the spectrogram of an ensemble; None if it has."""
    name = registry_name(type(part))
    if not isinstance(part, MaskSeparator):
        return f"separators must have masks, got {name}"
    if part.stft.config != whole.stft.config:
        return f"separators must have the front end {whole.stft}, got {name} with {part.stft}"
    return None


def _check_weights(weights: Sequence[float] | None, parts: Sequence[Separator]) -> None:
    if weights is None:
        return
    if len(weights) != len(parts):
        raise ValueError(f"weights must be {len(parts)} numbers, one for each separator, got {weights!r}")
    for weight in weights:
        check_number(weight, "weights", at_least=0.0)
    if not any(weights):
        raise ValueError(f"weights must include one above 0, got {weights!r}")


def _check_source_indices(source_indices: Sequence[Sequence[int]] | None, parts: Sequence[Separator]) -> None:
    if source_indices is None:
        return
    if len(source_indices) != len(parts) or not all(source_indices):
        raise ValueError(f"source_indices must be {len(parts)} lists, one for each separator, got {source_indices!r}")
    for part, indices in zip(parts, source_indices, strict=True):
        for index in indices:
            check_integer(index, "source_indices", at_least=0)
            if part.names and index >= len(part.names):
                name = registry_name(type(part))
                raise ValueError(f"source_indices must be below {len(part.names)} for {name}, got {index}")
