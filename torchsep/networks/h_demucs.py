"""Hybrid Demucs: two U-Nets, on the waveform and on the spectrogram, with a shared bottleneck."""

from torch import nn

from torchsep.checks import check_integer
from torchsep.networks.network import WaveformNetwork
from torchsep.typing import Estimates, Waveform

__all__ = ["HDemucs"]

# Transform lengths with the number of layers after which one bin remains; with others the branches cannot be joined.
STEPS = {64: 2, 256: 3, 1024: 4, 2048: 5, 4096: 5}

_LEAST_HOPS = 3


class HDemucs(WaveformNetwork):
    """Hybrid Demucs: U-Nets on the waveform and on the complex spectrogram, with a shared bottleneck.

    Convolutions of stride four downsample both branches until one bin and one time step per hop remain. The branches
    share the layers from there on, and are upsampled again with skip connections. The output is the sum of a waveform
    and of an inverted spectrogram. Suited to music with much training data. Waveform and spectrogram are standardised
    over the whole mixture, so every output sample depends on all of it. Signals shorter than three quarters of a
    transform are zero-padded.

    Args:
        num_sources: number ``S`` of sources.
        channels: number of channels of the mixture, which are processed jointly.
        hidden_size: number of features after the first layer, a multiple of 16.
        growth: factor of the number of features between layers.
        n_fft: length of the transform, in samples: 64, 256, 1024, 2048 or 4096; the hop is a quarter.
        depth: number of encoder layers, and of decoder layers; at least 5 for transforms of 4096 or 2048, 4 for 1024,
            3 for 256 and 2 for 64. Layers from the fifth on contain recurrent layers and attention.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> network = HDemucs(num_sources=3, hidden_size=16, n_fft=64, depth=2)
        >>> network(torch.zeros(1, 2, 100)).shape
        torch.Size([1, 3, 2, 100])

    References:
        A. Defossez, "Hybrid spectrogram and waveform source separation", ISMIR workshop on Music Source Separation,
        2021.
    """

    def __init__(
        self,
        num_sources: int = 4,
        *,
        channels: int = 2,
        hidden_size: int = 48,
        growth: int = 2,
        n_fft: int = 4096,
        depth: int = 6,
    ) -> None:
        super().__init__()
        check_integer(num_sources, "num_sources", at_least=1)
        check_integer(channels, "channels", at_least=1)
        check_integer(hidden_size, "hidden_size", at_least=16)
        check_integer(growth, "growth", at_least=1)
        check_integer(n_fft, "n_fft", at_least=1)
        if hidden_size % 16:
            raise ValueError(f"hidden_size must be a multiple of 16, got {hidden_size}")
        if n_fft not in STEPS:
            raise ValueError(f"n_fft must be one of {', '.join(map(str, STEPS))}, got {n_fft}")
        check_integer(depth, "depth", at_least=STEPS[n_fft])
        self.num_sources = num_sources
        self.channels = channels
        self.hidden_size = hidden_size
        self.growth = growth
        self.n_fft = n_fft
        self.depth = depth

        import torchaudio

        self.model: nn.Module = torchaudio.models.HDemucs(
            [f"source_{number + 1}" for number in range(num_sources)],
            audio_channels=channels,
            channels=hidden_size,
            growth=growth,
            nfft=n_fft,
            depth=depth,
        )

    def forward(self, mixture: Waveform) -> Estimates:
        """The estimated sources of a mixture."""
        length = mixture.shape[-1]
        # Minimum length for the reflection padding of the spectrogram.
        missing = max(0, _LEAST_HOPS * self.n_fft // 4 - length)
        estimates: Estimates = self.model(nn.functional.pad(mixture, (0, missing)) if missing else mixture)
        return estimates[..., :length]
