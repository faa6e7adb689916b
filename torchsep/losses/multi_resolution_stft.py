"""A loss of waveforms that compares their magnitudes at several resolutions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.magnitude import magnitude
from torchsep.losses.inputs import at_least_single, check_pair, silent
from torchsep.transforms import STFT
from torchsep.transforms.stft import Window

__all__ = ["MultiResolutionSTFT"]

Signals = Float[Tensor, "*any C T"]
Losses = Float[Tensor, "*any"]

_BINS = (-3, -2, -1)  # channels, frequencies and frames


@dataclass(frozen=True)
class MultiResolutionSTFT:
    r"""How far the magnitudes of waveforms are apart, the mean over several short-time Fourier transforms.

    .. math::
        \frac{1}{R} \sum_r \frac{\lVert |S_r| - |\hat S_r| \rVert_F}{\lVert |S_r| \rVert_F}
        + \operatorname{mean} \left| \log \frac{|S_r|}{|\hat S_r|} \right|

    The first term looks at what is loud, the second at what is soft, and neither at phases; one resolution alone would
    leave artefacts that it does not show. Use it beside a loss of waveforms.

    Args:
        n_ffts: lengths of the transforms, in samples.
        hop_lengths: samples from one frame to the next, one for each; a quarter of the lengths if None.
        win_lengths: lengths of the windows in samples, one for each; those of the transforms if None.
        window: as of :class:`torchsep.STFT`.
        floor_db: what is so many dB or more below the mean power of the source counts, in the second term, as little
            different. For a silent source it is the mixture's power, as is the norm in the first.

    Shape:
        ``(..., C, T) x 2 -> (...)``, over all channels together.

    Raises:
        ValueError: if there is no length, or a number of the others; or as :class:`torchsep.STFT`.

    Gradient:
        Exact; zero at the perfect estimate, and where source and mixture are silent.

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
        """The distance of each estimate from its source.

        Args:
            estimates: of the sources.
            sources: the true ones.
            mixture: by which silent sources are measured; it broadcasts with the sources.
        """
        check_pair(estimates, sources, 2)
        estimates, sources = at_least_single(estimates), at_least_single(sources)
        mixture = None if mixture is None else at_least_single(mixture)
        return torch.stack([self._distance(stft, estimates, sources, mixture) for stft in self._stfts]).mean(0)

    def _distance(self, stft: STFT, estimates: Tensor, sources: Tensor, mixture: Tensor | None) -> Tensor:
        """The sum of both terms at one resolution."""
        found, wanted = magnitude(stft(estimates)), magnitude(stft(sources))
        power = wanted.square().mean(_BINS)
        other = torch.zeros_like(power) if mixture is None else magnitude(stft(mixture)).square().mean(_BINS)
        level = torch.where(silent(power), other, power)
        nothing = silent(level)
        level = level.masked_fill(nothing, 1.0)
        convergence = (
            torch.linalg.vector_norm(found - wanted, dim=_BINS) / (math.prod(wanted.shape[-3:]) * level).sqrt()
        )
        floor = (10 ** (-self.floor_db / 10) * level)[..., None, None, None]
        apart = 0.5 * ((found.square() + floor).log() - (wanted.square() + floor).log()).abs()
        return (convergence + apart.mean(_BINS)).masked_fill(nothing, 0.0)
