"""The U-Net: sizes, skip connections, and receptive field."""

import pytest
import torch
from networks.cases import inputs
from networks.dependence import dependence
from scenes import noise

from torchsep.networks.u_net import UNet


@pytest.mark.parametrize("num_bins", [1, 2, 5, 33])
@pytest.mark.parametrize("norm", ["batch", "instance", None])
def test_any_number_of_bins_and_frames(num_bins, norm):
    network = UNet(num_bins, 3, channels=2, num_features=2, depth=3, norm=norm).eval()
    for frames in (1, 2, 7, 16):
        masks = network(noise(2, 2, num_bins, frames).abs().float())
        assert masks.shape == (2, 3, 2, num_bins, frames)
        assert masks.isfinite().all()


@pytest.mark.parametrize(("depth", "kernel_size", "expected"), [(1, 3, (5, 2)), (2, 5, (25, 12)), (3, 7, (83, 42))])
def test_how_far_it_sees(depth, kernel_size, expected):
    network = UNet(5, num_features=6, depth=depth, kernel_size=kernel_size, norm=None).double()
    middle = range(80, 80 + 2**depth)
    rows = dependence(network, inputs(network, 180, batch=1, dtype=torch.float64), middle)
    spans = [(position, *row.nonzero().flatten()[[0, -1]].tolist()) for position, row in zip(middle, rows, strict=True)]
    found = (
        max(after - before + 1 for _, before, after in spans),
        max(after - position for position, _, after in spans),
    )
    assert found == expected == (network.receptive_field, network.latency)


def test_what_is_beyond_its_sight_plays_no_part():
    network = UNet(9, num_features=3, depth=2).eval()
    magnitude = noise(1, 1, 9, 100).abs().float()
    whole = network(magnitude)
    start = 100 - 60  # a whole number of its periods
    part = network(magnitude[..., start:])
    seen = network.receptive_field
    assert part[..., seen:].allclose(whole[..., start + seen :], atol=1e-6)


def test_channels_are_seen_together_and_have_masks_of_their_own():
    network = UNet(9, 2, channels=2, num_features=3, depth=2).eval()
    magnitude = inputs(network, 20)
    masks = network(magnitude)
    assert not masks[:, :, 0].allclose(masks[:, :, 1])
    magnitude[:, 1] *= 2
    assert not network(magnitude)[:, :, 0].allclose(masks[:, :, 0])


def test_details_come_by_the_ways_across():
    network = UNet(9, num_features=3, depth=3, norm=None).eval()
    assert [up[0].in_channels for up in network.up] == [12, 12]
    assert network.mask_head.in_channels == 6
    magnitude = inputs(network, 20)
    before = network(magnitude)
    with torch.no_grad():
        network.up[-1][0].weight.zero_()  # nothing comes from below
        network.up[-1][0].bias.zero_()
    across = network(magnitude)
    assert not across.allclose(before)
    assert across[..., 0, :, :].std() > 0


def test_norm_of_items_is_over_each_image():
    network = UNet(9, num_features=3, depth=1, norm="instance").double()
    image = network.down[0][0](noise(2, 1, 9, 14))
    expected = torch.nn.functional.instance_norm(image)
    assert network.down[0][1](image).allclose(expected, atol=1e-10)
    assert network.receptive_field is None
    assert network.latency is None


def test_by_default_it_is_that_of_the_paper():
    network = UNet(512)
    assert [down[0].out_channels for down in network.down] == [16, 32, 64, 128, 256, 512]
    assert [up[0].out_channels for up in network.up] == [256, 128, 64, 32, 16]
    assert sum(isinstance(module, torch.nn.Dropout2d) for module in network.modules()) == 3
    assert round(network.num_parameters / 1e6, 1) == 9.8


def test_compiles_whole():
    network = UNet(9, num_features=3, depth=2).eval()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    magnitude = inputs(network, 21)
    assert compiled(magnitude).allclose(network(magnitude), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 0}, "num_bins must be at least 1, got 0"),
        ({"num_sources": 0}, "num_sources must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"num_features": 0}, "num_features must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"norm": "layer"}, "norm must be one of batch, instance, got 'layer'"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
        ({"mask_activation": "relu"}, "mask_activation must be one of sigmoid, softmax, got 'relu'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        UNet(**{"num_bins": 9, **arguments})
