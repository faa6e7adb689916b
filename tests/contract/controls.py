"""Small correct separators, which pass the contract and from which the defective ones are derived."""

from typing import ClassVar

import torch
from torch import Tensor

from torchsep import STFT, MaskSeparator, Separator
from torchsep.functional.masks import ratio_masks, soft_mask
from torchsep.separators import Interval


class Control(Separator):
    """Share each sample between two sources by how loud it is."""

    names = ("loud", "quiet")
    trainable_parameters: ClassVar = {"power": Interval(0.0)}

    def __init__(self, power=2.0, *, sample_rate, trainable=()):
        super().__init__(sample_rate=sample_rate, trainable=trainable)
        self.power = power

    def loudness(self, mixture):
        return mixture.abs()

    def share(self, mixture):
        loudness = self.loudness(mixture)
        return soft_mask(loudness, loudness.mean((-2, -1), keepdim=True).expand_as(loudness), self.power)

    def separate(self, mixture, **required: Tensor):
        loud = self.share(mixture)
        return torch.stack((mixture * loud, mixture * (1 - loud)), 1)


class MaskControl(MaskSeparator):
    """Share each bin between its own level and the mean level."""

    names = ("loud", "quiet")

    def __init__(self, *, sample_rate, mask_type="soft", mask_threshold=0.5, stft: STFT | None = None):
        super().__init__(sample_rate=sample_rate, mask_type=mask_type, mask_threshold=mask_threshold, stft=stft)

    def masks(self, spectrogram, **required):
        level = spectrogram.abs()
        return ratio_masks(torch.stack((level, level.mean((-3, -2, -1), keepdim=True).expand_as(level)), 1))


class OracleControl(Separator):
    """Share each sample by the true sources."""

    requires: ClassVar = ("sources",)

    def separate(self, mixture, **required):
        return mixture[:, None] * ratio_masks(required["sources"].abs(), dim=1)
