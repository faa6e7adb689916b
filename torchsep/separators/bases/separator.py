"""The base class of all separators: their interface and their guarantees."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Required, TypedDict, final

import torch
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_required, has_values, nearest
from torchsep.configurable import Configurable, registry_name
from torchsep.functional._custom_ops import without_autocast
from torchsep.functional._levels import apply_gain, usual_level_gain, without_inaudible
from torchsep.functional._vmap import as_batch, is_mapped
from torchsep.separators.bases.trainable import Interval, install
from torchsep.typing import Estimates, Waveform

__all__ = ["Separator", "SeparatorOptions"]


class SeparatorOptions(TypedDict, total=False):
    """Keyword arguments of :class:`Separator`, which subclasses pass on."""

    sample_rate: Required[int]
    trainable: Sequence[str]


class Separator(Configurable, ABC):
    """Map a mixture to estimates of its sources.

    A subclass writes :meth:`separate`, and stores every constructor argument under the argument's own name. It keeps no
    state between calls, so one separator can process any number of mixtures of any length.

    Args:
        sample_rate: sample rate of the mixtures, in Hz.
        trainable: names of the hyper-parameters, from ``trainable_parameters``, to learn by gradient descent.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, or ``(C, T) -> (S, C, T)``; required tensors likewise ``(B, S, C, T)`` or
        ``(S, C, T)``.
    """

    names: tuple[str, ...] = ()
    """Source names, in the order of the estimates; empty if the number of sources is that of a required tensor."""

    channels: int | None = None
    """Required number of channels; None if any number is supported."""

    requires: tuple[str, ...] = ()
    """Names of the tensors that a call requires besides the mixture: ``sources`` or ``estimates``."""

    trainable_parameters: Mapping[str, Interval] = {}
    """Hyper-parameters that can be learned, with the interval of their values."""

    differentiable: bool = True
    """Whether gradients are exact, with discrete choices held fixed (binary masks: straight-through estimator)."""

    conservative: bool = True
    """Whether the estimates sum to the mixture."""

    is_baseline: bool = False
    """Whether it is a point of reference rather than a method; tables list it apart."""

    autocast: bool = False
    """Whether the separator may run under autocast; otherwise autocast is disabled inside."""

    bytes_per_sample: float = 110.0
    """Approximate memory, in bytes, per sample and channel of a mixture in single precision, as measured."""

    @property
    def is_trained(self) -> bool:
        """Whether the separator does not depend on random initial values, as far as it can tell from its state.

        A separator that learns from data overrides this; one with separators inside asks them.
        """
        return all(part.is_trained for part in self.modules() if part is not self and isinstance(part, Separator))

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

    @abstractmethod
    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """The estimates of the sources; the mixture has been checked and is batched, in single or double precision.

        Items near the limits of floating-point numbers have been scaled to a usual level, about one, and samples 271 dB
        below the peak of an item are zero.
        """

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(self, mixture: Tensor, **required: Tensor) -> Tensor:
        """The estimates of the sources of one mixture or of a batch.

        Args:
            mixture: ``(B, C, T)``, of any number of items, or ``(C, T)``; floating point, of any level. Half precision
                is computed in single. An item with NaN or infinite samples returns NaN and does not affect the other
                items.
            required: tensors named in ``requires``, each ``(B, S, C, T)`` or ``(S, C, T)``.

        Raises:
            TypeError: if an input is not a tensor.
            ValueError: if a tensor has the wrong shape or dtype, if no item of the mixture is finite, if a required
                tensor is missing, or if a tensor on the meta device does not suffice.
        """
        if any(isinstance(tensor, Tensor) and is_mapped(tensor) for tensor in (mixture, *required.values())):
            return self._mapped(mixture, required)
        check_mixture(mixture, self.channels, may_be_empty=True)
        check_required(required, self.requires, tuple(mixture.shape))
        batched = mixture.dim() == 3
        dtype = torch.float64 if mixture.dtype == torch.float64 else torch.float32
        ready = {name: tensor.to(dtype) if batched else tensor.to(dtype)[None] for name, tensor in required.items()}
        whole = mixture.to(dtype) if batched else mixture.to(dtype)[None]
        if has_values(mixture):
            estimates = self._at_usual_level(whole, ready)
        else:
            try:
                estimates = self._at_usual_level(whole, ready)
            except (AssertionError, RuntimeError) as error:
                rule = f"mixture must have values for {registry_name(type(self))}"
                raise ValueError(f"{rule}, got a {'meta' if mixture.is_meta else 'fake'} tensor") from error
        estimates = estimates.to(mixture.dtype)
        return estimates if batched else estimates[0]

    def _mapped(self, mixture: Tensor, required: dict[str, Tensor]) -> Tensor:
        """The estimates within ``torch.func.vmap``: those of a batch, without a loop."""

        def call(mixture: Tensor, *tensors: Tensor) -> Tensor:
            if mixture.dim() != 4:
                check_mixture(mixture[0], self.channels)
                return self(mixture, **dict(zip(required, tensors, strict=True)))
            flat = {name: tensor.flatten(0, 1) for name, tensor in zip(required, tensors, strict=True)}
            return self(mixture.flatten(0, 1), **flat).unflatten(0, mixture.shape[:2])

        return as_batch(call, [mixture, *required.values()])

    def _at_usual_level(self, mixture: Waveform, required: dict[str, Tensor]) -> Estimates:
        """The estimates of items that are scaled to a usual level."""
        if len(mixture) == 0:  # the estimates of a silent item have the right shape
            one = {name: _with_silent_item(tensor) for name, tensor in required.items()}
            return self._at_usual_level(_with_silent_item(mixture), one)[:0]
        gain, peak = usual_level_gain([mixture, *required.values()])
        # Parameters have the true gradient of the estimates; without any, both gains cancel in that of the inputs.
        cancels = not any(parameter.requires_grad for parameter in self.parameters())
        scaled, *others = (
            without_inaudible(apply_gain(tensor, gain, keep_gradient=cancels), peak)
            for tensor in (mixture, *required.values())
        )
        with nullcontext() if self.autocast else without_autocast(mixture.device):
            estimates = self.separate(scaled, **dict(zip(required, others, strict=True)))
        batch, length = mixture.shape[0], mixture.shape[-1]
        if estimates.dim() != 4 or estimates.shape[0] != batch or estimates.shape[-1] != length:
            wanted = f"(B, S, C, T) with B={batch} and T={length}"
            raise ValueError(f"{type(self).__name__}.separate must return {wanted}, got {tuple(estimates.shape)}")
        return apply_gain(estimates, gain.reciprocal(), keep_gradient=cancels)


def _with_silent_item(tensor: Tensor) -> Tensor:
    """A batch followed by an item of zeros."""
    return torch.cat((tensor, tensor.new_zeros(1, *tensor.shape[1:])))
