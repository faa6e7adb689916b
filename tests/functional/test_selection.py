"""Comparator networks: verified on zeros and ones, and counted."""

import itertools

import pytest
import torch
from scenes import noise

from torchsep.functional._comparator_network import Network, rank_network, run_network, sliding_network


def all_bits(count):
    """Every sequence of zeros and ones of that length, one per column."""
    return torch.tensor(list(itertools.product((0, 1), repeat=count)), dtype=torch.uint8).reshape(-1, count).T


def slide(network, elements):
    """The outputs of one tile, from elements ``(any number, columns)`` in their natural order."""
    width, rows = network.num_inputs, network.halo + 1
    elements = torch.cat((elements, elements.new_zeros(width * rows, elements.shape[1])))[: width * rows]
    inputs = [elements[phase::width].contiguous() for phase in range(width)]
    return torch.cat(run_network(network, inputs, tiles=1))


@pytest.mark.parametrize("size", range(1, 10))
def test_sliding_network_selects_from_all_zeros_and_ones(size):
    """A comparator network that is right for every 0/1 input is right for every input (the 0-1 principle)."""
    for rank in range(size):
        network = sliding_network(size, rank)
        width = network.num_inputs
        elements = all_bits(size + width - 1)
        windows = torch.stack([elements[start : start + size].sort(0).values[rank] for start in range(width)])
        assert torch.equal(slide(network, elements), windows), rank


@pytest.mark.parametrize(("size", "rank"), [(31, 15), (31, 0), (31, 30), (40, 20), (17, 3), (64, 32), (101, 50)])
def test_sliding_network_selects_in_every_tile(size, rank):
    network = sliding_network(size, rank)
    width, tiles = network.num_inputs, 5
    elements = noise(width * (tiles + network.halo), 3)
    inputs = [elements[phase::width].contiguous() for phase in range(width)]
    outputs = torch.stack(run_network(network, inputs, tiles), dim=1).flatten(0, 1)
    expected = elements.unfold(0, size, 1)[: width * tiles].sort(-1).values[..., rank]
    assert torch.equal(outputs, expected)


@pytest.mark.parametrize("count", range(1, 11))
def test_rank_network_sorts_all_zeros_and_ones(count):
    elements = all_bits(count)
    ordered = elements.sort(0).values
    network = rank_network(count, tuple(range(count)))
    assert torch.equal(torch.cat(run_network(network, list(elements[:, None].clone()), tiles=1)), ordered)
    for rank in range(count):
        network = rank_network(count, (rank,))
        (selected,) = run_network(network, list(elements[:, None].clone()), tiles=1)
        assert torch.equal(selected[0], ordered[rank]), rank


def test_rank_network_gives_the_ranks_in_the_order_asked():
    values = noise(37, 2, 6)
    outputs = run_network(rank_network(37, (30, 4, 4)), list(values.clone()), tiles=2)
    ordered = values.sort(0).values
    assert [torch.equal(output, ordered[rank]) for output, rank in zip(outputs, (30, 4, 4), strict=True)] == [True] * 3


@pytest.mark.parametrize(("size", "rank", "most"), [(31, 15, 27), (31, 0, 3), (31, 30, 8), (3, 1, 3), (1, 0, 0)])
def test_operations_an_output(size, rank, most):
    network = sliding_network(size, rank)
    assert len(network.steps) <= most * len(network.outputs)


def test_every_step_is_read_once_it_is_made():
    network = sliding_network(19, 9)
    unread = set()
    for step in network.steps:
        unread -= {step.first.array, step.second.array}
        assert step.target not in unread
        unread.add(step.target)
    assert unread == {value.array for value in network.outputs}


@pytest.mark.parametrize("count", [9, 10, 64])
def test_results_are_written_over_what_is_not_read_again(count):
    network = rank_network(count, (count // 2,))
    assert network.num_arrays == count + 1 < len(network.steps)


def test_results_are_not_written_over_what_is_read_from_further_on():
    for step in sliding_network(31, 15).steps:
        assert all(step.target != value.array or value.shift == 0 for value in (step.first, step.second))


def test_networks_are_built_once():
    assert sliding_network(23, 11) is sliding_network(23, 11)
    assert isinstance(sliding_network(23, 11), Network)
