"""The mask of the low-rank part of a spectrogram."""

from jaxtyping import Float
from torch import Tensor

from torchsep.functional.linalg.robust_pca import low_rank_and_sparse
from torchsep.functional.masks import soft_mask

__all__ = ["low_rank_mask"]


def low_rank_mask(
    magnitude: Float[Tensor, "B C F N"], gain: float | Tensor = 1.0, max_iter: int = 100, tol: float = 1e-7
) -> Float[Tensor, "B C F N"]:
    r"""The soft mask of the low-rank part of a spectrogram, :math:`|L| / (|L| + g |S|)`.

    The frames of all channels are the columns of one matrix, so that repetition across channels counts too.

    Args:
        magnitude: non-negative spectrogram; the mask does not depend on its level.
        gain: weight :math:`g` of the sparse part; values above one assign more to the foreground.
        max_iter: maximum number of iterations of the decomposition.
        tol: relative residual norm at which the decomposition has converged.

    Example:
        >>> magnitude = torch.ones(1, 1, 16, 16)
        >>> magnitude[0, 0, 3, 5] = 20.0
        >>> low_rank_mask(magnitude)[0, 0, 2:5, 5].round(decimals=2)
        tensor([1.0000, 0.0500, 1.0000])
    """
    channels = magnitude.shape[1]
    columns = magnitude.movedim(1, -2).flatten(-2)
    low_rank, sparse = low_rank_and_sparse(columns, max_iter, tol)
    mask = soft_mask(low_rank.abs(), gain * sparse.abs(), silent=1.0)
    return mask.unflatten(-1, (channels, -1)).movedim(-2, 1)
