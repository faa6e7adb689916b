"""Small networks of every kind, and inputs that suit them."""

import torch
from scenes import noise

from torchsep.networks import Chimera, Embedding, MaskInference, RecurrentBody, WaveformNetwork
from torchsep.networks.conv_tas_net import ConvTasNet
from torchsep.networks.dprnn import DPRNN
from torchsep.networks.filter_banks import LearnedFilterBank, STFTFilterBank
from torchsep.networks.h_demucs import HDemucs
from torchsep.networks.open_unmix import OpenUnmix
from torchsep.networks.u_net import UNet

BINS = 9

SMALL_DPRNN = {"bottleneck_size": 4, "hidden_size": 5, "chunk_size": 6, "num_blocks": 2}
SMALL_UNMIX = {"num_bins": BINS, "num_sources": 3, "hidden_size": 6, "num_layers": 2}

NETWORKS = {
    "chimera": lambda: Chimera(RecurrentBody(BINS, 4, 2), embedding_size=5),
    "conv_tas_net": lambda: ConvTasNet(3, 7, 6, bottleneck_size=4, hidden_size=5, num_layers=3, num_stacks=2),
    "conv_tas_net-relu": lambda: ConvTasNet(2, 8, 7, num_layers=2, num_stacks=1, mask_activation="relu"),
    "dprnn": lambda: DPRNN(3, LearnedFilterBank(7, 6, 2), **SMALL_DPRNN),
    "dprnn-causal": lambda: DPRNN(2, LearnedFilterBank(7, 5, 2), **SMALL_DPRNN, bidirectional=False, norm="layer"),
    "dprnn-stft": lambda: DPRNN(2, STFTFilterBank(8), **SMALL_DPRNN, kind="gru", mask_activation="relu"),
    "embedding": lambda: Embedding(RecurrentBody(BINS, 4, 2, bidirectional=False), embedding_size=5),
    "h_demucs": lambda: HDemucs(3, hidden_size=16, n_fft=64, depth=2),
    "h_demucs-mono": lambda: HDemucs(2, channels=1, hidden_size=16, growth=1, n_fft=64, depth=5),
    "mask_inference": lambda: MaskInference(RecurrentBody(BINS, 4, 2, norm="instance"), num_sources=3),
    "open_unmix": lambda: OpenUnmix(**SMALL_UNMIX, max_bin=7),
    "open_unmix-causal": lambda: OpenUnmix(**SMALL_UNMIX, channels=1, bidirectional=False),
    "u_net": lambda: UNet(BINS, 3, channels=2, num_features=4, depth=3),
    "u_net-instance": lambda: UNet(BINS, 2, num_features=4, depth=2, norm="instance", mask_activation="softmax"),
    "u_net-plain": lambda: UNet(BINS, 2, num_features=3, depth=2, kernel_size=3, norm=None),
}
"""How each is built; the weights are those of the seed that is set."""


def is_waveform(network):
    return isinstance(network, WaveformNetwork)


def has_strides(network):
    """Whether positions of the result differ in how far they reach."""
    return is_waveform(network) or isinstance(network, UNet)


def inputs(network, length, *, batch=2, dtype=torch.float32):
    """A waveform or magnitudes, of a level of about one."""
    if is_waveform(network):
        return noise(batch, network.channels, length).to(dtype)
    return noise(batch, network.channels, network.num_bins, length).abs().to(dtype)


def shape_of_result(network, length, *, batch=2):
    if is_waveform(network):
        return (batch, network.num_sources, network.channels, length)
    if isinstance(network, Embedding):
        return (batch, network.channels, network.num_bins, length, network.embedding_size)
    return (batch, network.num_sources, network.channels, network.num_bins, length)
