"""Matrix decompositions and functions with stable gradients, and robust PCA."""

from torchsep.functional.linalg.block_toeplitz import solve_block_toeplitz
from torchsep.functional.linalg.low_rank_mask import low_rank_mask
from torchsep.functional.linalg.matrix_functions import (
    eigh,
    inverse_square_root,
    singular_value_threshold,
    spectral_norm,
    svd,
)
from torchsep.functional.linalg.robust_pca import low_rank_and_sparse

__all__ = [
    "eigh",
    "inverse_square_root",
    "low_rank_and_sparse",
    "low_rank_mask",
    "singular_value_threshold",
    "solve_block_toeplitz",
    "spectral_norm",
    "svd",
]
