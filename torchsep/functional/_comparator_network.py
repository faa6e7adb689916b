"""Order statistics by networks of comparators: which minima and maxima of which values give the wanted ranks.

A comparator network has no branches, so it runs as a sequence of whole-array minima and maxima, on any device. Three
things keep it small. Neighbouring windows of a filter overlap, so a tile of windows sorts what they have in common
once and each half adds its own elements to it, down to the single window. Values that can no longer become the wanted
rank are dropped. And of each comparator only the half that somebody reads is computed.
For a median of 31 that leaves 26 operations an output, where a sorting network on each window takes 174.

References:
    K. E. Batcher, "Sorting networks and their applications", AFIPS 1968 (the merge).
    A. Adams, "Fast median filters using separable sorting networks", ACM Transactions on Graphics, 2021 (the tiles).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Network", "middles", "rank_network", "ranked", "run_network", "sliding_network"]

# Arrays above which a sort is shorter than the network (whose length grows faster than their count).
_LARGEST_NETWORK = 192


class Value(NamedTuple):
    """An array of the network, read from a number of tiles further on."""

    array: int
    shift: int


class Step(NamedTuple):
    """One whole-array operation: ``array[target] = minimum or maximum of two values`` over ``tiles + halo`` tiles."""

    target: int
    is_minimum: bool
    first: Value
    second: Value
    halo: int


@dataclass(frozen=True)
class Network:
    """A straight-line program from input arrays, numbered from zero, to output values.

    An array that nobody reads any more is written over, inputs too, so that few more than these are needed.
    """

    num_inputs: int
    num_arrays: int
    steps: tuple[Step, ...]
    outputs: tuple[Value, ...]
    halo: int


@dataclass
class _Builder:
    """Collects comparators, so that equal ones, also of neighbouring tiles, exist once."""

    num_inputs: int
    operations: dict[tuple[bool, Value, Value], int] = field(default_factory=dict)

    def element(self, position: int) -> Value:
        return Value(position % self.num_inputs, position // self.num_inputs)

    def operation(self, is_minimum: bool, first: Value, second: Value) -> Value:  # noqa: FBT001
        first, second = sorted((first, second), key=lambda value: (value.shift, value.array))
        shift = first.shift
        key = (is_minimum, Value(first.array, 0), Value(second.array, second.shift - shift))
        array = self.operations.setdefault(key, self.num_inputs + len(self.operations))
        return Value(array, shift)

    def compare(self, first: Value, second: Value) -> list[Value]:
        return [self.operation(True, first, second), self.operation(False, first, second)]

    def merge(self, first: list[Value], second: list[Value]) -> list[Value]:
        """Merge two sorted lists of any lengths by Batcher's odd-even rule."""
        if not first or not second:
            return first or second
        if len(first) == len(second) == 1:
            return self.compare(first[0], second[0])
        odd = self.merge(first[0::2], second[0::2])
        even = self.merge(first[1::2], second[1::2])
        pairs = min(len(even), len(odd) - 1)
        merged = odd[:1]
        for low, high in zip(even[:pairs], odd[1 : pairs + 1], strict=True):
            merged += self.compare(low, high)
        return merged + even[pairs:] + odd[pairs + 1 :]

    def sort(self, positions: range) -> list[Value]:
        if len(positions) <= 1:
            return [self.element(position) for position in positions]
        half = 1 << ((len(positions) - 1).bit_length() - 1)
        return self.merge(self.sort(positions[:half]), self.sort(positions[half:]))

    def finish(self, outputs: Sequence[Value]) -> Network:
        """Keep what the outputs need, with the tiles and the lifetime of each array."""
        operands = {array: (first, second) for (_, first, second), array in self.operations.items()}
        halo: dict[int, int] = {}
        for output in outputs:
            halo[output.array] = max(halo.get(output.array, 0), output.shift)
        for array in sorted(operands, reverse=True):  # an operation reads only arrays of lower numbers
            if array in halo:
                for operand in operands[array]:
                    halo[operand.array] = max(halo.get(operand.array, 0), halo[array] + operand.shift)
        steps = [
            Step(array, is_minimum, first, second, halo[array])
            for (is_minimum, first, second), array in self.operations.items()
            if array in halo
        ]
        input_halo = max(halo.get(array, 0) for array in range(self.num_inputs))
        num_arrays = self.num_inputs + len(self.operations)
        return _in_few_arrays(Network(self.num_inputs, num_arrays, tuple(steps), tuple(outputs), input_halo))


def _in_few_arrays(network: Network) -> Network:
    """The same program with arrays that are used again after their last reader."""
    last_reader = {value.array: step.target for step in network.steps for value in (step.first, step.second)}
    kept = {output.array for output in network.outputs}
    place = {number: number for number in range(network.num_inputs)}
    free: list[int] = []
    num_arrays = network.num_inputs
    steps = []
    for step in network.steps:
        operands = step.first, step.second
        over = {value.array for value in operands if last_reader[value.array] == step.target} - kept
        # A result may be written over an operand that is read where it is written, and nowhere else.
        at_once = {value.array for value in operands if value.shift == 0} - {
            value.array for value in operands if value.shift
        }
        first, second = (value._replace(array=place[value.array]) for value in operands)
        free += sorted(place[array] for array in over & at_once)
        if not free:
            free.append(num_arrays)
            num_arrays += 1
        place[step.target] = free.pop()
        free += sorted(place[array] for array in over - at_once)
        steps.append(step._replace(target=place[step.target], first=first, second=second))
    outputs = tuple(output._replace(array=place[output.array]) for output in network.outputs)
    return replace(network, num_arrays=num_arrays, steps=tuple(steps), outputs=outputs)


@lru_cache(maxsize=64)
def sliding_network(size: int, rank: int) -> Network:
    """The network for one rank in every window of a number of neighbours.

    Input ``p`` of ``W`` holds the elements ``p, p + W, p + 2 W, ...``; output ``p`` the windows that begin there.

    Args:
        size: number of elements in a window.
        rank: rank wanted, from 0 for the least.
    """
    if 2 * rank > size - 1:  # merges yield their low ranks first, and so with fewer operations
        return _mirrored(sliding_network(size, size - 1 - rank))
    width = 1 << (((size + 1) // 2).bit_length() - 1)
    builder = _Builder(width)
    outputs: dict[int, Value] = {}

    def keep(merged: list[Value], dropped: int, count: int) -> tuple[list[Value], int]:
        """Drop what cannot become the wanted rank, whatever the ``size - count`` elements to come are."""
        low = max(0, rank - (size - count))
        high = min(count - 1, rank)
        return merged[low - dropped : high - dropped + 1], low

    def split(first: int, width: int, core: list[Value], dropped: int) -> None:
        if width == 1:
            outputs[first] = core[rank - dropped]
            return
        half = width // 2
        before = range(first + half - 1, first + width - 1)
        after = range(first + size, first + size + half)
        for start, new in ((first, before), (first + half, after)):
            split(start, half, *keep(builder.merge(core, builder.sort(new)), dropped, size - half + 1))

    split(0, width, *keep(builder.sort(range(width - 1, size)), 0, size - width + 1))
    return builder.finish([outputs[position] for position in range(width)])


def _mirrored(network: Network) -> Network:
    """The network for the rank as far from the greatest as another's is from the least."""
    steps = tuple(step._replace(is_minimum=not step.is_minimum) for step in network.steps)
    return replace(network, steps=steps)


@lru_cache(maxsize=64)
def rank_network(count: int, ranks: tuple[int, ...]) -> Network:
    """The network for some ranks, from 0 for the least, of a number of arrays, element by element."""
    builder = _Builder(count)
    ordered = builder.sort(range(count))
    return builder.finish([ordered[rank] for rank in ranks])


@torch.no_grad()
def run_network(network: Network, inputs: Sequence[Tensor], tiles: int) -> list[Tensor]:
    """The outputs of a network, each with ``tiles`` rows.

    Args:
        network: the program.
        inputs: its arrays, of equal shape, with ``tiles + network.halo`` rows, contiguous. They are written over.
        tiles: rows of the outputs.
    """
    arrays = [*inputs, *(torch.empty_like(inputs[0]) for _ in range(network.num_arrays - network.num_inputs))]
    whole = len(inputs[0])

    for target, is_minimum, (first, first_shift), (second, second_shift), halo in network.steps:
        one, other, room = arrays[first], arrays[second], arrays[target]
        rows = tiles + halo
        if rows < whole:
            one, other, room = one[first_shift:][:rows], other[second_shift:][:rows], room[:rows]
        (torch.minimum if is_minimum else torch.maximum)(one, other, out=room)
    return [arrays[output.array][output.shift : output.shift + tiles] for output in network.outputs]


def ranked(values: Tensor, ranks: tuple[int, ...]) -> list[Tensor]:
    """The values of some ranks, from 0 for the least, over the first axis, which is written over; NaN where one is."""
    if len(values) <= _LARGEST_NETWORK:
        return run_network(rank_network(len(values), ranks), list(values.unbind()), values.shape[1])
    return list(values.sort(0).values[list(ranks)].masked_fill_(values.isnan().any(0), torch.nan))


def middles(values: Tensor, count: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and the upper median over the first axis of what exists, ``(R, B, P, E)`` with ``count (B, P, 1)``.

    The values are written over.
    """
    slots = len(values) + len(values) % 2
    # Values that do not exist become as many small as large ones, so that the median has the same rank everywhere.
    small = slots // 2 - 1 - torch.div(count - 1, 2, rounding_mode="floor")
    slot = torch.arange(slots, device=values.device).view(-1, 1, 1, 1)
    padding = torch.where(slot - count < small, -torch.inf, torch.inf).to(values.dtype)
    if slots > len(values):
        values = torch.cat((values, padding[-1:].expand_as(values[:1])))
    values[: len(exists)] = torch.where(exists, values[: len(exists)], padding[: len(exists)])
    ranks = slots // 2 - 1, slots // 2
    lower, upper = ranked(values, ranks)
    return lower, torch.where(count % 2 == 1, lower, upper)
