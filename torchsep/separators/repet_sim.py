"""Separation of a recurring background from what does not recur, be it periodic or not."""

import math
from typing import Unpack

from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_number
from torchsep.functional.magnitude import magnitude
from torchsep.functional.repetition.similarity import recurring_mask, similar_frames
from torchsep.separators.bases.background_separator import BackgroundOptions, BackgroundSeparator
from torchsep.typing import Spectrogram, Waveform

__all__ = ["RepetSim"]


class RepetSim(BackgroundSeparator):
    """Split a mixture into the background that recurs and the foreground over it.

    The background of each frame is the median over the other frames most similar to it. It suits a voice over an
    accompaniment that comes again at any time, where :class:`Repet` needs one period throughout. Similarity is that of
    the mean magnitude of the channels. The time grows with the square of the length, the memory with the length.

    The method is covered by the United States patent 9,093,056.

    Args:
        similarity_threshold: frames are similar whose cosine is above it, from 0 to 1.
        min_distance_between_frames: the least between the frames of a median, and between them and the frame that
            it is for, in seconds; one frame if that is more.
        max_repeating_frames: most frames of a median.
        options: arguments of :class:`BackgroundSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Gradient:
        Exact for the similar frames found, which are held.

    Example:
        >>> separator = RepetSim(min_distance_between_frames=0.2, sample_rate=8000)
        >>> click = torch.zeros(1, 8000)
        >>> click[:, ::2000] = 1.0
        >>> separator(click).shape
        torch.Size([2, 1, 8000])

    References:
        Z. Rafii and B. Pardo, "Music/voice separation using the similarity matrix", ISMIR, 2012.
    """

    def __init__(
        self,
        similarity_threshold: float = 0.0,
        min_distance_between_frames: float = 1.0,
        max_repeating_frames: int = 100,
        **options: Unpack[BackgroundOptions],
    ) -> None:
        super().__init__(**options)
        check_number(similarity_threshold, "similarity_threshold", at_least=0.0, at_most=1.0)
        check_number(min_distance_between_frames, "min_distance_between_frames", at_least=0.0)
        check_integer(max_repeating_frames, "max_repeating_frames", at_least=1)
        self.similarity_threshold = similarity_threshold
        self.min_distance_between_frames = min_distance_between_frames
        self.max_repeating_frames = max_repeating_frames

    def similar_frames(self, mixture: Waveform) -> Int[Tensor, "B N K"]:
        """For each frame the others that its background is made of, by decreasing similarity; -1 for none."""
        check_mixture(mixture)
        batch = mixture if mixture.dim() == 3 else mixture[None]
        frames = self._similar_frames(magnitude(self.stft(batch)))
        return frames if mixture.dim() == 3 else frames[0]

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """Compare each frame with the median over the frames similar to it."""
        heard = magnitude(spectrogram)
        return recurring_mask(heard, self._similar_frames(heard))

    def _similar_frames(self, magnitude: Float[Tensor, "B C F N"]) -> Int[Tensor, "B N K"]:
        hops = self.min_distance_between_frames * self.sample_rate / self.stft.hop_length
        distance = max(1, math.ceil(round(hops, 6)))
        # Their mean, laid out as they are.
        compared = magnitude.mT.mean(1).mT if magnitude.shape[1] > 1 else magnitude
        return similar_frames(compared, distance, self.max_repeating_frames, self.similarity_threshold)
