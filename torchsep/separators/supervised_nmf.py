"""Supervised NMF: separation of known sources with dictionaries learned from isolated recordings."""

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
from torchsep.separators.bases.source_names import check_source_names
from torchsep.typing import Masks, Spectrogram, Waveform

__all__ = ["SupervisedNMF"]


class SupervisedNMF(MaskSeparator):
    r"""Supervised NMF: separate known sources with dictionaries learned from isolated recordings.

    Each source has a dictionary of spectral templates, which :meth:`fit` learns. A mixture is approximated by the
    templates of all sources jointly, and the mask of a source is the ratio of its templates' contribution to the sum.

    The dictionaries are the absolute values of the parameter ``templates``, so they stay non-negative under any
    optimiser. The multiplicative updates of the activations are differentiable, so dictionaries can also be learned or
    fine-tuned by gradient descent on the separated sources. They are random initially.

    Args:
        names: source names, at least two; also used as file names.
        n_components: number of templates of each source.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or a number. This and the solver arguments
            below are those of :func:`torchsep.functional.fit_nmf`.
        l1_ratio: proportion of the L1 penalty, from 0 to 1; the rest is an L2 penalty.
        alpha: weight of the penalties, for a spectrogram with a mean of one.
        max_iter: maximum number of updates.
        tol: minimum relative decrease of the loss over ten updates.
        spectrum: spectrogram to factorise: ``magnitude``, or ``power``, which suits ``itakura_saito``.
        seed: seed of the random dictionaries.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, sources in the order of their names.

    Gradient:
        Exact with respect to mixture and templates, for the number of updates that were made.

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
        if isinstance(names, str) or len(set(map(str, names))) < max(2, len(names)):
            raise ValueError(f"names must be at least two different names, got {names!r}")
        check_integer(n_components, "n_components", at_least=1)
        check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
        check_choice(spectrum, ("magnitude", "power"), "spectrum")
        check_integer(seed, "seed", at_least=0)
        self.names = check_source_names(names)
        self.n_components = n_components
        self.beta_loss = beta_loss
        self.l1_ratio = l1_ratio
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.spectrum = spectrum
        self.seed = seed
        self.templates = nn.Parameter(self._initial().to(torch.get_default_dtype()))

    @property
    def is_trained(self) -> bool:
        """Whether the dictionaries are not the random initial ones, in whatever precision they were built and saved."""
        initial, own = self._initial().to(self.templates.device), self.templates.dtype
        built = [initial.to(kind) for kind in (torch.float64, torch.float32)]
        saved = [start.to(kind).to(own) for start in built for kind in (start.dtype, torch.float16, torch.bfloat16)]
        return not any(torch.equal(self.templates, templates) for templates in saved)

    @property
    def dictionaries(self) -> Float[Tensor, "S F K"]:
        """The non-negative templates of each source."""
        return self.templates.abs()

    @torch.no_grad()
    def fit(self, sources: Sequence[Waveform]) -> Self:
        """Learn the templates of each source from isolated recordings.

        Args:
            sources: recordings for each name, ``(B, C, T)`` or ``(C, T)``, of any length; all items are used jointly.

        Returns:
            The separator itself.

        Raises:
            ValueError: if the number of sources is not that of the names, or one is silent or not finite.
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
        """Copy the templates of each source from tensors ``(F, K)`` or fitted models, including scikit-learn's.

        Args:
            models: one model for each name, as accepted by :meth:`NMFModel.load`.

        Returns:
            The separator itself.
        """
        self._check_count(models, "models")
        for number, model in enumerate(models):
            self.templates[number] = templates_of(model, self.stft.num_bins, self.n_components)
        return self

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The ratio of each source's model to the sum of all models."""
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

    def _initial(self) -> Float[Tensor, "S F K"]:
        """Random dictionaries, the same for the same seed."""
        initial = hashed_uniform((len(self.names), self.stft.num_bins, self.n_components), self.seed)
        return initial / initial.sum(-2, keepdim=True)

    def _check_count(self, given: Sequence[Any], argument: str) -> None:
        if len(given) != len(self.names):
            raise ValueError(f"{argument} must have {len(self.names)} elements, one for each name, got {len(given)}")

    def _matrix(self, spectrogram: Spectrogram) -> Float[Tensor, "B F M"]:
        observed = magnitude(spectrogram)
        return concatenate_channels(observed.square() if self.spectrum == "power" else observed)
