"""Separation by the timbre of the parts that a spectrogram is made of."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional.cepstrum import N_MELS, timbre
from torchsep.functional.nmf import check_nmf, fit_nmf, joined_channels, parted_channels
from torchsep.functional.parts import magnitude
from torchsep.separators.clustering_separator import ClusteringSeparator
from torchsep.transforms import STFT
from torchsep.typing import Features, Spectrogram

__all__ = ["TimbreClustering", "timbre_of_bins"]


def timbre_of_bins(
    templates: Float[Tensor, "B F K"], activations: Float[Tensor, "B C K N"], timbres: Float[Tensor, "B K D"]
) -> Float[Tensor, "B C F N D"]:
    r"""For every bin, the mean of its templates' timbres, of length one.

    .. math::
        x_{fn} = \frac{\sum_k W_{fk} H_{kn}\, m_k}{\lVert \sum_k W_{fk} H_{kn}\, m_k \rVert}

    Args:
        templates: :math:`W`, non-negative.
        activations: :math:`H`, non-negative.
        timbres: a vector :math:`m_k` of each template.

    Gradient:
        Exact; zero where the mean is, or its square in the precision given.

    Example:
        >>> templates, timbres = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]), torch.eye(2)[None]
        >>> timbre_of_bins(templates, torch.tensor([[[[4.0], [3.0]]]]), timbres).squeeze()
        tensor([[1.0000, 0.0000],
                [0.8000, 0.6000]])
    """
    weighted = activations[..., None] * timbres[:, None, :, None]
    means = (templates[:, None] @ weighted.flatten(-2)).unflatten(-1, weighted.shape[-2:])
    length = torch.linalg.vector_norm(means, dim=-1, keepdim=True)
    none = length == 0
    return (means / length.masked_fill(none, 1.0)).masked_fill(none, 0.0)


class TimbreClustering(ClusteringSeparator):
    """Separate sources that sound different, whatever they play: by clustering what each bin is made of.

    The spectrogram is factorised into templates, spectra that come again; the timbre of each is told by its cepstrum,
    that of a bin is the mean of its templates' by their part in it. All channels share templates and clusters.

    Args:
        num_sources: number of clusters, at least two.
        n_components: number of templates.
        n_mfcc: number of mel-frequency cepstral coefficients, from 1 to 128.
        beta_loss: of the factorisation: ``frobenius``, ``kullback-leibler``, ``itakura-saito``, or a number.
        max_iter: the most updates of the factorisation.
        tol: where it stops, see :func:`torchsep.functional.fit_nmf`.
        clustering_type: ``KMeans``, ``MiniBatchKMeans``, or ``GaussianMixture``.
        percentile: from 0 to 100; clusters are fitted to the bins at least as loud as this share of all.
        beta: how hard the masks of k-means are; at zero all are equal.
        covariance_type: of a Gaussian mixture: ``full``, ``tied``, ``diag`` or ``spherical``.
        fit_clusterer: whether clusters are fitted to each mixture; else those of ``init`` are used as they are.
        init: clusters to start from or to use, see :class:`ClusteringSeparator`.
        seed: of what is chosen at random.
        sample_rate: of the mixtures, in Hz.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of a binary second mask of two.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Gradient:
        Exact into the mixture, for the number of updates and the assignment of bins that were found, which are held.

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
        beta_loss: str | float = "kullback-leibler",
        max_iter: int = 200,
        tol: float = 1e-4,
        clustering_type: str = "KMeans",
        percentile: float = 90.0,
        beta: float = 5.0,
        covariance_type: str = "full",
        fit_clusterer: bool = True,
        init: Any = None,
        seed: int = 0,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
    ) -> None:
        super().__init__(
            num_sources,
            clustering_type=clustering_type,
            percentile=percentile,
            beta=beta,
            covariance_type=covariance_type,
            fit_clusterer=fit_clusterer,
            init=init,
            seed=seed,
            sample_rate=sample_rate,
            mask_type=mask_type,
            mask_threshold=mask_threshold,
            stft=stft,
        )
        check_integer(n_components, "n_components", at_least=1)
        check_integer(n_mfcc, "n_mfcc", at_least=1)
        check_number(n_mfcc, "n_mfcc", at_most=N_MELS)
        check_nmf(beta_loss, 0.0, 0.0, max_iter, tol)
        self.n_components = n_components
        self.n_mfcc = n_mfcc
        self.beta_loss = beta_loss
        self.max_iter = max_iter
        self.tol = tol

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The mean timbre of the templates in each bin."""
        model = fit_nmf(
            joined_channels(magnitude(spectrogram)),
            self.n_components,
            beta_loss=self.beta_loss,
            max_iter=self.max_iter,
            tol=self.tol,
            seed=self.seed,
        )
        timbres = timbre(model.templates.mT.square(), self.sample_rate, self.n_mfcc)
        return timbre_of_bins(model.templates, parted_channels(model.activations, spectrogram.shape[1]), timbres)
