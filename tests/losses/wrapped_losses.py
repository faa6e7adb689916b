"""Loss wrappers under test."""

from functools import partial

import pytest
import torch
from scenes import noise

from torchsep.losses import (
    FixedOrder,
    MixtureInvariant,
    MultiResolutionSTFT,
    OneAndRestPIT,
    PermutationInvariant,
    WeightedSum,
    l1_loss,
    si_sdr_loss,
    snr_loss,
)

PAIRS = {
    "si_sdr": si_sdr_loss,
    "snr, clipped": partial(snr_loss, clip_db=30.0),
    "l1": l1_loss,
    "stft": MultiResolutionSTFT(n_ffts=(16,)),
    "sum": WeightedSum([snr_loss, l1_loss], [1.0, 3.0]),
    "of a user": lambda estimates, sources: (estimates - sources).pow(4).amax((-2, -1)),
}


ANY = pytest.mark.parametrize("loss", PAIRS.values(), ids=PAIRS)


WRAPPERS = pytest.mark.parametrize("wrapper", [FixedOrder, PermutationInvariant, OneAndRestPIT, MixtureInvariant])


def scene(batch=3, count=3, *, samples=30, dtype=torch.float64):
    """Sources, and estimates of each in another order in every item."""
    sources = noise(batch, count, 2, samples)
    orders = torch.stack([torch.randperm(count, generator=torch.Generator().manual_seed(n)) for n in range(batch)])
    estimates = torch.stack([item[order] for item, order in zip(sources, orders, strict=True)])
    return (0.8 * estimates + 0.3 * noise(batch, count, 2, samples, seed=1)).to(dtype), sources.to(dtype)


def given(wrapper, batch=3, dtype=torch.float64):
    """Targets of a wrapper."""
    estimates, sources = scene(batch, dtype=dtype)
    if wrapper is OneAndRestPIT:
        return torch.stack((estimates[:, 1], estimates[:, 0] + estimates[:, 2]), 1), sources
    if wrapper is MixtureInvariant:
        return estimates, torch.stack((sources[:, 0] + sources[:, 2], sources[:, 1]), 1)
    return estimates, sources


def gradient(loss, estimates, sources):
    estimates = estimates.detach().clone().requires_grad_()
    loss(estimates, sources).sum().backward()
    return estimates.grad
