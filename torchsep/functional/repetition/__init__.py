"""Repetition in spectrograms: periodicity, self-similarity and the 2D Fourier transform."""

from torchsep.functional.repetition.fourier_2d import ft2d_mask, peak_prominence, strong_peaks
from torchsep.functional.repetition.periodicity import autocorrelation, beat_spectrum, periodic_median, repeating_mask
from torchsep.functional.repetition.similarity import median_of_frames, recurring_mask, similar_frames

__all__ = [
    "autocorrelation",
    "beat_spectrum",
    "ft2d_mask",
    "median_of_frames",
    "peak_prominence",
    "periodic_median",
    "recurring_mask",
    "repeating_mask",
    "similar_frames",
    "strong_peaks",
]
