"""Perceptual speech metrics PESQ and STOI, which need the extra ``speech``."""

import importlib.util
import math
import warnings
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional import audio  # noqa: TID253 - this file is imported when it is used

from torchsep.checks import check_choice, check_integer
from torchsep.metrics.modules import Measure, SeparationMetric
from torchsep.metrics.ratios import si_sdr

__all__ = ["PESQ", "STOI"]


class PESQ(SeparationMetric):
    """Mean perceptual evaluation of speech quality (PESQ), from -0.5 to 4.64, per channel on the CPU.

    Signals that PESQ rejects, such as silence or less than a quarter of a second, are ignored and counted.

    Args:
        sample_rate: 8000 or 16000 Hz.
        mode: ``"nb"`` for narrow-band (telephone) speech, ``"wb"`` for wide-band speech at 16000 Hz.
        options: options of :class:`torchsep.metrics.SeparationMetric`: ``permute``, by SI-SDR unless ``match_by`` is
            given, and ``improvement``.

    Raises:
        ImportError: if the extra ``speech`` is not installed.

    References:
        ITU-T Recommendation P.862, "Perceptual evaluation of speech quality", 2001.
    """

    is_differentiable = False

    def __init__(self, *, sample_rate: int, mode: str = "nb", **options: Any) -> None:
        _check_installed("pesq", "PESQ")
        check_choice(mode, ("nb", "wb"), "mode")
        if sample_rate not in ((16000,) if mode == "wb" else (8000, 16000)):
            wanted = "16000 in mode wb" if mode == "wb" else "8000 or 16000"
            raise ValueError(f"sample_rate must be {wanted}, got {sample_rate}")
        super().__init__(partial(_pesq, sample_rate=sample_rate, mode=mode), **_by_si_sdr(options))


class STOI(SeparationMetric):
    """Mean short-time objective intelligibility (STOI), up to 1, per channel on the CPU.

    Signals that STOI rejects, such as silence or less than 0.4 s of active speech, are ignored and counted.

    Args:
        sample_rate: sample rate in Hz.
        extended: whether to use extended STOI, for modulated noise.
        options: options of :class:`torchsep.metrics.SeparationMetric`: ``permute``, by SI-SDR unless ``match_by`` is
            given, and ``improvement``.

    Raises:
        ImportError: if the extra ``speech`` is not installed.

    References:
        C. Taal, R. Hendriks, R. Heusdens and J. Jensen, "An algorithm for intelligibility prediction of time-frequency
        weighted noisy speech", IEEE TASLP, 2011.
        J. Jensen and C. Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise
        maskers", IEEE TASLP, 2016.
    """

    is_differentiable = False

    def __init__(self, *, sample_rate: int, extended: bool = False, **options: Any) -> None:
        _check_installed("pystoi", "STOI")
        check_integer(sample_rate, "sample_rate", at_least=1)
        super().__init__(partial(_stoi, sample_rate=sample_rate, extended=extended), **_by_si_sdr(options))


def _by_si_sdr(options: dict[str, Any]) -> dict[str, Any]:
    return {"match_by": si_sdr, **options}


def _check_installed(package: str, name: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{name} needs the package {package}: pip install 'torchsep[speech]'")


def _pesq(estimates: Tensor, sources: Tensor, *, sample_rate: int, mode: str) -> Float[Tensor, "*any"]:
    from pesq import PesqError

    measure = partial(audio.perceptual_evaluation_speech_quality, fs=sample_rate, mode=mode)
    return _one_by_one(measure, estimates, sources, (PesqError,))


def _stoi(estimates: Tensor, sources: Tensor, *, sample_rate: int, extended: bool) -> Float[Tensor, "*any"]:
    measure = partial(audio.short_time_objective_intelligibility, fs=sample_rate, extended=extended)
    # pystoi warns if there are too few frames and raises if there are none.
    return _one_by_one(measure, estimates, sources, (RuntimeWarning, ValueError))


def _one_by_one(
    measure: Measure, estimates: Tensor, sources: Tensor, refusals: tuple[type[Exception], ...]
) -> Float[Tensor, "*any"]:
    """Apply an unbatched metric to each pair of signals; NaN for rejected pairs."""
    pairs = zip(estimates.detach().flatten(0, -2).cpu(), sources.detach().flatten(0, -2).cpu(), strict=True)
    values = [_of_pair(measure, *pair, refusals) for pair in pairs]
    return torch.tensor(values, device=sources.device).reshape(sources.shape[:-1])


def _of_pair(measure: Measure, estimate: Tensor, source: Tensor, refusals: tuple[type[Exception], ...]) -> float:
    # Neither metric is defined for silence, but both return a value.
    if not (estimate.isfinite().all() and source.isfinite().all() and estimate.any() and source.any()):
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(measure(estimate, source))
        except refusals:
            return math.nan
