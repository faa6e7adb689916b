"""Separation by clustering what other separators make of every bin."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.configurable import registry_name
from torchsep.functional.magnitude import magnitude
from torchsep.functional.masks import clipped_ratio_masks
from torchsep.separators.bases.clustering_separator import ClusteringOptions, ClusteringSeparator
from torchsep.separators.bases.mask_separator import MaskSeparator
from torchsep.separators.bases.separator import Separator
from torchsep.typing import Features, Spectrogram, Waveform

__all__ = ["EnsembleClustering"]


class EnsembleClustering(ClusteringSeparator):
    """Separate by the agreement of other separators: bins that they treat alike are of one source.

    The features of a bin are its values in the masks of all separators, weighted, which are then clustered. Methods
    that each fail in their own way are together better than most of them alone. Separators may be of any kind, other
    ensembles too, and are submodules: they move and learn with the ensemble.

    In a cascade every separator also runs on the estimates of all of them, and so on; the features are then the
    shares of the last estimates in the mixture.

    Args:
        separators: that need nothing but the mixture, all of this sample rate; or their configs or names.
        weights: one number for each separator, by which its masks count; all one if None.
        source_indices: for each separator, which of its sources count, numbered from 0; all if None.
        num_cascades: how often the separators run on what they gave; 1 for once, on the mixture.
        extracted_feature: ``masks`` of separators that have them, of the front end of the ensemble; or ``estimates``,
            the share of each in the mixture's magnitude, of any separators.
        num_sources: number of clusters, at least two.
        options: arguments of :class:`ClusteringSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Gradient:
        Exact into the mixture and the separators, for the assignment of bins that k-means found, which is held.

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
        extracted_feature: str = "masks",
        num_sources: int = 2,
        **options: Unpack[ClusteringOptions],
    ) -> None:
        super().__init__(num_sources, **options)
        check_choice(extracted_feature, ("masks", "estimates"), "extracted_feature")
        check_integer(num_cascades, "num_cascades", at_least=1)
        parts = list(separators) if isinstance(separators, (Sequence, nn.ModuleList)) else []
        if not parts or not all(isinstance(part, Separator) for part in parts):
            raise ValueError(f"separators must be a list of separators, got {separators!r}")
        for part in parts:
            _check_part(part, self, extracted_feature)
        _check_weights(weights, parts)
        _check_returns(source_indices, parts)
        self.separators = nn.ModuleList(parts)
        self.weights = weights
        self.source_indices = source_indices
        self.num_cascades = num_cascades
        self.extracted_feature = extracted_feature
        self.channels = next((part.channels for part in parts if part.channels is not None), None)

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """What each separator makes of each bin, one feature for each source that counts."""
        if self.extracted_feature == "masks":
            shares = self._shares_by_masks(spectrogram)
        else:
            # Frames are centred, so that a signal of this length has as many, and all of what was transformed.
            length = (spectrogram.shape[-1] - 1) * self.stft.hop_length
            estimates = self._estimates(self.stft.inverse(spectrogram, length))
            shares = clipped_ratio_masks(magnitude(self.stft(estimates)), magnitude(spectrogram))
        if self.weights is not None:
            counted = [
                weight for weight, (_, numbers) in zip(self.weights, self._counted(), strict=True) for _ in numbers
            ]
            weights = torch.tensor(counted, dtype=shares.dtype, device=shares.device)
            shares = shares * weights.repeat(shares.shape[1] // len(weights))[:, None, None, None]
        return shares.movedim(1, -1)

    def _shares_by_masks(self, spectrogram: Spectrogram) -> Float[Tensor, "B D C F N"]:
        """The masks of all separators; in a cascade, times those of what was masked."""
        given, shares = spectrogram[:, None], spectrogram.real.new_ones(1, 1, 1, 1, 1)
        for _ in range(self.num_cascades):
            several = given.shape[:2]
            masks = [
                part.final_masks(given.flatten(0, 1))[:, numbers].expand(-1, -1, given.shape[2], -1, -1)
                for part, numbers in self._counted()
            ]
            new = torch.cat(masks, 1).unflatten(0, several)
            given = (new * given[:, :, None]).flatten(1, 2)
            shares = (new * shares[:, :, None]).flatten(1, 2)
        return shares

    def _estimates(self, mixture: Waveform) -> Float[Tensor, "B D C T"]:
        """The estimates of all separators; in a cascade, from estimates."""
        signals = mixture[:, None]
        for _ in range(self.num_cascades):
            several = signals.shape[:2]
            estimates = [part(signals.flatten(0, 1))[:, numbers] for part, numbers in self._counted()]
            signals = torch.cat(estimates, 1).unflatten(0, several).flatten(1, 2)
        return signals

    def _counted(self) -> list[tuple[Any, list[int]]]:
        """The separators, each with the numbers of its sources that count."""
        parts: list[Any] = list(self.separators)
        source_indices = self.source_indices or [range(len(part.names)) for part in parts]
        return [(part, list(numbers)) for part, numbers in zip(parts, source_indices, strict=True)]


def _check_part(part: Separator, whole: ClusteringSeparator, extracted_feature: str) -> None:
    name = registry_name(type(part))
    if part.requires:
        raise ValueError(f"separators must need nothing but the mixture, got {name}, which needs {part.requires[0]}")
    if part.sample_rate != whole.sample_rate:
        raise ValueError(f"separators must have sample_rate={whole.sample_rate}, got {name} of {part.sample_rate}")
    if extracted_feature == "masks":
        if not isinstance(part, MaskSeparator):
            raise ValueError(f"separators must have masks, got {name}; or give extracted_feature='estimates'")
        if part.stft.config != whole.stft.config:
            raise ValueError(
                f"separators must have the front end {whole.stft}, got {name} with {part.stft}; "
                f"or give extracted_feature='estimates'"
            )


def _check_weights(weights: Sequence[float] | None, parts: Sequence[Separator]) -> None:
    if weights is None:
        return
    if len(weights) != len(parts):
        raise ValueError(f"weights must be {len(parts)} numbers, one for each separator, got {weights!r}")
    for weight in weights:
        check_number(weight, "weights", at_least=0.0)


def _check_returns(source_indices: Sequence[Sequence[int]] | None, parts: Sequence[Separator]) -> None:
    if source_indices is None:
        return
    if len(source_indices) != len(parts) or not all(source_indices):
        raise ValueError(f"source_indices must be {len(parts)} lists, one for each separator, got {source_indices!r}")
    for part, numbers in zip(parts, source_indices, strict=True):
        for number in numbers:
            check_integer(number, "source_indices", at_least=0)
            if number >= len(part.names):
                name = registry_name(type(part))
                raise ValueError(f"source_indices must be below {len(part.names)} for {name}, got {number}")
