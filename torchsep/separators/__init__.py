"""Every separator: a mixture in, estimates of its sources out."""

from torchsep.separators.clustering_separator import ClusteringSeparator
from torchsep.separators.ensemble_clustering import EnsembleClustering
from torchsep.separators.ft2d import FT2D
from torchsep.separators.high_low_pass_filter import HighLowPassFilter
from torchsep.separators.hpss import HPSS
from torchsep.separators.ideal_binary_mask import IdealBinaryMask
from torchsep.separators.ideal_ratio_mask import IdealRatioMask
from torchsep.separators.melodia import Melodia
from torchsep.separators.mix_as_estimate import MixAsEstimate
from torchsep.separators.overlap_add import OverlapAdd
from torchsep.separators.repet import Repet
from torchsep.separators.repet_sim import RepetSim
from torchsep.separators.separator import Interval, MaskSeparator, Separator

__all__ = [
    "FT2D",
    "HPSS",
    "ClusteringSeparator",
    "EnsembleClustering",
    "HighLowPassFilter",
    "IdealBinaryMask",
    "IdealRatioMask",
    "Interval",
    "MaskSeparator",
    "Melodia",
    "MixAsEstimate",
    "OverlapAdd",
    "Repet",
    "RepetSim",
    "Separator",
]
