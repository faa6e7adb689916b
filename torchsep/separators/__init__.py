"""Separators: modules that map a mixture to estimates of its sources."""

from torchsep.separators.bases import (
    BackgroundSeparator,
    ClusteringSeparator,
    Interval,
    MaskSeparator,
    NMFModel,
    Separator,
)
from torchsep.separators.deep_audio_estimation import DeepAudioEstimation
from torchsep.separators.deep_clustering import DeepClustering
from torchsep.separators.deep_mask_estimation import DeepMaskEstimation
from torchsep.separators.duet import DUET
from torchsep.separators.ensemble_clustering import EnsembleClustering
from torchsep.separators.ft2d import FT2D
from torchsep.separators.high_low_pass_filter import HighLowPassFilter
from torchsep.separators.hpss import HPSS
from torchsep.separators.ica import ICA
from torchsep.separators.ideal_binary_mask import IdealBinaryMask
from torchsep.separators.ideal_ratio_mask import IdealRatioMask
from torchsep.separators.melodia import Melodia
from torchsep.separators.mix_as_estimate import MixAsEstimate
from torchsep.separators.nmf import NMF
from torchsep.separators.overlap_add import OverlapAdd
from torchsep.separators.projet import PROJET
from torchsep.separators.refine import Refine
from torchsep.separators.repet import Repet
from torchsep.separators.repet_sim import RepetSim
from torchsep.separators.resampled import Resampled
from torchsep.separators.rpca import RPCA
from torchsep.separators.spatial_clustering import SpatialClustering
from torchsep.separators.supervised_nmf import SupervisedNMF
from torchsep.separators.timbre_clustering import TimbreClustering
from torchsep.separators.wiener_filter import WienerFilter

__all__ = [
    "DUET",
    "FT2D",
    "HPSS",
    "ICA",
    "NMF",
    "PROJET",
    "RPCA",
    "BackgroundSeparator",
    "ClusteringSeparator",
    "DeepAudioEstimation",
    "DeepClustering",
    "DeepMaskEstimation",
    "EnsembleClustering",
    "HighLowPassFilter",
    "IdealBinaryMask",
    "IdealRatioMask",
    "Interval",
    "MaskSeparator",
    "Melodia",
    "MixAsEstimate",
    "NMFModel",
    "OverlapAdd",
    "Refine",
    "Repet",
    "RepetSim",
    "Resampled",
    "Separator",
    "SpatialClustering",
    "SupervisedNMF",
    "TimbreClustering",
    "WienerFilter",
]
