"""The base classes: what every separator takes, returns and promises."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import torch
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_mixture, check_number, check_required, nearest
from torchsep.configurable import Configurable
from torchsep.functional.masks import binary_masks
from torchsep.separators.hyper_parameters import Interval, install
from torchsep.transforms import STFT
from torchsep.typing import Estimates, Masks, Spectrogram, Waveform

__all__ = ["Interval", "MaskSeparator", "Separator"]


class Separator(Configurable, ABC):
    """Map a mixture to estimates of its sources.

    A subclass writes :meth:`separate`, and stores every argument of its constructor under the argument's own name. It
    keeps nothing else between calls, so that one separator serves any number of mixtures, of any length.

    Args:
        sample_rate: of the mixtures, in Hz.
        trainable: names of hyper-parameters, out of ``trainable_parameters``, to learn by gradient descent.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, or ``(C, T) -> (S, C, T)``; required tensors likewise ``(B, S, C, T)`` or
        ``(S, C, T)``.
    """

    names: tuple[str, ...] = ()
    """Of the sources, in their order; empty where they follow a required tensor or a number of sources."""

    channels: int | None = None
    """Number of channels needed; any if None."""

    requires: tuple[str, ...] = ()
    """Names of the tensors that a call needs beside the mixture: ``sources`` or ``estimates``."""

    trainable_parameters: Mapping[str, Interval] = {}
    """Hyper-parameters that may be learned, with what they may be."""

    differentiable: bool = True
    """Whether the gradient is that of the forward pass, discrete choices held (binary masks: straight through)."""

    conservative: bool = True
    """Whether the estimates add up to the mixture."""

    autocast: bool = False
    """Whether the method may run under autocast; else it is switched off inside."""

    bytes_per_sample: float = 110.0
    """Memory that is needed for each sample and channel of a mixture in single precision, roughly: as measured."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for name in cls.__dict__.get("trainable_parameters", {}):
            install(cls, name)

    def __init__(self, *, sample_rate: int, trainable: Sequence[str] = ()) -> None:
        super().__init__()
        check_integer(sample_rate, "sample_rate", at_least=1)
        if isinstance(trainable, str) or not isinstance(trainable, Sequence):
            raise ValueError(f"trainable must be a sequence of names, got {trainable!r}")
        for name in map(str, trainable):
            if name not in self.trainable_parameters:
                known = ", ".join(self.trainable_parameters) or "nothing"
                hint = nearest(name, self.trainable_parameters)
                raise ValueError(f"trainable must name parameters out of: {known}; got {name!r}{hint}")
        self.sample_rate = sample_rate
        self.trainable = tuple(trainable)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> Self:
        """A separator of this class with learned weights, in evaluation mode; as :func:`torchsep.load`.

        Args:
            source: a checkpoint: a file, a folder, the name of one that comes with the library, or ``hub:user/name``.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            ValueError: if it is damaged, or of another class.
        """
        from torchsep.checkpoint import load

        separator = load(source)
        if not isinstance(separator, cls):
            raise ValueError(f"source must be a checkpoint of {cls.__name__}, got one of {type(separator).__name__}")
        return separator

    @abstractmethod
    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """The estimates of the sources; the mixture is batched, in single or double precision, and checked."""

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(self, mixture: Tensor, **required: Tensor) -> Tensor:
        """The estimates of the sources of one mixture or of a batch.

        Args:
            mixture: ``(B, C, T)`` or ``(C, T)``, floating point. Half precision is computed in single. An item with
                NaN or infinite samples gives NaN, and leaves the other items alone.
            required: the tensors named in ``requires``, each ``(B, S, C, T)`` or ``(S, C, T)``.

        Raises:
            ValueError: if a tensor has a wrong shape or dtype, if no item of the mixture is finite, or if a required
                tensor is missing.
        """
        check_mixture(mixture, self.channels)
        check_required(required, self.requires, tuple(mixture.shape))
        batched = mixture.dim() == 3
        dtype = torch.float64 if mixture.dtype == torch.float64 else torch.float32
        ready = {name: tensor.to(dtype) if batched else tensor.to(dtype)[None] for name, tensor in required.items()}
        whole = mixture.to(dtype) if batched else mixture.to(dtype)[None]
        allowed = self.autocast and torch.is_autocast_enabled(mixture.device.type)
        with torch.autocast(mixture.device.type, enabled=allowed):
            estimates = self.separate(whole, **ready)
        if estimates.dim() != 4 or estimates.shape[0] != whole.shape[0] or estimates.shape[-1] != whole.shape[-1]:
            wanted = f"(B, S, C, T) with B={whole.shape[0]} and T={whole.shape[-1]}"
            raise ValueError(f"{type(self).__name__}.separate must return {wanted}, got {tuple(estimates.shape)}")
        estimates = estimates.to(mixture.dtype)
        return estimates if batched else estimates[0]


class MaskSeparator(Separator):
    """Separate by weighing the bins of the mixture's spectrogram.

    A subclass writes :meth:`masks`; this class makes them binary if asked, applies them and returns to waveforms.

    Args:
        sample_rate: of the mixtures, in Hz.
        mask_type: ``soft`` masks as the method gives them, or ``binary`` ones, where each bin has one owner.
        mask_threshold: from 0 to 1; the foreground, the second of two sources, owns a bin in a binary mask where its
            soft mask is above it. Of more than two sources the largest mask wins.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.
        trainable: names of hyper-parameters to learn.
    """

    last_is_rest: bool = False
    """Whether the masks add up to one, so that the last source is taken as what the others leave: it costs nothing."""

    def __init__(
        self,
        *,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
        trainable: Sequence[str] = (),
    ) -> None:
        super().__init__(sample_rate=sample_rate, trainable=trainable)
        check_choice(mask_type, ("soft", "binary"), "mask_type")
        check_number(mask_threshold, "mask_threshold", at_least=0.0, at_most=1.0)
        if stft is not None and not isinstance(stft, STFT):
            raise ValueError(f"stft must be an STFT or None, got {stft!r}")
        self.mask_type = mask_type
        self.mask_threshold = mask_threshold
        self.stft = STFT.from_sample_rate(sample_rate) if stft is None else stft

    @abstractmethod
    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The soft masks of the sources, in [0, 1], from the mixture's spectrogram."""

    @final
    def final_masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The masks that are applied: those of :meth:`masks`, made binary if ``mask_type`` says so."""
        masks = self.masks(spectrogram, **required)
        batch, channels, *bins_and_frames = spectrogram.shape
        outer = (masks.shape[0], *masks.shape[3:])
        if masks.dim() != 5 or outer != (batch, *bins_and_frames) or masks.shape[2] not in {1, channels}:
            wanted = f"(B, S, C, F, N) for spectrogram {tuple(spectrogram.shape)}"
            raise ValueError(f"{type(self).__name__}.masks must return {wanted}, got {tuple(masks.shape)}")
        return binary_masks(masks, self.mask_threshold) if self.mask_type == "binary" else masks

    def leading_masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The masks that are applied but for the last, for separators whose last source is what the others leave."""
        return self.final_masks(spectrogram, **required)[:, :-1]

    @final
    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Mask the mixture's spectrogram and return to waveforms."""
        spectrogram = self.stft(mixture)
        if not self.last_is_rest:
            masks = self.final_masks(spectrogram, **required)
            return self.stft.inverse(spectrogram[:, None], mixture.shape[-1], masks)
        masks = self.leading_masks(spectrogram, **required)
        others = self.stft.inverse(spectrogram[:, None], mixture.shape[-1], masks)
        return torch.cat((others, mixture[:, None] - others.sum(1, keepdim=True)), 1)
