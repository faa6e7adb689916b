"""A synthesised scene with known sources, separated and scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from torchsep import audio
from torchsep.data import music_and_voice
from torchsep.engine.run import configure
from torchsep.functional import source_images
from torchsep.metrics import match_estimates, si_sdr
from torchsep.separators.bases.source_names import are_numbered

__all__ = ["DemoResult", "run_demo"]


@dataclass(frozen=True)
class DemoResult:
    """SI-SDR in dB of the mixture and of the estimate for each source, and the files written."""

    scores: dict[str, tuple[float, float]]
    written: tuple[Path, ...]


def run_demo(
    folder: Path,
    separator: str = "repet",
    parameters: Mapping[str, Any] | None = None,
    duration: float = 10.0,
    sample_rate: int = 44100,
) -> DemoResult:
    """The scores of a separator on a synthesised mixture of music and voice; its sources are written as files.

    The score is the scale-invariant signal-to-distortion ratio, zero-mean, the mean over the two channels. Sources are
    taken in the separator's order, music (the background) first; those in no fixed order are matched to the true ones.

    Args:
        folder: where the mixture, the true sources and the estimates are written.
        separator: a separator of two sources, as for :func:`configure`.
        parameters: arguments for it.
        duration: of the scene, in seconds.
        sample_rate: of the scene, in Hz.

    Raises:
        ValueError: if the separator is unknown, not trained, or does not have two sources.
    """
    scene = music_and_voice(duration, sample_rate)
    sources = torch.stack(list(scene.values()))
    mixture = sources.sum(0)
    choice = configure((), separator, parameters).choice
    choice.check(has_sources=True)
    built = choice.at(sample_rate)
    choice.check(has_sources=True, built=built)
    with torch.inference_mode():
        required = {"sources": sources} if "sources" in built.requires else {}
        estimates = source_images(built(mixture, **required), mixture)
    if len(estimates) != len(sources):
        raise ValueError(f"separator must give two sources for the demo, got {len(estimates)} from {separator}")
    if are_numbered(built.names):
        estimates = match_estimates(si_sdr, estimates, sources).estimates
    scores = {
        name: (
            si_sdr(mixture, true).mean().item(),
            si_sdr(estimate, true).mean().item(),
        )
        for name, estimate, true in zip(scene, estimates, sources, strict=True)
    }
    names = [*(f"true_{name}" for name in scene), *(f"estimated_{name}" for name in scene), "mixture"]
    paths = [folder / f"{name}.wav" for name in names]
    audio.write_sources(paths, torch.cat((sources, estimates, mixture[None])), sample_rate)
    return DemoResult(scores, tuple(paths))
