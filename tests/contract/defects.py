"""Small separators with one planted defect each, which the contract must detect; no definition registers its class."""

import torch
from contract.controls import Control, OracleControl
from torch import nn

from torchsep.functional.masks import soft_mask


class LosesTail(Control):
    def separate(self, mixture, **required):
        length = mixture.shape[-1]
        return super().separate(mixture[..., : length - length % 2])


class MirrorsEnds(Control):
    def amplitude(self, mixture):
        return nn.functional.pad(mixture.abs(), (20, 20), mode="reflect")[..., 20:-20]


class SwapsAxes(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture).transpose(1, 2)


class ReadsChannelsAsItems(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture[:, None] if mixture.dim() == 2 else mixture, **required)


class GuessesAxes(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture.reshape(-1, *mixture.shape[-2:]) if mixture.dim() > 3 else mixture, **required)


class ExchangesAxes(Control):
    def forward(self, mixture, **required):
        if torch.is_tensor(mixture) and mixture.dim() == 3 and mixture.shape[1] > mixture.shape[2]:
            return super().forward(mixture.mT, **required).mT
        return super().forward(mixture, **required)


class AcceptsArrays(Control):
    def forward(self, mixture, **required):
        return super().forward(torch.as_tensor(mixture), **required)


class LosesShapeOfEmptyBatch(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture, **required) if mixture.numel() or len(mixture) else mixture


class AcceptsIntegers(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture if mixture.is_floating_point() else mixture.float(), **required)


class MapsItemsInReverse(Control):
    def forward(self, mixture, **required):
        reverses = torch._C._functorch.is_batchedtensor(mixture)
        return super().forward(mixture.flip(-1) if reverses else mixture, **required)


class AcceptsUnknownTensors(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture)


class AcceptsMissingSources(OracleControl):
    def forward(self, mixture, **required):
        return super().forward(mixture, **{"sources": torch.stack((mixture, mixture), -3), **required})


class ReplacesNonFiniteSamples(Control):
    def forward(self, mixture, **required):
        finite = mixture.nan_to_num(0.0, 0.0, 0.0) if mixture.is_floating_point() else mixture
        return super().forward(finite, **required)


class ReadsMemoryOrder(Control):
    def forward(self, mixture, **required):
        return super().forward(mixture.as_strided(mixture.shape, torch.empty(mixture.shape).stride()), **required)


class NeedsContiguous(Control):
    def amplitude(self, mixture):
        return mixture.view(-1).abs().view(mixture.shape)


class WritesInput(Control):
    def forward(self, mixture, **required):
        estimates = super().forward(mixture, **required)
        if not torch.is_grad_enabled():
            mixture.mul_(0.5)
        return estimates


class ReturnsViews(Control):
    def forward(self, mixture, **required):
        return (mixture / 2)[:, None].expand(-1, 2, -1, -1)


class DrawsNoise(Control):
    def mask(self, mixture):
        return (super().mask(mixture) + 0.01 * torch.rand_like(mixture)).clamp(0, 1)


class SeedsGlobalGenerator(Control):
    def mask(self, mixture):
        torch.manual_seed(0)
        return super().mask(mixture)


class StoresRunningMean(Control):
    mean = 0.0

    def separate(self, mixture, **required):
        self.mean = 0.9 * self.mean + 0.1 * float(mixture.detach().abs().mean())
        return super().separate(mixture)


class DependsOnPreviousCall(Control):
    previous = 0  # on the class, so that it is not part of a snapshot of the separator

    def mask(self, mixture):
        mask = super().mask(mixture) / (1 + 1e-3 * self.previous)
        type(self).previous = mixture.shape[-1]
        return mask


class ScalesByBatch(Control):
    def mask(self, mixture):
        amplitude = mixture.abs()
        return soft_mask(amplitude, amplitude.mean().expand_as(amplitude), self.power)


class SpreadsNonFiniteItem(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture) + 0 * mixture.sum()


class RefusesEqualChannels(Control):
    def mask(self, mixture):
        if mixture.shape[1] > 1 and (mixture[:, 0] == mixture[:, 1]).all(-1).any():
            raise ValueError("channels must differ")
        return super().mask(mixture)


class ReturnsSinglePrecision(Control):
    def forward(self, mixture, **required):
        estimates = super().forward(mixture, **required)
        return estimates.float() if mixture.dtype == torch.float16 else estimates


class ComputesInHalfPrecision(Control):
    def forward(self, mixture, **required):
        estimates = super().forward(mixture, **required)
        return (estimates / 3 * 3) if mixture.dtype in {torch.float16, torch.bfloat16} else estimates


class MixesPrecisions(Control):
    autocast = True

    def separate(self, mixture, **required):
        product = torch.eye(mixture.shape[1]).to(mixture) @ mixture  # in half precision under autocast
        index = torch.arange(mixture.shape[1], device=mixture.device)
        return super().separate(torch.zeros_like(mixture).index_add(1, index, product))


class RoundsSinglePrecision(Control):
    def mask(self, mixture):
        mask = super().mask(mixture)
        return mask.to(torch.bfloat16).to(mask.dtype) if mixture.dtype == torch.float32 else mask


class SinglePrecisionConstants(Control):
    def separate(self, mixture, **required):
        window = torch.full(mixture.shape[-1:], 0.1, dtype=torch.float32, device=mixture.device)
        return super().separate(mixture) * window / 0.1


class LosesEnergy(Control):
    def separate(self, mixture, **required):
        return 0.999 * super().separate(mixture)


class AbsoluteFloor(Control):
    def mask(self, mixture):
        amplitude = mixture.abs()
        return amplitude / (amplitude + amplitude.mean((-2, -1), keepdim=True) + 1e-3)


class SquaresOverflow(Control):
    def forward(self, mixture, **required):
        if mixture.dim() not in {2, 3} or not mixture.is_floating_point():
            return super().forward(mixture, **required)
        level = mixture.detach().square().mean((-2, -1), keepdim=True).sqrt().clamp(min=1e-30)
        return super().forward(mixture / level, **required) * level[..., None, :, :]


class ScalesWithoutGradient(Control):
    def forward(self, mixture, **required):
        estimates = super().forward(mixture, **required)
        peak = mixture.detach().abs().amax((-2, -1), keepdim=True)[..., None, :, :]
        return torch.where(peak > 1e20, estimates.detach(), estimates)


class DefaultDtypeConstants(Control):
    def amplitude(self, mixture):
        return mixture.abs() @ torch.eye(mixture.shape[-1], device=mixture.device)


class DefaultDeviceConstants(Control):
    def amplitude(self, mixture):
        return mixture.abs() * torch.ones(mixture.shape[-1]).to(mixture)


class DivergesWithoutValues(Control):
    def separate(self, mixture, **required):
        estimates = super().separate(mixture)
        return estimates[:, :1] if mixture.is_meta else estimates


class ReadsValuesAtConstruction(Control):
    def __init__(self, power=2.0, *, sample_rate, trainable=()):
        super().__init__(power, sample_rate=sample_rate, trainable=trainable)
        self.gain = float(torch.ones(3).sum() / 3)


class DividesZeroByZero(Control):
    def mask(self, mixture):
        amplitude = mixture.abs()
        return amplitude / (amplitude + amplitude.mean((-2, -1), keepdim=True))


class LeaksIntoSilence(Control):
    def separate(self, mixture, **required):
        return super().separate(mixture) + 1e-9


class SquareRootAtZero(Control):
    def amplitude(self, mixture):
        return mixture.square().mean(1, keepdim=True).sqrt().expand_as(mixture)


class NormalizesChannels(Control):
    def amplitude(self, mixture):
        peak = mixture.detach().abs().amax(-1, keepdim=True)
        silent = (peak == 0).all(1, keepdim=True)
        return mixture.abs() / peak.masked_fill(silent, 1.0)


class AmplifiesQuietChannels(Control):
    def forward(self, mixture, **required):
        if mixture.dim() not in {2, 3} or not mixture.is_floating_point() or not mixture.numel():
            return super().forward(mixture, **required)
        peak = mixture.detach().abs().amax(-1, keepdim=True)
        peak = peak.masked_fill(peak == 0, 1.0)
        return super().forward(mixture / peak, **required) * peak[..., None, :, :]
