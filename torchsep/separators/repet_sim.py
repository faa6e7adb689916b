"""REPET-SIM: separation of a recurring background by the similarity of its frames."""

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
    """REPET-SIM: separate a recurring background by the similarity of its frames.

    The background of each frame is the median over the most similar other frames. It suits a voice over an
    accompaniment that recurs at irregular intervals, whereas :class:`Repet` assumes one constant period. Similarity is
    computed on the mean magnitude of the channels. Computing time grows with the square of the length, memory linearly.

    The method is covered by the United States patent 9,093,056.

    Args:
        similarity_threshold: cosine similarity, from 0 to 1, above which frames are similar.
        min_distance_between_frames: minimum distance of the frames of a median from each other and from the frame
            itself, in seconds; at least one frame.
        max_repeating_frames: maximum number of frames of a median.
        options: arguments of :class:`BackgroundSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Gradient:
        Exact, with the choice of similar frames held fixed.

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
        """The indices of the frames most similar to each frame, by decreasing similarity, padded with -1."""
        check_mixture(mixture)
        batch = mixture if mixture.dim() == 3 else mixture[None]
        frames = self._similar_frames(magnitude(self.stft(batch)))
        return frames if mixture.dim() == 3 else frames[0]

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """The ratio of the median over similar frames to each frame."""
        observed = magnitude(spectrogram)
        return recurring_mask(observed, self._similar_frames(observed))

    def _similar_frames(self, magnitude: Float[Tensor, "B C F N"]) -> Int[Tensor, "B N K"]:
        hops = self.min_distance_between_frames * self.sample_rate / self.stft.hop_length
        distance = max(1, math.ceil(round(hops, 6)))
        # The mean over channels, in the same memory layout.
        compared = magnitude.mT.mean(1).mT if magnitude.shape[1] > 1 else magnitude
        return similar_frames(compared, distance, self.max_repeating_frames, self.similarity_threshold)
