"""Timbre clustering: separation by the MFCCs of NMF components."""

from typing import Unpack

from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.functional.magnitude import magnitude
from torchsep.functional.mel import N_MELS, normalized_mfcc
from torchsep.functional.nmf._init import STARTS
from torchsep.functional.nmf.components import mean_component_features
from torchsep.functional.nmf.nmf import check_nmf, concatenate_channels, fit_nmf, split_channels
from torchsep.separators.bases.clustering_separator import ClusteringOptions, ClusteringSeparator
from torchsep.typing import Features, Spectrogram

__all__ = ["TimbreClustering"]


class TimbreClustering(ClusteringSeparator):
    """Timbre clustering: separate by clustering bins by the MFCCs of the NMF components in them.

    The spectrogram is factorised by NMF. The timbre of a component is described by the MFCCs of its template, and that
    of a bin by their mean, weighted by the components' contributions. All channels share templates and clusters. It
    suits sources with different timbre, independent of what they play.

    Args:
        num_sources: number of clusters, at least two.
        n_components: number of NMF components, at least two.
        n_mfcc: number of mel-frequency cepstral coefficients, from 2 to 128; they are normalised, so a single one would
            not differ.
        beta_loss: divergence of the factorisation: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or a number.
        max_iter: maximum number of updates of the factorisation.
        tol: tolerance of the factorisation, see :func:`torchsep.functional.fit_nmf`.
        l1_ratio: proportion of the L1 penalty of the factorisation, from 0 to 1; the rest is an L2 penalty.
        alpha: weight of the penalties, for a spectrogram with a mean of one.
        nmf_init: initial values of the factorisation: ``random`` or ``nndsvd``; ``init`` is that of the clusters.
        options: arguments of :class:`ClusteringSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Gradient:
        Exact with respect to the mixture, with the number of updates, the assignment of the bins and the initial values
        of ``nndsvd`` held fixed.

    Example:
        >>> separator = TimbreClustering(num_sources=3, n_components=8, sample_rate=8000)
        >>> separator(torch.ones(2, 4000)).shape
        torch.Size([3, 2, 4000])

    References:
        M. Spiertz and V. Gnann, "Source-filter based clustering for monaural blind source separation", DAFx, 2009;
        P. Seetharaman and B. Pardo, "Simultaneous separation and segmentation in layered music", ISMIR, 2016.
    """

    def __init__(
        self,
        num_sources: int = 2,
        n_components: int = 50,
        n_mfcc: int = 13,
        *,
        beta_loss: str | float = "kullback_leibler",
        max_iter: int = 200,
        tol: float = 1e-4,
        l1_ratio: float = 0.0,
        alpha: float = 0.0,
        nmf_init: str = "random",
        **options: Unpack[ClusteringOptions],
    ) -> None:
        super().__init__(num_sources, **options)
        check_integer(n_components, "n_components", at_least=2)
        check_integer(n_mfcc, "n_mfcc", at_least=2)
        check_number(n_mfcc, "n_mfcc", at_most=N_MELS)
        check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
        check_choice(nmf_init, tuple(STARTS), "nmf_init")
        self.n_components = n_components
        self.n_mfcc = n_mfcc
        self.beta_loss = beta_loss
        self.max_iter = max_iter
        self.tol = tol
        self.l1_ratio = l1_ratio
        self.alpha = alpha
        self.nmf_init = nmf_init

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The mean MFCCs of the components in each bin."""
        model = fit_nmf(
            concatenate_channels(magnitude(spectrogram)),
            self.n_components,
            beta_loss=self.beta_loss,
            max_iter=self.max_iter,
            tol=self.tol,
            l1_ratio=self.l1_ratio,
            alpha=self.alpha,
            init=self.nmf_init,
            seed=self.seed,
        )
        timbres = normalized_mfcc(model.templates.mT.square(), self.sample_rate, self.n_mfcc)
        return mean_component_features(
            model.templates, split_channels(model.activations, spectrogram.shape[1]), timbres
        )
