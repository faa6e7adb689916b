"""Measures of separation, on ``(estimates, sources)``."""

from torchsep.metrics.bss_eval import BSSEval, bss_eval_images, bss_eval_sources, bss_eval_v4
from torchsep.metrics.ratios import sa_sdr, sd_sdr, si_sar, si_sdr, si_sir, snr

__all__ = [
    "BSSEval",
    "bss_eval_images",
    "bss_eval_sources",
    "bss_eval_v4",
    "sa_sdr",
    "sd_sdr",
    "si_sar",
    "si_sdr",
    "si_sir",
    "snr",
]
