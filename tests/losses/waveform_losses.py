"""Waveform losses under test."""

from functools import partial

import pytest
from scenes import noise

from torchsep.losses import MultiResolutionSTFT, l1_loss, mse_loss, si_sdr_loss, snr_loss

SPECTRAL = MultiResolutionSTFT(n_ffts=(8, 16))


LOSSES = {
    "si_sdr": si_sdr_loss,
    "si_sdr, clipped": partial(si_sdr_loss, clip_db=30.0),
    "si_sdr, with its mean": partial(si_sdr_loss, zero_mean=False),
    "snr": snr_loss,
    "snr, clipped": partial(snr_loss, clip_db=30.0),
    "l1": l1_loss,
    "mse": mse_loss,
    "stft": SPECTRAL,
}


EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


IN_DB = ["si_sdr", "si_sdr, clipped", "si_sdr, with its mean", "snr", "snr, clipped"]


RELATIVE = pytest.mark.parametrize("loss", [LOSSES[name] for name in [*IN_DB, "stft"]], ids=[*IN_DB, "stft"])


def scene(*leading, channels=2, samples=40):
    sources = noise(*leading, channels, samples) + 0.2
    return 0.7 * sources + 0.4 * noise(*leading, channels, samples, seed=1), sources


def gradient(loss, estimates, *others, **given):
    estimates = estimates.detach().clone().requires_grad_()
    loss(estimates, *others, **given).sum().backward()
    return estimates.grad
