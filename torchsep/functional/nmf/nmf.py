"""Non-negative matrix factorisation into templates and activations."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.functional.nmf._init import STARTS
from torchsep.functional.nmf._solver import divergences, multiplicative_updates

__all__ = [
    "Factorisation",
    "beta_divergence",
    "check_nmf",
    "concatenate_channels",
    "fit_nmf",
    "nmf_activations",
    "split_channels",
]

_BETAS = {"frobenius": 2.0, "kullback_leibler": 1.0, "itakura_saito": 0.0}

# Added to the data, relative to its mean, if the divergence of a zero is infinite.
_FLOOR = 1e-8


class Factorisation(NamedTuple):
    """A non-negative matrix factorisation, ``templates @ activations``.

    Args:
        templates: ``(..., F, K)``.
        activations: ``(..., K, N)``.
        n_iter: number of iterations of each item, ``(...)``.
    """

    templates: Float[Tensor, "*any F K"]
    activations: Float[Tensor, "*any K N"]
    n_iter: Int[Tensor, "*any"]


Init = str | tuple[Float[Tensor, "*any F K"], Float[Tensor, "*any K N"]]


def check_nmf(beta_loss: str | float, l1_ratio: float, alpha: float, max_iter: int, tol: float) -> float:
    """The value of beta for a name or number; raises if a setting is invalid."""
    if isinstance(beta_loss, str):
        check_choice(beta_loss, tuple(_BETAS), "beta_loss")
    else:
        check_number(beta_loss, "beta_loss")
    check_number(l1_ratio, "l1_ratio", at_least=0.0, at_most=1.0)
    check_number(alpha, "alpha", at_least=0.0)
    check_integer(max_iter, "max_iter", at_least=1)
    check_number(tol, "tol", at_least=0.0)
    return _BETAS[beta_loss] if isinstance(beta_loss, str) else float(beta_loss)


def beta_divergence(
    matrix: Float[Tensor, "*any F N"], model: Float[Tensor, "*any F N"], beta_loss: str | float = "kullback_leibler"
) -> Float[Tensor, "*any"]:
    r"""The beta-divergence of a matrix and its model, summed over all elements.

    .. math::
        d_\beta(v | m) = \frac{v^\beta + (\beta - 1) m^\beta - \beta v m^{\beta - 1}}{\beta (\beta - 1)}

    This is half the squared Euclidean distance for 2, the generalised Kullback-Leibler divergence for 1, and the
    scale-invariant Itakura-Saito divergence for 0.

    Args:
        matrix: non-negative values; positive for beta at or below zero.
        model: positive values.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or beta itself.

    Gradient:
        Exact, but finite for zeros of the matrix, where the exact gradient may be infinite.

    Example:
        >>> beta_divergence(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]), "frobenius")
        tensor(2.)
    """
    beta = check_nmf(beta_loss, 0.0, 0.0, 1, 0.0)
    return divergences(matrix, model, beta).sum((-2, -1))


def fit_nmf(  # noqa: PLR0913 - the parameters, and their names, are the field's
    matrix: Float[Tensor, "*any F N"],
    n_components: int,
    *,
    beta_loss: str | float = "kullback_leibler",
    l1_ratio: float = 0.0,
    alpha: float = 0.0,
    max_iter: int = 200,
    tol: float = 1e-4,
    init: Init = "random",
    seed: int = 0,
) -> Factorisation:
    r"""The non-negative matrix factorisation of each matrix of a batch.

    Templates and activations minimise

    .. math::
        D_\beta(V | W H)
        + \alpha \rho \left(N \lVert W \rVert_1 + F \lVert H \rVert_1\right)
        + \tfrac{1}{2} \alpha (1 - \rho) \left(N \lVert W \rVert_2^2 + F \lVert H \rVert_2^2\right)

    by alternating multiplicative updates of all activations and all templates, which never increase this loss. Factors
    are bounded below by 1e-8 of their mean size or less instead of zero, so that they can grow again.

    Args:
        matrix: :math:`V`, non-negative. For beta at or below zero, 1e-8 of its mean is added.
        n_components: number :math:`K` of components.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or beta itself. Smaller values give quiet
            elements more weight.
        l1_ratio: mixing parameter :math:`\rho` of the L1 and squared L2 penalties, from 0 to 1.
        alpha: weight :math:`\alpha` of the penalties. With penalties the result depends on the level of the matrix.
        max_iter: maximum number of updates.
        tol: an item has converged once ten updates decrease the root of its divergence by less than this fraction of
            the initial one; zero disables the test.
        init: ``random``, ``nndsvd`` (singular vectors with zeros replaced by the mean), or a pair of initial templates
            and activations.
        seed: seed of the random initialisation, which is the same for all items.

    Gradient:
        Exact with the number of updates fixed, once differentiable; ``nndsvd`` is treated as constant. Only the inputs
        are saved. The memory of backward grows with the square root of the number of updates, in units of the factors.

    Example:
        >>> matrix = torch.tensor([[1.0, 0.0, 2.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0]])
        >>> model = fit_nmf(matrix, 2)
        >>> (model.templates @ model.activations).round(decimals=2).abs()
        tensor([[1., 0., 2.],
                [2., 0., 4.],
                [0., 3., 0.]])

    References:
        C. Févotte and J. Idier, "Algorithms for nonnegative matrix factorization with the beta-divergence", Neural
        Computation, 2011; N. Gillis and F. Glineur, "Accelerated multiplicative updates and hierarchical ALS
        algorithms for nonnegative matrix factorization", Neural Computation, 2012 (lower bound);
        C. Boutsidis and E. Gallopoulos, "SVD based initialization: a head start for nonnegative matrix
        factorization", Pattern Recognition, 2008.
    """
    beta = check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
    check_integer(n_components, "n_components", at_least=1)
    values, level = _normalised(matrix, beta)
    root = level.sqrt()
    if isinstance(init, str):
        check_choice(init, tuple(STARTS), "init")
        activations, templates = STARTS[init](values, n_components, seed)
        activations = activations.mT
    else:
        templates, activations = _checked_init(init, matrix, n_components)
        activations, templates = activations / root, templates.mT / root
    penalties = alpha * l1_ratio * level ** (0.5 - beta), alpha * (1 - l1_ratio) * level ** (1 - beta)
    activations, templates, number = multiplicative_updates(
        values,
        torch.cat(penalties, -1)[:, 0, : 2 if alpha else 0],
        activations,
        templates,
        beta,
        max_iter,
        float(tol),
        True,
    )
    silent = _is_silent(matrix)
    *shape, bins, frames = matrix.shape
    return Factorisation(
        (templates * root).masked_fill(silent, 0.0).mT.reshape(*shape, bins, n_components),
        (activations * root).masked_fill(silent, 0.0).reshape(*shape, n_components, frames),
        number.reshape(shape),
    )


def nmf_activations(
    matrix: Float[Tensor, "*any F N"],
    templates: Float[Tensor, "*any F K"],
    *,
    beta_loss: str | float = "kullback_leibler",
    l1_ratio: float = 0.0,
    alpha: float = 0.0,
    max_iter: int = 200,
    tol: float = 1e-4,
) -> Float[Tensor, "*any K N"]:
    """The activations of fixed templates that approximate each non-negative matrix of a batch.

    Initial activations are constant, at the level of the matrix. The templates can be learned by gradient descent.

    Args:
        matrix: non-negative. For beta at or below zero, 1e-8 of its mean is added.
        templates: non-negative, for each matrix or for all.
        beta_loss: as for :func:`fit_nmf`.
        l1_ratio: as for :func:`fit_nmf`.
        alpha: as for :func:`fit_nmf`.
        max_iter: maximum number of updates.
        tol: as for :func:`fit_nmf`.

    Gradient:
        Exact for matrix and templates with the number of updates fixed, once differentiable.

    Example:
        >>> templates = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> nmf_activations(torch.tensor([[1.0, 0.0], [3.0, 5.0]]), templates).round(decimals=2)
        tensor([[1., 0.],
                [2., 5.]])
    """
    beta = check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
    *shape, bins, frames = matrix.shape
    if templates.dim() < 2 or templates.shape[-2] != bins:
        raise ValueError(f"templates must have shape (..., {bins}, K), got {tuple(templates.shape)}")
    size = templates.shape[-1]
    values, level = _normalised(matrix, beta)
    given = templates.to(matrix.dtype).expand(*shape, bins, size).mT.reshape(-1, size, bins)
    own_level = _level(given)
    scale = level / own_level
    penalties = alpha * l1_ratio * scale * level**-beta, alpha * (1 - l1_ratio) * scale.square() * level**-beta
    activations, _, _ = multiplicative_updates(
        values,
        torch.cat(penalties, -1)[:, 0, : 2 if alpha else 0],
        values.new_full((len(values), size, frames), 1 / size),
        given / own_level,
        beta,
        max_iter,
        float(tol),
        False,
    )
    return (activations * scale).masked_fill(_is_silent(matrix), 0.0).reshape(*shape, size, frames)


def _frames_first(matrix: Float[Tensor, "*any F N"]) -> Float[Tensor, "B N F"]:
    return matrix.mT.reshape(-1, matrix.shape[-1], matrix.shape[-2])


def _level(items: Float[Tensor, "B N F"]) -> Float[Tensor, "B 1 1"]:
    """The mean of each item; one if it is zero."""
    mean = items.mean((-2, -1), keepdim=True)
    return mean.masked_fill(mean == 0, 1.0)


def _is_silent(matrix: Float[Tensor, "*any F N"]) -> Tensor:
    return (matrix.detach() == 0).all(-1).all(-1).reshape(-1, 1, 1)


def _normalised(
    matrix: Float[Tensor, "*any F N"], beta: float
) -> tuple[Float[Tensor, "B N F"], Float[Tensor, "B 1 1"]]:
    """The transposed matrices divided by their means, and the means; silent matrices are replaced by ones."""
    if matrix.dim() < 2 or matrix.numel() == 0 or not matrix.is_floating_point():
        wanted = "floating point, of shape (..., F, N) and not empty"
        raise ValueError(f"matrix must be {wanted}, got {matrix.dtype} {tuple(matrix.shape)}")
    items = _frames_first(matrix)
    level = _level(items)
    values = torch.where(_is_silent(matrix), 1.0, items / level)
    return (values + _FLOOR if beta <= 0 else values).contiguous(), level


def _checked_init(init: Any, matrix: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Given templates ``(B, F, K)`` and activations ``(B, K, N)`` of each item."""
    *shape, bins, frames = matrix.shape
    wanted = (*shape, bins, n_components), (*shape, n_components, frames)
    found = tuple(tuple(getattr(part, "shape", ())) for part in init) if isinstance(init, (tuple, list)) else init
    if found != wanted:
        raise ValueError(f"init must be random, nndsvd, or tensors of shapes {wanted}, got {found!r}")
    return tuple(part.to(matrix).reshape(-1, *part.shape[-2:]) for part in init)


def concatenate_channels(magnitude: Float[Tensor, "B C F N"]) -> Float[Tensor, "B F C*N"]:
    """The channels of a spectrogram concatenated in time, so that they share templates, normalised to a mean of one.

    Args:
        magnitude: non-negative.

    Example:
        >>> concatenate_channels(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
        tensor([[[0.4000, 0.8000, 1.2000, 1.6000]]])
    """
    items = magnitude.mT.flatten(1, 2)
    return (items / _level(items)).mT


def split_channels(activations: Float[Tensor, "B K C*N"], channels: int) -> Float[Tensor, "B C K N"]:
    """Activations of :func:`concatenate_channels` split into channels.

    Args:
        activations: activations of concatenated channels.
        channels: number of channels.

    Example:
        >>> split_channels(torch.tensor([[[0.4, 0.8, 1.2, 1.6]]]), channels=2)
        tensor([[[[0.4000, 0.8000]],
        <BLANKLINE>
                 [[1.2000, 1.6000]]]])
    """
    return activations.unflatten(-1, (channels, -1)).transpose(1, 2)
