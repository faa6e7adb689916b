"""Random generators by key."""

import torch

from torchsep.data.seeding import generator_for


def draw(*place):
    return tuple(torch.randint(2**31, (4,), generator=generator_for(*place)).tolist())


def test_a_place_has_its_own_numbers():
    places = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 10), (11, 0), ("1", 0), ("a",), ("ab",), ("a", "b")]
    assert len({draw(*place) for place in places}) == len(places)
    assert all(draw(*place) == draw(*place) for place in places)


def test_neighbours_have_their_own_numbers():
    assert len({draw(0, epoch, index) for epoch in range(20) for index in range(20)}) == 400


def test_global_random_state_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    first = draw(1, 2)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(1)
    assert draw(1, 2) == first


def test_default_device_does_not_matter():
    with torch.device("meta"):
        generator = generator_for(3)
    assert generator.device.type == "cpu"
