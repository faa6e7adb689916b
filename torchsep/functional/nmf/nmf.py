"""Non-negative matrices as sums of few templates, each with its activations."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.functional.nmf._init import STARTS
from torchsep.functional.nmf._solver import divergences, multiplicative_updates
from torchsep.functional.nmf._updates import padded

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

# Added to data, relative to its mean, where the divergence of a zero is infinite.
_FLOOR = 1e-8


class Factorisation(NamedTuple):
    """A matrix as a product of non-negative ones, ``templates @ activations``.

    Args:
        templates: in columns, ``(..., F, K)``.
        activations: of each template in its row, ``(..., K, N)``.
        num_iterations: that were made for each item, ``(...)``.
    """

    templates: Float[Tensor, "*any F K"]
    activations: Float[Tensor, "*any K N"]
    num_iterations: Int[Tensor, "*any"]


Start = str | tuple[Float[Tensor, "*any F K"], Float[Tensor, "*any K N"]]


def check_nmf(beta_loss: str | float, l1_ratio: float, alpha: float, max_iter: int, tol: float) -> float:
    """The beta of a divergence, by its name or as it is; raises unless all settings are allowed."""
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
    r"""The beta-divergence of a matrix from its model: how far its values are from those, summed up.

    .. math::
        d_\beta(v | m) = \frac{v^\beta + (\beta - 1) m^\beta - \beta v m^{\beta - 1}}{\beta (\beta - 1)}

    This is half of the squared difference for 2, and in the limit the generalised Kullback-Leibler divergence for 1
    and that of Itakura and Saito for 0, to which ratios alone matter.

    Args:
        matrix: non-negative values; positive for beta at or below zero.
        model: positive values.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or beta itself.

    Gradient:
        Exact; that of a zero of the matrix is finite, where the exact one may not be.

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
    init: Start = "random",
    seed: int = 0,
) -> Factorisation:
    r"""Templates and activations whose product is near to a non-negative matrix, of every matrix of a batch.

    They minimise

    .. math::
        D_\beta(V | W H)
        + \alpha \rho \left(N \lVert W \rVert_1 + F \lVert H \rVert_1\right)
        + \tfrac{1}{2} \alpha (1 - \rho) \left(N \lVert W \rVert_2^2 + F \lVert H \rVert_2^2\right)

    by multiplicative updates, each of which lowers this or leaves it as it is: of all activations, then of all
    templates. What would be zero is kept a little above, at 1e-8 of the usual size or less, from where it can grow.

    Args:
        matrix: :math:`V`, non-negative. For beta at or below zero 1e-8 of its mean is added to it.
        n_components: number :math:`K` of templates.
        beta_loss: ``frobenius``, ``kullback_leibler``, ``itakura_saito``, or beta itself: the smaller, the more do
            quiet values count.
        l1_ratio: :math:`\rho`, from 0 to 1: how far penalties are of the sum of values rather than of squares.
        alpha: :math:`\alpha`, the weight of penalties. With them the level of the matrix plays a part.
        max_iter: the most updates.
        tol: a matrix is done once ten updates lower the root of its divergence by less than this share of its first;
            at zero after ``max_iter``.
        init: ``random``; ``nndsvd``, from the leading singular vectors with the mean for zeros; or a pair of
            templates and activations to start from.
        seed: of a random start, which is the same for every matrix of a batch.

    Gradient:
        Exact for the number of updates that were made, once; the start ``nndsvd`` is held. What is kept does not grow
        with that number; what backward needs grows with its square root, in units of templates and activations.

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
        algorithms for nonnegative matrix factorization", Neural Computation, 2012 (values kept above zero);
        C. Boutsidis and E. Gallopoulos, "SVD based initialization: a head start for nonnegative matrix
        factorization", Pattern Recognition, 2008.
    """
    beta = check_nmf(beta_loss, l1_ratio, alpha, max_iter, tol)
    check_integer(n_components, "n_components", at_least=1)
    values, level = _leveled(matrix, beta)
    root = level.sqrt()
    if isinstance(init, str):
        check_choice(init, tuple(STARTS), "init")
        activations, templates = STARTS[init](values[..., : matrix.shape[-2]], n_components, seed)
        activations = activations.mT
    else:
        templates, activations = _checked_start(init, matrix, n_components)
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
    """Activations with which given templates are near to a non-negative matrix, of every matrix of a batch.

    All start equal, at the level of the matrix. As a layer, templates are what is learned.

    Args:
        matrix: non-negative. For beta at or below zero 1e-8 of its mean is added to it.
        templates: non-negative; one set for each matrix, or for all.
        beta_loss: as for :func:`fit_nmf`, like what follows.
        l1_ratio: from 0 to 1.
        alpha: the weight of penalties.
        max_iter: the most updates.
        tol: a matrix is done once ten updates lower the root of its divergence by less than this share of its first.

    Gradient:
        Exact for the number of updates that were made, once, into matrix and templates.

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
    values, level = _leveled(matrix, beta)
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
    """The mean of every item; one where that is zero."""
    mean = items.mean((-2, -1), keepdim=True)
    return mean.masked_fill(mean == 0, 1.0)


def _is_silent(matrix: Float[Tensor, "*any F N"]) -> Tensor:
    return (matrix.detach() == 0).all(-1).all(-1).reshape(-1, 1, 1)


def _leveled(matrix: Float[Tensor, "*any F N"], beta: float) -> tuple[Float[Tensor, "B N E"], Float[Tensor, "B 1 1"]]:
    """The matrices, frames first, scaled to a mean of one and padded, and what their means were; ones for silence."""
    if matrix.dim() < 2 or matrix.numel() == 0 or not matrix.is_floating_point():
        wanted = "floating point, of shape (..., F, N) and not empty"
        raise ValueError(f"matrix must be {wanted}, got {matrix.dtype} {tuple(matrix.shape)}")
    items = _frames_first(matrix)
    level = _level(items)
    values = torch.where(_is_silent(matrix), 1.0, items / level)
    return padded(values + _FLOOR if beta <= 0 else values), level


def _checked_start(init: Any, matrix: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Given templates and activations, ``(B, K, F)`` and ``(B, K, N)``, for every item."""
    *shape, bins, frames = matrix.shape
    wanted = (*shape, bins, n_components), (*shape, n_components, frames)
    found = tuple(tuple(getattr(part, "shape", ())) for part in init) if isinstance(init, (tuple, list)) else init
    if found != wanted:
        raise ValueError(f"init must be random, nndsvd, or tensors of shapes {wanted}, got {found!r}")
    return tuple(part.to(matrix).reshape(-1, *part.shape[-2:]) for part in init)


def concatenate_channels(magnitude: Float[Tensor, "B C F N"]) -> Float[Tensor, "B F C*N"]:
    """The channels of a spectrogram one after another in time, so that they share templates, at a mean of one.

    Args:
        magnitude: non-negative.

    Example:
        >>> concatenate_channels(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
        tensor([[[0.4000, 0.8000, 1.2000, 1.6000]]])
    """
    items = magnitude.mT.flatten(1, 2)
    return (items / _level(items)).mT


def split_channels(activations: Float[Tensor, "B K C*N"], channels: int) -> Float[Tensor, "B C K N"]:
    """Activations in :func:`concatenate_channels`, channel by channel.

    Args:
        activations: of channels one after another.
        channels: their number.

    Example:
        >>> split_channels(torch.tensor([[[0.4, 0.8, 1.2, 1.6]]]), channels=2)
        tensor([[[[0.4000, 0.8000]],
        <BLANKLINE>
                 [[1.2000, 1.6000]]]])
    """
    return activations.unflatten(-1, (channels, -1)).transpose(1, 2)
