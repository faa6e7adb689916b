"""Open-Unmix against a reference implementation."""

import pytest
import torch
from networks.cases import inputs

from torchsep.networks.open_unmix import OpenUnmix

SMALL = {"num_bins": 9, "num_sources": 3, "hidden_size": 6, "num_layers": 2}


def written_out(network, magnitude, number):
    """The mask of one source, as the paper has it, in evaluation."""
    source = network.sources[number]

    def normed(norm, rows):
        norm = norm.norm
        return (rows - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias

    inputs = (magnitude[:, :, : network.max_bin] + network.input_shift[number]) * network.input_scale[number]
    rows = inputs.permute(0, 3, 1, 2).flatten(2)  # item, frame, channel and bin
    encoded = normed(source.encode_norm, rows @ source.encode.weight.T).tanh()
    recurrent, _ = source.body.layers(encoded)
    decoded = normed(source.decode_norm, torch.cat((encoded, recurrent), -1) @ source.decode.weight.T).clamp(min=0)
    mask = normed(source.mask_norm, decoded @ source.mask.weight.T)
    mask = mask.unflatten(-1, (network.channels, network.num_bins)).permute(0, 2, 3, 1)
    return (mask * network.mask_scale[number] + network.mask_shift[number]).clamp(0, 1)


def test_it_is_its_definition():
    network = OpenUnmix(**SMALL, max_bin=7)
    magnitude = inputs(network, 25)
    network(3 * magnitude + 1)  # which moves the statistics of the norms
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    network.eval()
    masks = network(magnitude)
    for number in range(3):
        assert masks[:, number].allclose(written_out(network, magnitude, number), atol=1e-5)
    assert 0.1 < ((masks > 0) & (masks < 1)).float().mean() < 0.9


def test_bins_above_the_highest_are_not_seen_but_have_masks():
    network = OpenUnmix(**SMALL, max_bin=5).eval()
    magnitude = inputs(network, 25)
    changed = magnitude.clone()
    changed[:, :, 5:] = 7.0
    assert network(changed).equal(network(magnitude))
    assert network(magnitude)[..., 5:, :].std() > 0


def test_sources_do_not_know_of_one_another():
    network = OpenUnmix(**SMALL).eval()
    magnitude = inputs(network, 25)
    before = network(magnitude)
    with torch.no_grad():
        for parameter in network.sources[1].parameters():
            parameter.mul_(2)
    after = network(magnitude)
    assert after[:, ::2].equal(before[:, ::2])
    assert not after[:, 1].allclose(before[:, 1])


def test_masks_are_cut_off_above_one_but_learn_their_way_back():
    network = OpenUnmix(**SMALL, channels=1).eval()
    with torch.no_grad():
        network.mask_scale.zero_()
        network.mask_shift.copy_(torch.tensor([-1.0, 0.5, 1e6]).view(3, 1, 1, 1))
    masks = network(inputs(network, 10))
    assert masks.unique().tolist() == [0.0, 0.5, 1.0]
    masks.sum().backward()
    assert network.mask_shift.grad[:, 0, 0, 0].tolist() == [0.0, 20.0, 20.0]
    with torch.no_grad():
        assert network(inputs(network, 10)).equal(masks)


def test_each_direction_has_half_of_the_units():
    assert [part.body.output_size for part in OpenUnmix(**SMALL).sources] == [6, 6, 6]
    one_way = OpenUnmix(**SMALL, bidirectional=False)
    assert [part.body.output_size for part in one_way.sources] == [6, 6, 6]
    assert one_way.latency == 0


def test_by_default_it_is_that_of_the_paper():
    network = OpenUnmix(2049, 1, max_bin=1487)
    # Weights of umx: two linear layers about a recurrent one of three layers, a last one, norms, and the scaling.
    recurrent = 3 * 2 * (4 * 256) * (512 + 256 + 2)
    linear = 512 * 2 * 1487 + 512 * 1024 + 2 * 2049 * 512
    norms = 2 * (512 + 512 + 2 * 2049)
    assert network.num_parameters == recurrent + linear + norms + 2 * (1487 + 2049)
    assert network.mask_shift.eq(1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 0}, "num_bins must be at least 1, got 0"),
        ({"num_sources": 0}, "num_sources must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"hidden_size": 7}, "hidden_size must be even with bidirectional, got 7"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"max_bin": 10}, "max_bin must be at most 9, got 10"),
        ({"max_bin": 0}, "max_bin must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OpenUnmix(**{**SMALL, **arguments})
