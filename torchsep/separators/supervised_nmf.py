"""Separation by non-negative matrix factorisation, with dictionaries of what the sources sound like."""

from collections.abc import Sequence
from typing import Any, Self, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer, check_mixture
from torchsep.functional.hashing import hashed_uniform
from torchsep.functional.magnitude import magnitude
from torchsep.functional.masks import ratio_masks
from torchsep.functional.nmf.nmf import check_nmf, concatenate_channels, fit_nmf, nmf_activations, split_channels
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.separators.bases.nmf_model import templates_of
from torchsep.typing import Masks, Spectrogram, Waveform

__all__ = ["SupervisedNMF"]


class SupervisedNMF(MaskSeparator):
    r"""Tell sources apart that are known from recordings of each alone.

    Each source has a dictionary of templates, spectra that it is made of, which :meth:`fit` learns. A mixture is
    explained by the templates of all sources together, and each source's mask is the share of its own in that.

    The dictionaries are the parameter ``templates``, of which absolute values count, so that it stays non-negative
    whatever an optimiser does. The updates of the activations are layers with a gradient: dictionaries can also be
    learned, or fitted ones be refined, by what is separated with them. Before either they are random.

    Args:
        names: of the sources, at least two; they name files.
        n_components: number of templates of each source.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or a number; see
            :func:`torchsep.functional.fit_nmf`, like what follows.
        l1_ratio: how far penalties are of sums rather than of squares, from 0 to 1.
        alpha: weight of the penalties, for a spectrogram of a mean of one.
        max_iter: the most updates.
        tol: least fall of the loss in ten updates.
        spectrum: what is factorised: ``magnitude``, or ``power``, which suits ``itakura_saito``.
        seed: of random dictionaries.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, sources in the order of their names.

    Gradient:
        Exact into mixture and templates, for the number of updates that were made.

    Example:
        >>> tones = torch.sin(torch.arange(8000.0) * torch.tensor([[[0.4]], [[1.6]]]))
        >>> separator = SupervisedNMF(("low", "high"), n_components=2, sample_rate=8000).fit(tones)
        >>> low, high = separator(tones.sum(0))
        >>> bool((low - tones[0])[:, 200:-200].abs().max() < 0.01)
        True

    References:
        P. Smaragdis, B. Raj and M. Shashanka, "Supervised and semi-supervised separation of sounds from
        single-channel mixtures", ICA, 2007; J. Le Roux, J. R. Hershey and F. Weninger, "Deep NMF for speech
        separation", ICASSP, 2015 (updates as layers).
    """

    def __init__(
        self,
        names: Sequence[str],
        n_components: int = 20,
        *,
        beta_loss: str | float = "kullback_leibler",
        l1_ratio: float = 0.0,
        alpha: float = 0.0,
        max_iter: int = 200,
        tol: float = 1e-4,
        spectrum: str = "magnitude",
        seed: int = 0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        if isinstance(names, str) or len(set(names)) < 2 or len(set(names)) < len(names):
            raise ValueError(f"names must be at least two different ones, got {names!r}")
        for name in names:
            if not (isinstance(name, str) and name.isidentifier()):
                raise ValueError(f"names must be identifiers, got {name!r}")
        check_integer(n_components, "n_components", at_least=1)
        check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
        check_choice(spectrum, ("magnitude", "power"), "spectrum")
        check_integer(seed, "seed", at_least=0)
        self.names = tuple(names)
        self.n_components = n_components
        self.beta_loss = beta_loss
        self.l1_ratio = l1_ratio
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.spectrum = spectrum
        self.seed = seed
        start = hashed_uniform((len(self.names), self.stft.num_bins, n_components), seed)
        self.templates = nn.Parameter((start / start.sum(-2, keepdim=True)).to(torch.get_default_dtype()))

    @property
    def dictionaries(self) -> Float[Tensor, "S F K"]:
        """The templates of each source, non-negative."""
        return self.templates.abs()

    @torch.no_grad()
    def fit(self, sources: Sequence[Waveform]) -> Self:
        """Learn the templates of each source from recordings of it alone.

        Args:
            sources: for each name the recordings, ``(B, C, T)`` or ``(C, T)``, of any length, all taken together.

        Returns:
            The separator itself.

        Raises:
            ValueError: if there are not as many sources as names, or one is silent or not finite.
        """
        self._check_count(sources, "sources")
        for number, recording in enumerate(sources):
            check_mixture(recording)
            if not recording.isfinite().all() or not recording.any():
                raise ValueError(f"sources must be finite and not silent, got {self.names[number]}")
            found = fit_nmf(
                self._matrix(self.stft(recording.flatten(0, -2)[None].to(self.templates))),
                self.n_components,
                beta_loss=self.beta_loss,
                l1_ratio=self.l1_ratio,
                alpha=self.alpha,
                max_iter=self.max_iter,
                tol=self.tol,
                seed=self.seed,
            )
            templates = found.templates[0]
            self.templates[number] = templates / templates.sum(-2, keepdim=True)
        return self

    @torch.no_grad()
    def load(self, models: Sequence[Any]) -> Self:
        """Take the templates of each source from tensors ``(F, K)`` or fitted models, scikit-learn's too.

        Args:
            models: one for each name, as :meth:`NMFModel.load` takes them.

        Returns:
            The separator itself.
        """
        self._check_count(models, "models")
        for number, model in enumerate(models):
            self.templates[number] = templates_of(model, self.stft.num_bins, self.n_components)
        return self

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """Compare what the templates of each source explain with what all do."""
        dictionaries = self.dictionaries.to(spectrogram.real.dtype)
        activations = nmf_activations(
            self._matrix(spectrogram),
            dictionaries.transpose(0, 1).flatten(1),
            beta_loss=self.beta_loss,
            l1_ratio=self.l1_ratio,
            alpha=self.alpha,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        own = split_channels(activations, spectrogram.shape[1]).unflatten(2, dictionaries.shape[::2])
        return ratio_masks((own.transpose(1, 2).mT @ dictionaries.mT[:, None]).mT)

    def _check_count(self, given: Sequence[Any], argument: str) -> None:
        if len(given) != len(self.names):
            raise ValueError(f"{argument} must be {len(self.names)}, one for each name, got {len(given)}")

    def _matrix(self, spectrogram: Spectrogram) -> Float[Tensor, "B F M"]:
        heard = magnitude(spectrogram)
        return concatenate_channels(heard.square() if self.spectrum == "power" else heard)
