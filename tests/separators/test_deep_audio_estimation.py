"""Time-domain separation by networks."""

import pytest
import torch
from separators.deep import Gains, body, scene

from torchsep.networks import MaskInference
from torchsep.separators import DeepAudioEstimation


def estimator(network=None, names=None):
    return DeepAudioEstimation(network or Gains(), names, sample_rate=8000).double().eval()


class NeedsLevel(Gains):
    """Says the level that it hears, in place of sources."""

    def forward(self, mixture):
        level = mixture.square().mean((1, 2), keepdim=True).sqrt()
        return level[:, None].expand(-1, self.num_sources, *mixture.shape[1:])


class Swapping(Gains):
    """The positive part and the negative part, in an order that the first sample of the channel says."""

    def forward(self, mixture):
        parts = torch.stack((mixture.clamp(min=0), mixture.clamp(max=0)), 1)
        return torch.where(mixture[:, None, :, :1] > 0, parts, parts.flip(1))


def test_the_network_input_is_normalised_and_its_output_rescaled():
    mixture = scene() * torch.tensor([1e-3, 50.0]).double().view(2, 1, 1)
    level = mixture.square().mean((1, 2)).sqrt()
    expected = level.view(2, 1, 1, 1).expand(2, 2, 1, 500)
    assert torch.allclose(estimator(NeedsLevel())(mixture), expected, rtol=1e-12)


def test_it_is_the_network_where_that_is_linear():
    mixture = scene()
    separator = estimator()
    assert torch.allclose(separator(mixture), separator.network(mixture), atol=1e-12)
    assert separator(mixture[0]).shape == (2, 1, 500)
    assert not separator.conservative


def test_silence_is_silent_and_so_is_its_gradient_finite():
    silence = torch.zeros(2, 2, 40, dtype=torch.float64, requires_grad=True)
    estimates = estimator()(silence)
    assert not estimates.any()
    estimates.sum().backward()
    assert silence.grad.isfinite().all()


def test_one_sample():
    assert estimator()(torch.ones(1, 1, 1).double()).shape == (1, 2, 1, 1)


def test_channels_are_independent():
    separator, mixture = estimator(names=("voice", "rest")), scene(channels=3)
    together = separator(mixture)
    for channel in range(3):
        alone = separator(mixture[:, channel : channel + 1])
        assert torch.allclose(together[:, :, channel : channel + 1], alone, atol=1e-12)


def test_the_order_of_channels_is_that_of_the_first_where_sources_have_no_names():
    left = scene(1, 1, 200)
    left[..., 0] = 1
    right = left.clone()
    right[..., 0] = -1  # by which the network swaps
    mixture = torch.cat((left, right), 1)
    positive, negative = mixture.clamp(min=0), mixture.clamp(max=0)
    assert torch.allclose(estimator(Swapping())(mixture), torch.stack((positive, negative), 1), atol=1e-12)
    again = DeepAudioEstimation(Swapping(), estimator(Swapping()).config["names"], sample_rate=8000).double()
    assert torch.equal(again(mixture), estimator(Swapping())(mixture))  # as one from a checkpoint is
    named = estimator(Swapping(), ("a", "b"))(mixture)
    assert torch.allclose(named[:, :, :1], torch.stack((positive, negative), 1)[:, :, :1], atol=1e-12)
    assert torch.allclose(named[:, :, 1:], torch.stack((negative, positive), 1)[:, :, 1:], atol=1e-12)


def test_a_network_of_two_channels_processes_both():
    separator = estimator(Gains(2, 3))
    assert separator.channels == 2
    assert separator.names == ("source_1", "source_2", "source_3")
    mixture = scene(channels=2)
    assert torch.allclose(separator(mixture), separator.network(mixture), atol=1e-12)
    mixture[:, 1] = 0
    with_one = separator(mixture)
    assert with_one[:, :, 1].any()  # from the other channel
    with pytest.raises(ValueError, match=r"^mixture must have 2 channels"):
        separator(scene())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_computed_in_single(dtype):
    half, single = (DeepAudioEstimation(Gains(), sample_rate=8000) for _ in range(2))
    half.to(dtype)
    single.load_state_dict({name: weight.float() for name, weight in half.state_dict().items()})
    mixture = scene(channels=2).float()
    assert torch.allclose(half(mixture), single(mixture), atol=1e-6)
    assert half(mixture.to(dtype)).dtype == dtype


def test_single_precision_weights_with_a_mixture_in_double():
    separator = DeepAudioEstimation(Gains(), sample_rate=8000)
    mixture = scene()
    assert separator(mixture).dtype == torch.float64
    assert torch.allclose(separator(mixture).float(), separator(mixture.float()), atol=1e-5)


def test_gradients_reach_the_weights_and_the_mixture():
    separator, mixture = estimator(), scene(channels=2).requires_grad_()
    separator(mixture).square().sum().backward()
    assert mixture.grad.any()
    assert separator.network.taps.grad.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": MaskInference(body())}, r"^network must be a WaveformNetwork, got MaskInference\("),
        ({"names": ("a", "b", "c")}, r"^names must be 2 different names, got \('a', 'b', 'c'\)$"),
        ({"sample_rate": 0}, r"^sample_rate must be at least 1, got 0$"),
    ],
)
def test_what_does_not_go_together_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepAudioEstimation(**{"network": Gains(), "sample_rate": 8000, **arguments})
