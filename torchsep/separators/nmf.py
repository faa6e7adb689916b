"""Blind NMF: separation by factorising the spectrogram and clustering the components."""

from typing import Unpack

from jaxtyping import Int
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_mixture
from torchsep.functional.clustering.kmeans import kmeans
from torchsep.functional.magnitude import magnitude
from torchsep.functional.mel import normalized_mfcc
from torchsep.functional.nmf._init import STARTS
from torchsep.functional.nmf.components import component_masks
from torchsep.functional.nmf.nmf import Factorisation, check_nmf, concatenate_channels, fit_nmf, split_channels
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.separators.bases.source_names import numbered_names
from torchsep.typing import Masks, Spectrogram, Waveform

__all__ = ["NMF"]


class NMF(MaskSeparator):
    r"""Blind NMF: separate by factorising the spectrogram and clustering the components by timbre.

    The spectrogram is modelled as a sum of components, each a template and its activations over time, with templates
    shared by all channels. The components are clustered by the MFCCs of their templates; the mask of a source is the
    ratio of its components to the model. It suits sources with few recurring sounds, such as drums and piano. Where
    isolated recordings of each source exist, :class:`SupervisedNMF` performs better.

    Args:
        num_sources: number of sources, at least two.
        n_components: number of components, at least ``num_sources``.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or a number. This and the solver arguments
            below are those of :func:`torchsep.functional.fit_nmf`.
        l1_ratio: proportion of the L1 penalty, from 0 to 1; the rest is an L2 penalty.
        alpha: weight of the penalties, for a spectrogram with a mean of one.
        max_iter: maximum number of updates.
        tol: minimum relative decrease of the loss over ten updates.
        init: ``random`` or ``nndsvd``.
        spectrum: spectrogram to factorise: ``magnitude``, or ``power``, which suits ``itakura_saito``.
        seed: seed of the random initialisation.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Gradient:
        Exact, with the number of updates and the clustering of the components held fixed.

    Example:
        >>> separator = NMF(n_components=3, sample_rate=8000)
        >>> mixture = torch.sin(torch.arange(8000.0) ** 2 / 9000)[None]
        >>> separator(mixture).sum(0).allclose(mixture, atol=1e-5)
        True
        >>> separator.factorise(mixture).templates.shape
        torch.Size([129, 3])

    References:
        T. Virtanen, "Monaural sound source separation by nonnegative matrix factorization with temporal continuity
        and sparseness criteria", IEEE TASLP, 2007; M. Spiertz and V. Gnann, "Source-filter based clustering for
        monaural blind source separation", DAFx, 2009.
    """

    def __init__(
        self,
        num_sources: int = 2,
        n_components: int = 30,
        *,
        beta_loss: str | float = "kullback_leibler",
        l1_ratio: float = 0.0,
        alpha: float = 0.0,
        max_iter: int = 200,
        tol: float = 1e-4,
        init: str = "random",
        spectrum: str = "magnitude",
        seed: int = 0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        check_integer(num_sources, "num_sources", at_least=2)
        check_integer(n_components, "n_components", at_least=num_sources)
        check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
        check_choice(init, tuple(STARTS), "init")
        check_choice(spectrum, ("magnitude", "power"), "spectrum")
        check_integer(seed, "seed", at_least=0)
        self.num_sources = num_sources
        self.n_components = n_components
        self.beta_loss = beta_loss
        self.l1_ratio = l1_ratio
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.init = init
        self.spectrum = spectrum
        self.seed = seed
        self.names = numbered_names(num_sources)

    def factorise(self, mixture: Waveform) -> Factorisation:
        """Templates ``(B, F, K)`` and activations ``(B, K, C * N)``, with channels concatenated, of each mixture.

        The spectrogram ``spectrum`` is scaled to a mean of one before the factorisation.
        """
        check_mixture(mixture)
        found = self._factorise(self.stft(mixture if mixture.dim() == 3 else mixture[None]))
        return found if mixture.dim() == 3 else Factorisation(*(part[0] for part in found))

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The ratio of each source's components to the sum of all components."""
        found = self._factorise(spectrogram)
        activations = split_channels(found.activations, spectrogram.shape[1])
        return component_masks(found.templates, activations, self._labels(found), self.num_sources)

    def _factorise(self, spectrogram: Spectrogram) -> Factorisation:
        observed = magnitude(spectrogram)
        return fit_nmf(
            concatenate_channels(observed.square() if self.spectrum == "power" else observed),
            self.n_components,
            beta_loss=self.beta_loss,
            l1_ratio=self.l1_ratio,
            alpha=self.alpha,
            max_iter=self.max_iter,
            tol=self.tol,
            init=self.init,
            seed=self.seed,
        )

    def _labels(self, found: Factorisation) -> Int[Tensor, "B K"]:
        """The source of each component, by k-means on MFCCs, weighted by loudness."""
        templates, activations = found.templates.detach(), found.activations.detach()
        power = templates if self.spectrum == "power" else templates.square()
        loudness = templates.sum(-2) * activations.sum(-1)
        timbres = normalized_mfcc(power.mT, self.sample_rate)
        return kmeans(timbres, self.num_sources, weights=loudness, seed=self.seed).labels
