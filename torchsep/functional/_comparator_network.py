"""Order statistics by comparator networks (selection networks).

A comparator network has no branches, so it runs as a sequence of elementwise minima and maxima of whole arrays, on any
device. Three measures reduce its size. Adjacent windows of a filter overlap, so the elements common to a tile of
windows are sorted once, and each half of the tile merges its own elements, recursively down to single windows. Values
that cannot have the wanted rank any more are dropped. Outputs of comparators that are not read are not computed.
For a median of 31 this leaves 26 operations per output, instead of 174 of a sorting network on each window.

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

# Number of arrays above which a sort is faster than the network, whose length grows faster than that number.
_LARGEST_NETWORK = 192


class Value(NamedTuple):
    """An array of the network, read with an offset in tiles."""

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

    Arrays that are not read any more are overwritten, including inputs, so few additional arrays are needed.
    """

    num_inputs: int
    num_arrays: int
    steps: tuple[Step, ...]
    outputs: tuple[Value, ...]
    halo: int


@dataclass
class _Builder:
    """Builder of a network that shares equal comparators, also between adjacent tiles."""

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
        """The network of the operations needed for the outputs, with the halo of each array."""
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
    """The same network with arrays reused after their last read."""
    last_reader = {value.array: step.target for step in network.steps for value in (step.first, step.second)}
    kept = {output.array for output in network.outputs}
    place = {number: number for number in range(network.num_inputs)}
    free: list[int] = []
    num_arrays = network.num_inputs
    steps = []
    for step in network.steps:
        operands = step.first, step.second
        over = {value.array for value in operands if last_reader[value.array] == step.target} - kept
        # A result may overwrite an operand that is read without offset only.
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
    """The network for one rank in every sliding window.

    Input ``p`` of ``W`` contains the elements ``p, p + W, p + 2 W, ...``; output ``p`` the windows that begin there.

    Args:
        size: number of elements in a window.
        rank: wanted rank, from 0 for the minimum.
    """
    if 2 * rank > size - 1:  # low ranks need fewer merge operations
        return _mirrored(sliding_network(size, size - 1 - rank))
    width = 1 << (((size + 1) // 2).bit_length() - 1)
    builder = _Builder(width)
    outputs: dict[int, Value] = {}

    def keep(merged: list[Value], dropped: int, count: int) -> tuple[list[Value], int]:
        """Drop values that cannot have the wanted rank for any values of the remaining ``size - count`` elements."""
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
    """The network for the mirrored rank: minima and maxima are exchanged."""
    steps = tuple(step._replace(is_minimum=not step.is_minimum) for step in network.steps)
    return replace(network, steps=steps)


@lru_cache(maxsize=64)
def rank_network(count: int, ranks: tuple[int, ...]) -> Network:
    """The network for some ranks, from 0 for the minimum, elementwise over a number of arrays."""
    builder = _Builder(count)
    ordered = builder.sort(range(count))
    return builder.finish([ordered[rank] for rank in ranks])


@torch.no_grad()
def run_network(network: Network, inputs: Sequence[Tensor], tiles: int) -> list[Tensor]:
    """The outputs of a network, each with ``tiles`` rows.

    Args:
        network: the program.
        inputs: contiguous arrays of equal shape with ``tiles + network.halo`` rows. They are overwritten.
        tiles: number of rows of the outputs.
    """
    arrays = [*inputs, *(torch.empty_like(inputs[0]) for _ in range(network.num_arrays - network.num_inputs))]
    whole = len(inputs[0])

    for target, is_minimum, (first, first_shift), (second, second_shift), halo in network.steps:
        one, other, result = arrays[first], arrays[second], arrays[target]
        rows = tiles + halo
        if rows < whole:
            one, other, result = one[first_shift:][:rows], other[second_shift:][:rows], result[:rows]
        (torch.minimum if is_minimum else torch.maximum)(one, other, out=result)
    return [arrays[output.array][output.shift : output.shift + tiles] for output in network.outputs]


def ranked(values: Tensor, ranks: tuple[int, ...]) -> list[Tensor]:
    """The values of some ranks, from 0 for the minimum, over the first axis; NaN propagates. Values are overwritten."""
    if len(values) <= _LARGEST_NETWORK:
        return run_network(rank_network(len(values), ranks), list(values.unbind()), values.shape[1])
    return list(values.sort(0).values[list(ranks)].masked_fill_(values.isnan().any(0), torch.nan))


def middles(values: Tensor, count: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and the upper median over the first axis of the existing values, ``(R, B, P, E)``.

    ``count (B, P, 1)`` is the number of existing values. The values are overwritten.
    """
    slots = len(values) + len(values) % 2
    # Missing values are replaced by equal numbers of -inf and inf, so that the median has the same rank everywhere.
    small = slots // 2 - 1 - torch.div(count - 1, 2, rounding_mode="floor")
    slot = torch.arange(slots, device=values.device).view(-1, 1, 1, 1)
    padding = torch.where(slot - count < small, -torch.inf, torch.inf).to(values.dtype)
    if slots > len(values):
        values = torch.cat((values, padding[-1:].expand_as(values[:1])))
    values[: len(exists)] = torch.where(exists, values[: len(exists)], padding[: len(exists)])
    ranks = slots // 2 - 1, slots // 2
    lower, upper = ranked(values, ranks)
    return lower, torch.where(count % 2 == 1, lower, upper)
