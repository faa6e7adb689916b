"""Separation by two networks in the shape of a U, one on the waveform and one on its spectrogram, with one bottom."""

from torch import nn

from torchsep.checks import check_integer
from torchsep.networks.network import WaveformNetwork
from torchsep.typing import Estimates, Waveform

__all__ = ["HDemucs"]

# Lengths of the transform, with the steps after which one bin is left; for others the two parts do not meet.
STEPS = {64: 2, 256: 3, 1024: 4, 2048: 5, 4096: 5}

_LEAST_HOPS = 3


class HDemucs(WaveformNetwork):
    """The sources of a mixture, from its waveform and its complex spectrogram together: hybrid Demucs.

    Both are brought down by convolutions of stride four until one step of time and one bin are left of each frame's
    hop, worked on as one from there, and brought up again with ways across from each step down. What comes out is the
    sum of a waveform and of a spectrogram turned back into one. To be preferred for music, with data and time enough.
    Waveform and spectrogram are normed by the mean and deviation of all of them, so that every sample of the result
    depends on all of the mixture. Signals of less than three quarters of a transform are lengthened by silence.

    Args:
        num_sources: number ``S`` of sources.
        channels: of the mixture, seen together.
        hidden_size: features after the first step, a multiple of 16.
        growth: factor on the features from step to step.
        n_fft: length of the transform, in samples: 64, 256, 1024, 2048 or 4096; it is hopped by a quarter.
        depth: number of steps down, and up; at least those that leave one bin, of which a transform of 4096 or 2048
            needs 5, of 1024 needs 4, of 256 needs 3 and of 64 needs 2. Steps from the fifth on have recurrent layers
            and attention.

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
        """The sources of a mixture."""
        length = mixture.shape[-1]
        # What is mirrored at the ends of the spectrogram must be there.
        missing = max(0, _LEAST_HOPS * self.n_fft // 4 - length)
        estimates: Estimates = self.model(nn.functional.pad(mixture, (0, missing)) if missing else mixture)
        return estimates[..., :length]
