"""The base class of separators that cluster time-frequency bins."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Unpack, final

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_boolean, check_choice, check_integer, check_mixture, check_number, check_required
from torchsep.functional.clustering.gaussian_mixture import COVARIANCE_TYPES, fit_gaussian_mixture, responsibilities
from torchsep.functional.clustering.kmeans import kmeans, minibatch_kmeans, soft_assignment
from torchsep.separators.bases.clusterer_options import CLUSTERING_TYPES, clusterer_options
from torchsep.separators.bases.initial_clusters import centres_like, mixture_like, plain_clusters
from torchsep.separators.bases.loud_bins import clustering_confidence, loud_points
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.separators.bases.source_names import numbered_names
from torchsep.typing import Estimates, Features, Masks, Spectrogram, Waveform

__all__ = ["ClusteringOptions", "ClusteringSeparator"]


class ClusteringOptions(MaskOptions, total=False):
    """Keyword arguments of :class:`ClusteringSeparator`, which subclasses pass on."""

    clustering_type: str
    percentile: float
    beta: float
    covariance_type: str
    fit_clusterer: bool
    init: Any
    clusterer: Mapping[str, Any] | None
    seed: int


class ClusteringSeparator(MaskSeparator):
    r"""Separate by clustering time-frequency bins, with one cluster per source.

    A subclass writes :meth:`features`, the feature vector of every bin. The clusters are fitted to the loudest bins of
    all channels jointly. The masks of k-means are a softmax over the distances to the centres,

    .. math::
        M_k = \frac{e^{-\beta \lVert x - c_k \rVert}}{\sum_j e^{-\beta \lVert x - c_j \rVert}},

    and those of a Gaussian mixture are its posterior probabilities.

    Args:
        num_sources: number of clusters, at least two.
        clustering_type: ``kmeans``, ``minibatch_kmeans`` or ``gaussian_mixture``.
        percentile: percentile of the power, from 0 to less than 100; clusters are fitted to the bins at or above it.
        beta: inverse temperature of the k-means masks; at zero all masks are equal.
        covariance_type: covariance type of the Gaussian mixture: ``full``, ``tied``, ``diag`` or ``spherical``.
        fit_clusterer: whether clusters are fitted to each mixture; otherwise those of ``init`` are used unchanged.
        init: initial (or fixed) clusters: centres ``(num_sources, D)``; for a Gaussian mixture a mapping of
            ``weights``, ``means`` and ``covariances``; or a fitted ``KMeans``, ``MiniBatchKMeans`` or
            ``GaussianMixture`` of scikit-learn. Chosen from the features if None.
        clusterer: options of the clusterer: ``n_init``, ``max_iter`` and ``tol``; for ``minibatch_kmeans`` also
            ``batch_size``; for ``gaussian_mixture`` also ``reg_covar``. They are those of
            :func:`torchsep.functional.kmeans`, :func:`torchsep.functional.minibatch_kmeans` and
            :func:`torchsep.functional.fit_gaussian_mixture`, with the defaults given there.
        seed: seed of the random initialisation, which is the same for every item.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Gradient:
        Exact with respect to the features, including through the fitted centres or Gaussian mixture, with the cluster
        assignment of k-means held fixed.
    """

    def __init__(
        self,
        num_sources: int = 2,
        *,
        clustering_type: str = "kmeans",
        percentile: float = 90.0,
        beta: float = 5.0,
        covariance_type: str = "full",
        fit_clusterer: bool = True,
        init: Any = None,
        clusterer: Mapping[str, Any] | None = None,
        seed: int = 0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        check_integer(num_sources, "num_sources", at_least=2)
        check_choice(clustering_type, CLUSTERING_TYPES, "clustering_type")
        check_number(percentile, "percentile", at_least=0.0, below=100.0)
        check_number(beta, "beta", at_least=0.0)
        check_boolean(fit_clusterer, "fit_clusterer")
        check_choice(covariance_type, COVARIANCE_TYPES, "covariance_type")
        check_integer(seed, "seed", at_least=0)
        self.num_sources = num_sources
        self.clustering_type = clustering_type
        self.percentile = percentile
        self.beta = beta
        self.covariance_type = covariance_type
        self.fit_clusterer = fit_clusterer
        self.init = plain_clusters(
            init, num_sources, covariance_type if clustering_type == "gaussian_mixture" else None
        )
        self.seed = seed
        self.names = numbered_names(num_sources)
        if not fit_clusterer and init is None:
            raise ValueError("init must be given where fit_clusterer is False, got None")
        self.clusterer = clusterer_options(
            clusterer, clustering_type, is_fitted=fit_clusterer, has_init=init is not None
        )

    @abstractmethod
    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The feature vector of every bin ``(B, C, F, N, D)``, or ``(B, 1, F, N, D)`` if shared by all channels."""

    @final
    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The masks of the clusters fitted to the loudest bins."""
        return self.masks_of_features(self.features(spectrogram, **required), spectrogram)

    @final
    def masks_of_features(self, features: Features, spectrogram: Spectrogram) -> Masks:
        """The masks of the clusters of given features: the steps of :meth:`masks` after :meth:`features`.

        Args:
            features: feature vector of every bin.
            spectrogram: spectrogram of the mixture, which determines the loudest bins.
        """
        batch, channels, bins, frames, _ = features.shape
        loud = loud_points(features, spectrogram, self.percentile, self.num_sources)
        assigned = self._assign(features.flatten(1, 3), loud)
        return assigned.mT.reshape(batch, self.num_sources, channels, bins, frames)

    @final
    def separate_features(self, mixture: Waveform, features: Features) -> Estimates:
        """The estimates from given features, computed by the caller instead of :meth:`features`.

        Args:
            mixture: ``(B, C, T)`` or ``(C, T)``.
            features: feature vector of every bin of ``stft(mixture)``: ``(B, C, F, N, D)``, or ``(B, 1, F, N, D)`` if
                shared by all channels; without ``B`` for a mixture ``(C, T)``.

        Returns:
            ``(B, num_sources, C, T)`` or ``(num_sources, C, T)``.

        Raises:
            TypeError: if the mixture or the features are no tensor.
            ValueError: if they have a wrong shape.
        """
        check_mixture(mixture, self.channels)
        if not isinstance(features, Tensor):
            raise TypeError(f"features must be a tensor, got {type(features).__name__}")
        if mixture.dim() == 2:
            return self.separate_features(mixture[None], features[None])[0]
        whole = mixture if mixture.dtype == torch.float64 else mixture.float()
        spectrogram = self.stft(whole)
        batch, channels, *bins_and_frames = spectrogram.shape
        shape = tuple(features.shape)
        if len(shape) != 5 or shape[:4] not in [(batch, count, *bins_and_frames) for count in (channels, 1)]:
            wanted = f"({', '.join(map(str, spectrogram.shape))}, D), or one channel for all"
            raise ValueError(f"features must have shape {wanted}, got {shape}")
        masks = self.masks_of_features(features.to(whole), spectrogram)
        return self.apply_masks(masks, spectrogram, whole).to(mixture.dtype)

    def confidence(
        self, mixture: Waveform, approach: str = "silhouette", threshold: float = 95.0, **required: Tensor
    ) -> Float[Tensor, " B"]:
        """The confidence in the clustering of each mixture, a predictor of quality that needs no true sources.

        Args:
            mixture: ``(B, C, T)`` or ``(C, T)``.
            approach: ``silhouette``, ``posterior``, ``loudness``, ``whitened_kmeans``, ``dpcl_classic`` or
                ``jensen_shannon``; see :mod:`torchsep.functional.clustering.confidence`.
            threshold: percentile of power at or above which bins are used.
            required: the tensors named in ``requires``.
        """
        check_mixture(mixture, self.channels)
        check_required(required, self.requires, tuple(mixture.shape))
        ready = {name: tensor if mixture.dim() == 3 else tensor[None] for name, tensor in required.items()}
        return clustering_confidence(
            self,
            mixture,
            approach,
            threshold,
            features=lambda spectrogram: self.features(spectrogram, **ready),
            assign=lambda points, power: self._assign(points, (points, power)),
            n_clusters=self.num_sources,
        )

    def _assign(self, points: Tensor, loud: tuple[Tensor, Tensor]) -> Float[Tensor, "B P K"]:
        """The soft assignment of each point to the clusters fitted to the loud points."""
        fitted, power = loud
        weights = (power > 0).to(fitted.dtype)
        if self.clustering_type == "gaussian_mixture":
            # Collinear features, such as masks that sum to one, make covariances nearly singular: double precision.
            whole, some = points.double(), fitted.double()
            mixture = mixture_like(self.init, some, self.covariance_type)
            if self.fit_clusterer or mixture is None:
                mixture = fit_gaussian_mixture(
                    some,
                    self.num_sources,
                    covariance_type=self.covariance_type,
                    weights=weights.double(),
                    init=mixture,
                    seed=self.seed,
                    **(self.clusterer or {}),
                )
            return responsibilities(whole, mixture).to(points.dtype)
        centres = centres_like(self.init, fitted)
        if self.fit_clusterer or centres is None:
            fit = kmeans if self.clustering_type == "kmeans" else minibatch_kmeans
            options = self.clusterer or {}
            centres = fit(fitted, self.num_sources, weights=weights, init=centres, seed=self.seed, **options).centres
        return soft_assignment(points, centres, self.beta)
