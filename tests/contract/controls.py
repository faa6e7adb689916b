"""Small correct separators, which pass the contract and from which the defective ones are derived."""

from typing import ClassVar

import torch
from torch import Tensor

from torchsep import STFT, MaskSeparator, Separator
from torchsep.functional.masks import ratio_masks, soft_mask
from torchsep.separators import Interval


class Control(Separator):
    """A soft mask on the samples, from the amplitude of each sample and the mean amplitude."""

    names = ("loud", "quiet")
    trainable_parameters: ClassVar = {"power": Interval(0.0)}

    def __init__(self, power=2.0, *, sample_rate, trainable=()):
        super().__init__(sample_rate=sample_rate, trainable=trainable)
        self.power = power

    def amplitude(self, mixture):
        return mixture.abs()

    def mask(self, mixture):
        amplitude = self.amplitude(mixture)
        return soft_mask(amplitude, amplitude.mean((-2, -1), keepdim=True).expand_as(amplitude), self.power)

    def separate(self, mixture, **required: Tensor):
        mask = self.mask(mixture)
        return torch.stack((mixture * mask, mixture * (1 - mask)), 1)


class MaskControl(MaskSeparator):
    """Ratio masks of the magnitude of each bin and the mean magnitude."""

    names = ("loud", "quiet")

    def __init__(self, *, sample_rate, mask_type="soft", mask_threshold=0.5, stft: STFT | None = None):
        super().__init__(sample_rate=sample_rate, mask_type=mask_type, mask_threshold=mask_threshold, stft=stft)

    def masks(self, spectrogram, **required):
        magnitude = spectrogram.abs()
        mean = magnitude.mean((-3, -2, -1), keepdim=True).expand_as(magnitude)
        return ratio_masks(torch.stack((magnitude, mean), 1))


class OracleControl(Separator):
    """Ratio masks on the samples, from the true sources."""

    requires: ClassVar = ("sources",)

    def separate(self, mixture, **required):
        return mixture[:, None] * ratio_masks(required["sources"].abs(), dim=1)
