"""Small separators with one planted defect each in their gradients, arguments, state or masks."""

import torch
from contract.controls import Control, MaskControl
from torch import nn


class DetachesMixture(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture.detach(), **required) + 0 * mixture.sum()


class FirstChannelOnly(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture[:, :1].expand_as(mixture))


class UnusedParameter(Control):
    def __init__(self, power=2.0, *, sample_rate, trainable=()):
        super().__init__(power, sample_rate=sample_rate, trainable=trainable)
        self.unused = nn.Parameter(torch.ones(3))


class DetachesMasks(Control):
    def mask(self, mixture):
        return super().mask(mixture).detach()


class MasksWithoutStraightThrough(MaskControl):
    def final_masks(self, spectrogram, **required):
        masks = self.masks(spectrogram, **required)
        return (masks == masks.amax(1, keepdim=True)).to(masks.dtype)


class RenamedArgument(Control):
    def __init__(self, exponent=2.0, *, sample_rate):
        super().__init__(exponent, sample_rate=sample_rate)


class AdjustedArgument(Control):
    def __init__(self, sharpness=2.0, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.sharpness = 2 * sharpness


class TensorArgument(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.sample_rate = torch.float32


class RandomAtConstruction(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.power = 1 + torch.rand(()).item()


class PersistentWindow(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.register_buffer("window", torch.ones(64))


class EmptyState(Control):
    def state_dict(self, *arguments, **keywords):
        return {}


class StoresFunction(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.function = lambda tensor: tensor


class EmptyRepr(Control):
    def extra_repr(self):
        return ""


class TooManyNames(Control):
    names = ("loud", "quiet", "silent")


class NoNames(Control):
    names = ()


class MasksAboveOne(MaskControl):
    def masks(self, spectrogram, **required):
        return 1.5 * super().masks(spectrogram)


class MasksBelowOne(MaskControl):
    def masks(self, spectrogram, **required):
        return 0.99 * super().masks(spectrogram)


class OverlappingBinaryMasks(MaskControl):
    def final_masks(self, spectrogram, **required):
        return (self.masks(spectrogram, **required) >= 0.3).to(spectrogram.real.dtype)


class BranchesOnData(Control):
    def mask(self, mixture):
        return super().mask(mixture if mixture.detach().abs().max() > 0 else mixture + 0)


class LowPrecisionWindow(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.register_buffer("gain", torch.tensor(1 / 3), persistent=False)

    def separate(self, mixture, **required):
        return super().separate(mixture) * (self.gain.to(mixture.dtype) * 3)
