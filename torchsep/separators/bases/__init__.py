"""Base classes of separators, and their shared helpers."""

from torchsep.separators.bases.background_separator import BackgroundSeparator
from torchsep.separators.bases.clustering_separator import ClusteringSeparator
from torchsep.separators.bases.mask_separator import MaskSeparator
from torchsep.separators.bases.nmf_model import NMFModel
from torchsep.separators.bases.separator import Separator
from torchsep.separators.bases.trainable import Interval

__all__ = ["BackgroundSeparator", "ClusteringSeparator", "Interval", "MaskSeparator", "NMFModel", "Separator"]
