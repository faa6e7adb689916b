"""Multi-resolution STFT loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.magnitude import magnitude
from torchsep.functional.samples import at_least_single
from torchsep.losses.inputs import check_pair, silent
from torchsep.transforms import STFT
from torchsep.transforms.stft import Window

__all__ = ["MultiResolutionSTFT"]

Signals = Float[Tensor, "*any C T"]
Losses = Float[Tensor, "*any"]

_BINS = (-3, -2, -1)  # channels, frequencies and frames


@dataclass(frozen=True)
class MultiResolutionSTFT:
    r"""Distance between STFT magnitudes of waveforms, averaged over several resolutions.

    .. math::
        \frac{1}{R} \sum_r \frac{\lVert |S_r| - |\hat S_r| \rVert_F}{\lVert |S_r| \rVert_F}
        + \operatorname{mean} \left| \log \frac{|S_r|}{|\hat S_r|} \right|

    The first term, spectral convergence, is dominated by loud bins; the second, the log-magnitude distance, also
    weights soft bins. Both ignore phase. Several resolutions avoid artefacts that a single one does not penalise.
    Usually combined with a waveform loss.

    Args:
        n_ffts: FFT sizes in samples.
        hop_lengths: hop length in samples for each FFT size; a quarter of the FFT size if None.
        win_lengths: window length in samples for each FFT size; the FFT size if None.
        window: window of :class:`torchsep.STFT`.
        floor_db: level in dB below the mean power of the source at which the second term saturates. For a silent
            source, the power of the mixture is the reference in both terms.

    Shape:
        ``(..., C, T) x 2 -> (...)``, over all channels jointly.

    Raises:
        ValueError: if ``n_ffts`` is empty, the numbers of lengths differ, or :class:`torchsep.STFT` raises.

    Gradient:
        Exact; zero for a perfect estimate, and where source and mixture are silent.

    Example:
        >>> loss = MultiResolutionSTFT(n_ffts=(8, 16))
        >>> source = torch.eye(2, 32)
        >>> loss(torch.stack((source, 0.5 * source)), torch.stack((source, source))).round(decimals=2)
        tensor([0.0000, 0.6500])

    References:
        R. Yamamoto, E. Song and J.-M. Kim, "Parallel WaveGAN: a fast waveform generation model based on generative
        adversarial networks with multi-resolution spectrogram", ICASSP, 2020.
    """

    n_ffts: Sequence[int] = (512, 1024, 2048)
    hop_lengths: Sequence[int] | None = None
    win_lengths: Sequence[int] | None = None
    window: Window = "hann"
    floor_db: float = 80.0
    _stfts: list[STFT] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.n_ffts)
        if not count:
            raise ValueError("n_ffts must hold at least one length, got none")
        for name, lengths in (("hop_lengths", self.hop_lengths), ("win_lengths", self.win_lengths)):
            if lengths is not None and len(lengths) != count:
                raise ValueError(f"{name} must hold one number for each of {count} n_ffts, got {lengths}")
        check_number(self.floor_db, "floor_db", above=0.0)
        hops = [None] * count if self.hop_lengths is None else self.hop_lengths
        windows = [None] * count if self.win_lengths is None else self.win_lengths
        stfts = [
            STFT(size, hop, self.window, length) for size, hop, length in zip(self.n_ffts, hops, windows, strict=True)
        ]
        object.__setattr__(self, "_stfts", stfts)

    def __call__(self, estimates: Signals, sources: Signals, *, mixture: Signals | None = None) -> Losses:
        """Distance of each estimate from its source.

        Args:
            estimates: estimated sources.
            sources: true sources.
            mixture: reference level for silent sources; broadcasts with the sources.
        """
        check_pair(estimates, sources, 2)
        estimates, sources = at_least_single(estimates), at_least_single(sources)
        mixture = None if mixture is None else at_least_single(mixture)
        return torch.stack([self._distance(stft, estimates, sources, mixture) for stft in self._stfts]).mean(0)

    def _distance(self, stft: STFT, estimates: Tensor, sources: Tensor, mixture: Tensor | None) -> Tensor:
        """Sum of both terms at one resolution."""
        found, wanted = magnitude(stft(estimates)), magnitude(stft(sources))
        power = wanted.square().mean(_BINS)
        other = torch.zeros_like(power) if mixture is None else magnitude(stft(mixture)).square().mean(_BINS)
        level = torch.where(silent(power), other, power)
        undefined = silent(level)
        level = level.masked_fill(undefined, 1.0)
        convergence = (
            torch.linalg.vector_norm(found - wanted, dim=_BINS) / (math.prod(wanted.shape[-3:]) * level).sqrt()
        )
        floor = (10 ** (-self.floor_db / 10) * level)[..., None, None, None]
        log_distance = 0.5 * ((found.square() + floor).log() - (wanted.square() + floor).log()).abs()
        return (convergence + log_distance.mean(_BINS)).masked_fill(undefined, 0.0)
