"""A test case of the contract: a separator with its arguments, and inputs for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import torchsep.registry
from torchsep import Separator, build
from torchsep.configurable import registry_name
from torchsep.registry import register

__all__ = ["Case", "registered"]

Inputs = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class Case:
    """A separator with its arguments, and inputs for it.

    ``name`` is the registered name, ``arguments`` are those of the constructor. Mixtures with fewer than ``min_length``
    samples or ``min_channels`` channels are refused. The required tensors have ``num_sources`` sources, which sum to
    the mixture. With ``source_per_channel`` there is one mono estimate per channel. Variants that mostly repeat the
    code of others are ``slow``.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    min_length: int = 1
    num_sources: int = 4
    compile_backend: str = "aot_eager"
    source_per_channel: bool = False
    min_channels: int = 1
    slow: bool = False

    def __str__(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @cached_property
    def _separator(self) -> Separator:
        """A separator whose attributes are read and which is never called."""
        return self.build()

    @property
    def channels(self) -> int | None:
        """The required number of channels, or None for any."""
        return self._separator.channels

    def sources_and_channels(self, channels: int) -> tuple[int, int]:
        """The numbers of sources and channels of the estimates."""
        return (channels, 1) if self.source_per_channel else (len(self._separator.names) or self.num_sources, channels)

    @property
    def requires(self) -> tuple[str, ...]:
        """The names of the required tensors besides the mixture."""
        return self._separator.requires

    def build(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Separator:
        """The separator, with the same weights in every call; the global generator is not used."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            separator = build(self.name, **self.arguments)
        return separator.to(device, dtype).eval()

    def inputs(
        self,
        device: torch.device | str,
        length: int = 401,
        *,
        batch: int = 3,
        channels: int | None = None,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> Inputs:
        """A mixture and the required tensors."""
        channels = channels or self.channels or 2
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, self.num_sources, channels, length)
        sources = torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)
        return sources.sum(1), {name: sources.clone() for name in self.requires}


@contextmanager
def registered(kind: type[Separator]) -> Iterator[str]:
    """Register a class temporarily, and return its name."""
    register(kind)
    try:
        yield registry_name(kind)
    finally:
        del torchsep.registry._REGISTERED[registry_name(kind)]
