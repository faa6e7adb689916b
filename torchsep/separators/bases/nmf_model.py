"""NMF with a dictionary that is fitted once and applied to other data."""

from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer
from torchsep.configurable import Configurable
from torchsep.functional.nmf._init import STARTS, random_start
from torchsep.functional.nmf.nmf import check_nmf, fit_nmf, nmf_activations

__all__ = ["NMFModel", "templates_of"]


def templates_of(model: Any, num_bins: int, n_components: int) -> Float[Tensor, "F K"]:
    """The templates of a tensor or a fitted model, with shape and values checked.

    Args:
        model: a tensor ``(F, K)``, an :class:`NMFModel`, or a fitted ``NMF`` of scikit-learn, whose samples are frames.
        num_bins: required number ``F`` of bins.
        n_components: required number ``K`` of components.

    Raises:
        ValueError: if the templates have another shape, or are negative or not finite.
    """
    if isinstance(model, NMFModel):
        templates = model.dictionary.detach()
    elif hasattr(model, "components_"):
        templates = torch.as_tensor(model.components_, device="cpu").T
    else:
        templates = torch.as_tensor(model).detach()
    if templates.shape != (num_bins, n_components):
        raise ValueError(f"templates must have shape ({num_bins}, {n_components}), got {tuple(templates.shape)}")
    if not templates.isfinite().all() or (templates < 0).any():
        raise ValueError("templates must be finite and non-negative, got negative or non-finite values")
    return templates


class NMFModel(Configurable):
    """Non-negative matrix factorisation with a learned dictionary of templates.

    The dictionary is the absolute value of the parameter ``templates``, so it stays non-negative under any optimiser.
    It is fitted by :meth:`fit`, or learned by gradient descent.

    Args:
        num_bins: number ``F`` of values of a frame.
        n_components: number ``K`` of templates.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or a number. This and the arguments below
            are those of :func:`torchsep.functional.fit_nmf`.
        l1_ratio: proportion of the L1 penalty, from 0 to 1; the rest is an L2 penalty.
        alpha: weight of the penalties.
        max_iter: maximum number of updates.
        tol: minimum relative decrease of the loss over ten updates.
        init: ``random`` or ``nndsvd``.
        seed: seed of the random initialisation.

    Shape:
        ``(..., F, N) -> (..., K, N)``, the activations.

    Gradient:
        Exact with respect to data and templates, for the number of updates that were made.

    Example:
        >>> matrix = torch.tensor([[1.0, 0.0, 2.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0]])
        >>> model = NMFModel(num_bins=3, n_components=2).fit(matrix)
        >>> model.inverse_transform(model(2 * matrix)).round(decimals=1).abs()
        tensor([[2., 0., 4.],
                [4., 0., 8.],
                [0., 6., 0.]], grad_fn=<AbsBackward0>)
    """

    def __init__(
        self,
        num_bins: int,
        n_components: int,
        *,
        beta_loss: str | float = "kullback_leibler",
        l1_ratio: float = 0.0,
        alpha: float = 0.0,
        max_iter: int = 200,
        tol: float = 1e-4,
        init: str = "random",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_integer(num_bins, "num_bins", at_least=1)
        check_integer(n_components, "n_components", at_least=1)
        check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
        check_choice(init, tuple(STARTS), "init")
        check_integer(seed, "seed", at_least=0)
        self.num_bins = num_bins
        self.n_components = n_components
        self.beta_loss = beta_loss
        self.l1_ratio = l1_ratio
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.init = init
        self.seed = seed
        _, start = random_start(torch.ones(1, 1, num_bins), n_components, seed)
        self.templates = nn.Parameter(start[0].T.clone(memory_format=torch.contiguous_format))

    @property
    def dictionary(self) -> Float[Tensor, "F K"]:
        """The non-negative templates."""
        return self.templates.abs()

    @torch.no_grad()
    def fit(self, matrix: Float[Tensor, "*any F N"]) -> Self:
        """Fit the templates to all matrices jointly; returns the model itself."""
        if matrix.dim() < 2 or matrix.shape[-2] != self.num_bins:
            raise ValueError(f"matrix must have shape (..., {self.num_bins}, N), got {tuple(matrix.shape)}")
        frames = matrix.movedim(-2, 0).flatten(1).to(self.templates)
        if not frames.isfinite().all() or not frames.any():
            found = "zero" if frames.isfinite().all() else "NaN or infinity"
            raise ValueError(f"matrix must be finite and not zero everywhere, got {found}")
        fitted = fit_nmf(frames, self.n_components, init=self.init, seed=self.seed, **self._solver_options)
        self.templates.copy_(fitted.templates)
        return self

    @torch.no_grad()
    def load(self, model: Any) -> Self:
        """Copy templates from a tensor ``(F, K)`` or another fitted model, including scikit-learn's ``NMF``."""
        self.templates.copy_(templates_of(model, self.num_bins, self.n_components))
        return self

    def forward(self, matrix: Float[Tensor, "*any F N"]) -> Float[Tensor, "*any K N"]:
        """The activations that approximate matrices by the templates."""
        return nmf_activations(matrix, self.dictionary, **self._solver_options)

    def transform(self, matrix: Float[Tensor, "*any F N"]) -> Float[Tensor, "*any K N"]:
        """The same as a call."""
        activations: Tensor = self(matrix)
        return activations

    def inverse_transform(self, activations: Float[Tensor, "*any K N"]) -> Float[Tensor, "*any F N"]:
        """The matrices reconstructed from activations."""
        return self.dictionary.to(activations.dtype) @ activations

    @property
    def _solver_options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("beta_loss", "l1_ratio", "alpha", "max_iter", "tol")}
