"""Independent component analysis."""

from torchsep.functional.ica.fastica import independent_rotation
from torchsep.functional.ica.linear_prediction import linear_prediction_residual
from torchsep.functional.ica.unmixing import unmixing_and_mixing

__all__ = [
    "independent_rotation",
    "linear_prediction_residual",
    "unmixing_and_mixing",
]
