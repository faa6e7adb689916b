"""Every network overfits a single mixture."""

import pytest
from networks.overfitting import overfit

from torchsep.networks import MaskInference, RecurrentBody
from torchsep.networks.conv_tas_net import ConvTasNet
from torchsep.networks.dprnn import DPRNN
from torchsep.networks.filter_banks import LearnedFilterBank, STFTFilterBank
from torchsep.networks.h_demucs import HDemucs
from torchsep.networks.open_unmix import OpenUnmix
from torchsep.networks.u_net import UNet

BINS = 129
DPRNN_SIZES = {"bottleneck_size": 32, "hidden_size": 32, "num_blocks": 2}

NETWORKS = {
    "conv_tas_net": lambda: ConvTasNet(2, 64, bottleneck_size=32, hidden_size=64, num_layers=4, num_stacks=2),
    "dprnn": lambda: DPRNN(2, chunk_size=24, **DPRNN_SIZES),
    "dprnn-causal": lambda: DPRNN(
        2, LearnedFilterBank(64, 16), chunk_size=24, **DPRNN_SIZES, bidirectional=False, norm="layer"
    ),
    "dprnn-relu": lambda: DPRNN(2, chunk_size=24, **DPRNN_SIZES, mask_activation="relu"),
    "dprnn-stft": lambda: DPRNN(2, STFTFilterBank(128), chunk_size=10, **DPRNN_SIZES, kind="gru"),
    "dprnn-trained-stft": lambda: DPRNN(2, STFTFilterBank(128, trainable=True), chunk_size=10, **DPRNN_SIZES),
    "h_demucs": lambda: HDemucs(2, hidden_size=16, n_fft=256, depth=3),
    "mask_inference": lambda: MaskInference(RecurrentBody(BINS, 32, 2)),
    "open_unmix": lambda: OpenUnmix(BINS, 2, channels=1, hidden_size=64, num_layers=1),
    "u_net": lambda: UNet(BINS, num_features=8, depth=4, dropout=0.1),
    "u_net-instance": lambda: UNet(BINS, num_features=8, depth=4, dropout=0.1, norm="instance"),
    "u_net-softmax": lambda: UNet(BINS, num_features=8, depth=4, dropout=0.0, norm=None, mask_activation="softmax"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_more_than_15_db(name):
    assert overfit(NETWORKS[name](), steps=300) > 15
