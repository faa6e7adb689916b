"""Separation metrics on ``(estimates, sources)``: functions, and torchmetrics modules imported on first use."""

import importlib
from typing import Any

from torchsep.metrics.binary_masks import PrecisionRecall, precision_recall
from torchsep.metrics.bss_eval import BSSEval, bss_eval_images, bss_eval_sources, bss_eval_v4
from torchsep.metrics.matching import MatchedEstimates, match_estimates, pairwise
from torchsep.metrics.ratios import sa_sdr, sd_sdr, si_sar, si_sdr, si_sir, snr
from torchsep.metrics.summaries import frame_median, improvement

__all__ = [
    "BSSEval",
    "MatchedEstimates",
    "PrecisionRecall",
    "bss_eval_images",
    "bss_eval_sources",
    "bss_eval_v4",
    "frame_median",
    "improvement",
    "match_estimates",
    "pairwise",
    "precision_recall",
    "sa_sdr",
    "sd_sdr",
    "si_sar",
    "si_sdr",
    "si_sir",
    "snr",
]

_MODULES = {
    "BSSEvalV4": "modules",
    "PESQ": "speech",
    "STOI": "speech",
    "ScaleDependentSDR": "modules",
    "ScaleInvariantSAR": "modules",
    "ScaleInvariantSDR": "modules",
    "ScaleInvariantSIR": "modules",
    "SeparationMetric": "modules",
    "SignalNoiseRatio": "modules",
    "SourceAggregatedSDR": "modules",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"torchsep.metrics.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'torchsep.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
