"""Conv-TasNet against torchaudio."""

import pytest
import torch
import torchaudio
from scenes import noise

from torchsep.networks.conv_tas_net import ConvTasNet


def test_the_numbers_are_torchaudio_s():
    network = ConvTasNet(3, 12, 10, bottleneck_size=6, hidden_size=8, num_layers=3, num_stacks=2)
    own = torchaudio.models.ConvTasNet(3, 10, 12, 3, 6, 8, 3, 2)
    own.load_state_dict(network.model.state_dict())
    for length in (1, 4, 9, 100, 123):
        mixture = noise(2, 1, length).float()
        assert network(mixture)[:, :, 0].equal(own(mixture))


def test_by_default_it_is_that_of_the_paper():
    own = torchaudio.models.ConvTasNet()
    assert ConvTasNet().num_parameters == sum(weight.numel() for weight in own.parameters())
    assert ConvTasNet().num_parameters == pytest.approx(5.1e6, rel=0.03)


def test_masks_may_amplify_where_rectified():
    torch.manual_seed(1)
    sigmoid = ConvTasNet(2, 8, num_layers=1, num_stacks=1)
    relu = ConvTasNet(2, 8, num_layers=1, num_stacks=1, mask_activation="relu")
    relu.load_state_dict(sigmoid.state_dict())
    mixture = noise(1, 1, 50).float()
    for network in (sigmoid, relu):
        with torch.no_grad():
            network.model.mask_generator.output_conv.bias.fill_(30.0)
    assert relu(mixture).abs().max() > 20 * sigmoid(mixture).abs().max()


def test_compiles_whole():
    network = ConvTasNet(2, 8, bottleneck_size=4, hidden_size=6, num_layers=2, num_stacks=1)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    mixture = noise(2, 1, 51).float()
    assert compiled(mixture).allclose(network(mixture), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 0}, "num_sources must be at least 1, got 0"),
        ({"num_filters": 1.0}, "num_filters must be an integer, got 1.0"),
        ({"kernel_size": 1}, "kernel_size must be at least 2, got 1"),
        ({"bottleneck_size": 0}, "bottleneck_size must be at least 1"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_stacks": True}, "num_stacks must be an integer, got True"),
        ({"mask_activation": "softmax"}, "mask_activation must be one of sigmoid, relu, got 'softmax'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvTasNet(**arguments)
