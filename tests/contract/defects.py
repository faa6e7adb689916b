"""Small separators with one planted defect each, which the contract must detect.

They are not registered where they are defined, so the registry of the library is unchanged.
"""

import torch
from contract.controls import Control, MaskControl, OracleControl
from torch import nn

from torchsep.functional.masks import soft_mask


class LosesTail(Control):
    def separate(self, mixture, **required):
        length = mixture.shape[-1]
        return super().separate(mixture[..., : length - length % 2])


class MirrorsEnds(Control):
    def loudness(self, mixture):
        return nn.functional.pad(mixture.abs(), (20, 20), mode="reflect")[..., 20:-20]


class SwapsAxes(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture).transpose(1, 2)


class TakesChannelsForItems(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture[:, None] if mixture.dim() == 2 else mixture, **required)


class GuessesAxes(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture.reshape(-1, *mixture.shape[-2:]) if mixture.dim() > 3 else mixture, **required)


class TakesIntegers(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture if mixture.is_floating_point() else mixture.float(), **required)


class TakesAnything(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture)


class MakesDoWithoutSources(OracleControl):
    def forward(self, mixture, **required):
        return super().forward(mixture, **{"sources": torch.stack((mixture, mixture), -3), **required})


class HidesBadSamples(Control):
    def forward(self, mixture, **required):
        finite = mixture.nan_to_num(0.0, 0.0, 0.0) if mixture.is_floating_point() else mixture
        return super().forward(finite, **required)


class ReadsMemoryOrder(Control):
    def loudness(self, mixture):
        return mixture.as_strided(mixture.shape, torch.empty(mixture.shape).stride()).abs()


class NeedsContiguous(Control):
    def loudness(self, mixture):
        return mixture.view(-1).abs().view(mixture.shape)


class WritesInput(Control):
    def separate(self, mixture, **required):
        estimates = super().separate(mixture)
        if not torch.is_grad_enabled():
            mixture.mul_(0.5)
        return estimates


class ReturnsViews(Control):
    def separate(self, mixture, **required):
        return (mixture / 2)[:, None].expand(-1, 2, -1, -1)


class DrawsNoise(Control):
    def share(self, mixture):
        return (super().share(mixture) + 0.01 * torch.rand_like(mixture)).clamp(0, 1)


class SeedsAll(Control):
    def share(self, mixture):
        torch.manual_seed(0)
        return super().share(mixture)


class KeepsMean(Control):
    mean = 0.0

    def separate(self, mixture, **required):
        self.mean = 0.9 * self.mean + 0.1 * float(mixture.detach().abs().mean())
        return super().separate(mixture)


class RemembersPrevious(Control):
    previous = 0  # on the class, where no snapshot of the separator finds it

    def share(self, mixture):
        share = super().share(mixture) / (1 + 1e-3 * self.previous)
        type(self).previous = mixture.shape[-1]
        return share


class ScalesByBatch(Control):
    def share(self, mixture):
        loudness = mixture.abs()
        return soft_mask(loudness, loudness.mean().expand_as(loudness), self.power)


class SpreadsBadItem(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture) + 0 * mixture.sum()


class ReturnsSingle(Control):
    def forward(self, mixture, **required):
        estimates = super().forward(mixture, **required)
        return estimates.float() if mixture.dtype == torch.float16 else estimates


class ComputesInHalf(Control):
    def forward(self, mixture, **required):
        estimates = super().forward(mixture, **required)
        return (estimates / 3 * 3) if mixture.dtype in {torch.float16, torch.bfloat16} else estimates


class MixesPrecisions(Control):
    autocast = True

    def separate(self, mixture, **required):
        turned = torch.eye(mixture.shape[1]).to(mixture) @ mixture  # in half precision under autocast
        place = torch.arange(mixture.shape[1], device=mixture.device)
        return super().separate(torch.zeros_like(mixture).index_add(1, place, turned))


class RoundsSingle(Control):
    def share(self, mixture):
        share = super().share(mixture)
        return share.to(torch.bfloat16).to(share.dtype) if mixture.dtype == torch.float32 else share


class SingleConstants(Control):
    def separate(self, mixture, **required):
        window = torch.full(mixture.shape[-1:], 0.1, dtype=torch.float32, device=mixture.device)
        return super().separate(mixture) * window / 0.1


class LosesEnergy(Control):
    def separate(self, mixture, **required):
        return 0.999 * super().separate(mixture)


class AbsoluteFloor(Control):
    def share(self, mixture):
        loudness = mixture.abs()
        return loudness / (loudness + loudness.mean((-2, -1), keepdim=True) + 1e-3)


class ZeroByZero(Control):
    def share(self, mixture):
        loudness = mixture.abs()
        return loudness / (loudness + loudness.mean((-2, -1), keepdim=True))


class LeaksIntoSilence(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture) + 1e-9


class RootAtZero(Control):
    def loudness(self, mixture):
        return mixture.square().mean(1, keepdim=True).sqrt().expand_as(mixture)


class NormalizesChannels(Control):
    def loudness(self, mixture):
        loudest = mixture.detach().abs().amax(-1, keepdim=True)
        silent = (loudest == 0).all(1, keepdim=True)
        return mixture.abs() / loudest.masked_fill(silent, 1.0)


class Detaches(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture.detach(), **required) + 0 * mixture.sum()


class FirstChannelOnly(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture[:, :1].expand_as(mixture))


class IdleParameter(Control):
    def __init__(self, power=2.0, *, sample_rate, trainable=()):
        super().__init__(power, sample_rate=sample_rate, trainable=trainable)
        self.idle = nn.Parameter(torch.ones(3))


class HoldsShares(Control):
    def share(self, mixture):
        return super().share(mixture).detach()


class HardMasks(MaskControl):
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


class DrawnAtConstruction(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.power = 1 + torch.rand(()).item()


class PersistentWindow(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.register_buffer("window", torch.ones(64))


class HidesParameter(Control):
    def state_dict(self, *arguments, **keywords):
        return {}


class HoldsFunction(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.function = lambda tensor: tensor


class TellsNothing(Control):
    def extra_repr(self):
        return ""


class NamesThree(Control):
    names = ("loud", "quiet", "silent")


class NamesNothing(Control):
    names = ()


class MasksAboveOne(MaskControl):
    def masks(self, spectrogram, **required):
        masks = super().masks(spectrogram)
        return 1.5 * masks - 0.25


class MasksLoseShare(MaskControl):
    def masks(self, spectrogram, **required):
        return 0.99 * super().masks(spectrogram)


class DoubleOwners(MaskControl):
    def final_masks(self, spectrogram, **required):
        return (self.masks(spectrogram, **required) >= 0.3).to(spectrogram.real.dtype)


class BranchesOnData(Control):
    def share(self, mixture):
        return super().share(mixture if mixture.detach().abs().max() > 0 else mixture + 0)


class LowPrecisionWindow(Control):
    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.register_buffer("gain", torch.tensor(1 / 3), persistent=False)

    def separate(self, mixture, **required):
        return super().separate(mixture) * (self.gain.to(mixture.dtype) * 3)
