"""Pitch: salience, contours and the predominant melody."""

from torchsep.functional.pitch.contours import Contours, pitch_contours
from torchsep.functional.pitch.harmonic_masks import harmonic_mask, vowel_envelope
from torchsep.functional.pitch.melody import predominant_melody, select_melody
from torchsep.functional.pitch.salience import equal_loudness, harmonic_summation, salient_pitches, spectral_peaks

__all__ = [
    "Contours",
    "equal_loudness",
    "harmonic_mask",
    "harmonic_summation",
    "pitch_contours",
    "predominant_melody",
    "salient_pitches",
    "select_melody",
    "spectral_peaks",
    "vowel_envelope",
]
