"""Front ends: transforms between waveforms and spectrograms."""

from torchsep.transforms.stft import STFT

__all__ = ["STFT"]
