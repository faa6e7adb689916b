"""Front ends: from waveforms to spectrograms and back."""

from torchsep.transforms.stft import STFT

__all__ = ["STFT"]
