"""Neural networks of the deep separators."""

from torchsep.networks.conv_tas_net import ConvTasNet
from torchsep.networks.dprnn import DPRNN
from torchsep.networks.filter_banks import FilterBank, LearnedFilterBank, STFTFilterBank
from torchsep.networks.h_demucs import HDemucs
from torchsep.networks.network import EmbeddingNetwork, MaskNetwork, Network, WaveformNetwork
from torchsep.networks.open_unmix import OpenUnmix
from torchsep.networks.recurrent_body import RecurrentBody
from torchsep.networks.spectral import Chimera, Embedding, MaskInference
from torchsep.networks.u_net import UNet

__all__ = [
    "DPRNN",
    "Chimera",
    "ConvTasNet",
    "Embedding",
    "EmbeddingNetwork",
    "FilterBank",
    "HDemucs",
    "LearnedFilterBank",
    "MaskInference",
    "MaskNetwork",
    "Network",
    "OpenUnmix",
    "RecurrentBody",
    "STFTFilterBank",
    "UNet",
    "WaveformNetwork",
]
