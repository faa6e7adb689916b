"""Dynamic mixing of recordings of single sources."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from torchsep import audio
from torchsep.checks import check_integer, check_number
from torchsep.data.augmentation import Augmentation, stretch_of
from torchsep.data.levels import active_level
from torchsep.data.seeding import generator_for
from torchsep.data.source_files import find_groups

__all__ = ["DynamicMixing"]

_REFERENCE_RMS = 10 ** (-25 / 20)  # RMS of a source with a gain of 0 dB, which keeps speech below full scale
_MAX_BOOST = 10.0  # gain of an excerpt above that of the active parts of its recording, so that pauses stay quiet
_PEAK = 0.99  # maximum magnitude of the mixture and its sources, relative to full scale


class DynamicMixing(Dataset[dict[str, Any]]):
    """Random mixtures of recordings of single sources, different in every epoch.

    For speech, groups are speakers, each with a folder of utterances, and an item mixes utterances of different
    speakers, drawn in proportion to their number of files. For music, groups are classes, each with a folder of stems,
    and an item mixes one file of each class (``num_sources=None``). A random segment is read from longer files;
    shorter ones are zero-padded. Items are deterministic for a given seed and epoch, for any number of workers. For
    held-out speakers, list those of each split in ``groups``.

    Args:
        root: folder of the recordings.
        sample_rate: sample rate of the items in Hz; files of other rates are resampled.
        duration: duration of the items in seconds.
        num_sources: number of sources of an item, all from different groups; two numbers for a random number between a
            minimum and a maximum, with missing sources silent; None for one source of each group, named as the groups.
        num_items: number of items per epoch.
        channels: number of channels of the items; 1 averages the channels, and single-channel files are repeated.
        gain_db: minimum and maximum level of a source in dB, relative to equal RMS; None to keep the recorded levels.
            An excerpt that is a pause is raised by at most 20 dB more than the active parts of its recording.
        offset: minimum and maximum start time of a source in seconds.
        augment: augmentation of each source, applied before its level is set.
        groups: names of the groups to use, or a text file of them, see :func:`torchsep.data.find_groups`.
        group_pattern: regular expression for the group in a path, see :func:`torchsep.data.find_groups`; the parent
            folder if None.
        seed: random seed.

    Raises:
        OSError: if the folder is missing.
        ValueError: if an argument is out of range, or there are fewer groups than sources.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for speaker in ("ann", "bob", "cleo"):
        ...         _ = audio.write(f"{root}/{speaker}/1.wav", torch.rand(1, 9000), 8000)
        ...     item = DynamicMixing(root, sample_rate=8000, duration=0.5)[0]
        >>> item["mixture"].shape, item["sources"].shape, item["id"]
        (torch.Size([1, 4000]), torch.Size([2, 1, 4000]), '0/000000')
    """

    def __init__(  # noqa: PLR0913 - independent options
        self,
        root: str | os.PathLike[str],
        sample_rate: int,
        duration: float,
        num_sources: int | Sequence[int] | None = 2,
        *,
        num_items: int = 10000,
        channels: int = 1,
        gain_db: Sequence[float] | None = (-2.5, 2.5),
        offset: Sequence[float] = (0.0, 0.0),
        augment: Augmentation | None = None,
        groups: Sequence[str] | str | os.PathLike[str] | None = None,
        group_pattern: str | None = None,
        seed: int = 0,
    ) -> None:
        for name, value, least in (
            ("sample_rate", sample_rate, 1),
            ("num_items", num_items, 1),
            ("channels", channels, 1),
            ("seed", seed, 0),
        ):
            check_integer(value, name, at_least=least)
        check_number(duration, "duration", at_least=1 / sample_rate)
        self.root = root
        self.sample_rate = sample_rate
        self.duration = duration
        self.num_items = num_items
        self.channels = channels
        self.gain_db = None if gain_db is None else _range(gain_db, "gain_db")
        self.offset = _range(offset, "offset", at_least=0.0)
        if self.offset[1] >= duration:
            raise ValueError(f"offset must be below the duration of {duration:g} s, got {self.offset[1]}")
        self.augment = augment
        self.seed = seed
        self.files = find_groups(root, group_pattern, groups)
        self.num_sources = _counts(num_sources, self.files)
        self.names = (
            tuple(self.files)
            if num_sources is None
            else tuple(f"source_{number + 1}" for number in range(self.num_sources[1]))
        )
        self._all_groups = num_sources is None
        self._levels: dict[Path, float] = {}  # of the active parts of recordings, once they are known
        # In shared memory, so that persistent workers see the new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_()

    def __len__(self) -> int:
        return self.num_items

    def __getitem__(self, index: int) -> dict[str, Any]:
        index, epoch = range(self.num_items)[index], int(self._epoch)
        with torch.device("cpu"):  # the generator is on the CPU, whatever the default device
            sources = self._sources(generator_for(self.seed, epoch, index))
        peak = torch.maximum(sources.sum(0).abs().max(), sources.abs().max())
        if peak > _PEAK:
            sources *= _PEAK / peak
        return {
            "mixture": sources.sum(0),
            "sources": sources,
            "id": _id(epoch, index),
            "sample_rate": self.sample_rate,
        }

    def names_of(self, index: int) -> tuple[str, ...]:  # noqa: ARG002 - they are the same for all
        """Names of the sources of one item."""
        return self.names

    @property
    def ids(self) -> list[str]:
        """Ids of all items of the epoch."""
        return [_id(int(self._epoch), index) for index in range(self.num_items)]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the random mixtures, including in running workers."""
        check_integer(epoch, "epoch", at_least=0)
        self._epoch.fill_(epoch)

    def _sources(self, generator: Generator) -> Tensor:
        """The sources of an item ``(S, C, T)`` at their final levels."""
        length = max(1, round(self.duration * self.sample_rate))
        sources = torch.zeros(len(self.names), self.channels, length, dtype=torch.float32)
        for source, group in zip(sources, self._drawn_groups(generator), strict=False):
            files = self.files[group]
            path = files[int(torch.randint(len(files), (), generator=generator))]
            start = min(length - 1, round(_drawn(self.offset, generator) * self.sample_rate))
            sound = self._sound(path, length - start, generator)
            source[:, start : start + sound.shape[-1]] = sound
        return sources

    def _drawn_groups(self, generator: Generator) -> list[str]:
        """Distinct random groups of an item."""
        groups = list(self.files)
        if self._all_groups:
            return groups
        low, high = self.num_sources
        count = int(torch.randint(low, high + 1, (), generator=generator))
        # Without replacement: equivalent to drawing files and rejecting those of a group already drawn.
        weights = torch.tensor([len(files) for files in self.files.values()], dtype=torch.float64)
        return [groups[number] for number in torch.multinomial(weights, count, generator=generator).tolist()]

    def _sound(self, path: Path, length: int, generator: Generator) -> Tensor:
        """A segment of a file ``(C, T)`` of at most ``length`` samples, at its final level."""
        needed = length * stretch_of(self.augment) / self.sample_rate
        begin = _drawn((0.0, max(0.0, audio.probe(path).duration - needed)), generator)
        waveform, rate = audio.read(path, begin, needed)
        recorded = waveform.double().square().mean().sqrt()
        waveform = audio.resample(self._with_channels(waveform, path), rate, self.sample_rate)
        if self.augment is not None:
            waveform = self.augment(waveform, generator)
        waveform = waveform[:, :length]
        # Drawn in any case, so that the excerpts of the next source are the same with and without.
        gain = _REFERENCE_RMS * 10 ** (_drawn(self.gain_db or (0.0, 0.0), generator) / 20)
        if self.gain_db is None:
            return waveform
        level = waveform.double().square().mean().sqrt()
        if not level > 0 or not recorded > 0:
            return waveform
        if path not in self._levels:
            self._levels[path] = active_level(path)
        is_pause_by = self._levels[path] / (_MAX_BOOST * recorded.item())
        return waveform * (gain / (level * max(1.0, is_pause_by))).float()

    def _with_channels(self, waveform: Tensor, path: Path) -> Tensor:
        if self.channels == 1:
            return waveform.mean(0, keepdim=True)
        if len(waveform) not in {1, self.channels}:
            raise ValueError(f"{path}: must have {self.channels} channels or one, got {len(waveform)}")
        return waveform.expand(self.channels, -1)


def _id(epoch: int, index: int) -> str:
    return f"{epoch}/{index:06d}"


def _drawn(bounds: tuple[float, float], generator: Generator) -> float:
    low, high = bounds
    return low + (high - low) * torch.rand((), dtype=torch.float64, generator=generator).item()


def _range(bounds: Sequence[float], name: str, at_least: float = float("-inf")) -> tuple[float, float]:
    if len(bounds) != 2:
        raise ValueError(f"{name} must be two numbers, minimum and maximum, got {bounds!r}")
    low, high = bounds
    check_number(low, name, at_least=at_least)
    check_number(high, name, at_least=low)
    return float(low), float(high)


def _counts(num_sources: int | Sequence[int] | None, groups: Mapping[str, Sequence[Path]]) -> tuple[int, int]:
    """Minimum and maximum number of sources."""
    if num_sources is None:
        return len(groups), len(groups)
    counts = (num_sources, num_sources) if isinstance(num_sources, int) else tuple(num_sources)
    if len(counts) != 2:
        raise ValueError(f"num_sources must be a number, two numbers or None, got {num_sources!r}")
    low, high = counts
    check_integer(low, "num_sources", at_least=1)
    check_integer(high, "num_sources", at_least=low)
    if high > len(groups):
        raise ValueError(f"num_sources must be at most the number of groups, {len(groups)}, got {high}")
    return low, high
