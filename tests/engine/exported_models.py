"""Models and runs to export."""

import torch

from torchsep.networks import MaskInference, RecurrentBody
from torchsep.separators import DeepMaskEstimation
from torchsep.transforms import STFT


def mask_estimation(seed=0):
    torch.manual_seed(seed)
    network = MaskInference(RecurrentBody(9, 4, 1))
    return DeepMaskEstimation(network, sample_rate=8000, stft=STFT(16))


def same(first, second):
    states = first.state_dict(), second.state_dict()
    return first.config == second.config and all(torch.equal(states[0][name], states[1][name]) for name in states[0])
