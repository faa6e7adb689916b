"""Mask inference networks, against a step-by-step reference."""

import pytest
import torch
from separators.deep import BINS, OF_RATE, at_one_level, body, scene

from torchsep import build
from torchsep.functional.clustering.confidence import CONFIDENCES
from torchsep.networks import Chimera, Embedding, MaskInference, MaskNetwork
from torchsep.separators import DeepClustering, DeepMaskEstimation
from torchsep.transforms import STFT


class Jointly(MaskNetwork):
    """Masks of two channels that know of one another."""

    channels = 2
    num_sources = 2
    num_bins = BINS

    def masks(self, magnitude):
        first = magnitude[:, :1] / magnitude.sum(1, keepdim=True)
        return torch.stack((first, 1 - first), 1).expand(-1, -1, 2, -1, -1)


class Swapping(MaskNetwork):
    """Gives the lower half of the spectrum to the first source or the second, as the lowest bin of a channel says."""

    num_sources = 2
    num_bins = BINS
    normalised = True

    def __init__(self):
        super().__init__()

    def masks(self, magnitude):
        low = (torch.arange(BINS) < BINS // 2).to(magnitude)[None, None, :, None].expand_as(magnitude)
        swap = magnitude[:, :, :1].mean((2, 3), keepdim=True) > 0.9
        first = torch.where(swap, 1 - low, low)
        return torch.stack((first, 1 - first), 1)


def estimator(network=None, names=None, **arguments):
    return DeepMaskEstimation(network or MaskInference(body()), names, **OF_RATE, **arguments).double().eval()


@pytest.mark.parametrize("network", [MaskInference, Chimera])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("num_sources", [1, 2, 3])
def test_it_is_its_definition(network, activation, num_sources):
    separator = estimator(network(body(), num_sources, mask_activation=activation))
    mixture = scene()
    spectrogram, magnitude = at_one_level(mixture)
    masks = separator.network(magnitude)
    expected = torch.stack(
        [OF_RATE["stft"].inverse(masks[:, source] * spectrogram, 500) for source in range(num_sources)], 1
    )
    estimates = separator(mixture)
    assert estimates.shape == (2, num_sources, 1, 500)
    assert torch.allclose(estimates, expected, atol=1e-12)
    adds_up = torch.allclose(estimates.sum(1), mixture, atol=1e-12)
    assert adds_up == separator.conservative == (activation == "softmax")


def test_the_level_of_a_mixture_passes_through():
    separator, mixture = estimator(), scene()
    expected = separator(mixture)
    for gain in (1e-6, 1e6):
        assert torch.allclose(separator(gain * mixture), gain * expected, rtol=1e-9, atol=gain * 1e-12)
    loud = mixture.clone()
    loud[1] *= 1000  # of no concern to the other
    assert torch.allclose(separator(loud)[0], expected[0], atol=1e-12)


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_is_silent(channels):
    separator = estimator()
    silence = torch.zeros(2, channels, 300, dtype=torch.float64, requires_grad=True)
    estimates = separator(silence)
    assert not estimates.any()
    estimates.sum().backward()
    assert silence.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in separator.parameters())


def test_channels_are_independent_if_sources_are_named():
    separator = estimator(names=("vocals", "residual"))
    assert separator.names == ("vocals", "residual")
    # The level is that of all channels together: alike, so that each alone has the same.
    left = scene(seed=3)
    right = left.flip(-1)
    stereo = separator(torch.cat((left, right), 1))
    assert torch.allclose(stereo[:, :, :1], _alone(separator, left, right), atol=1e-9)
    assert torch.allclose(stereo[:, :, 1:], _alone(separator, right, left), atol=1e-9)


def _alone(separator, channel, other):
    """One channel by itself, at the level that both have."""
    both = OF_RATE["stft"](torch.cat((channel, other), 1)).abs().square().mean((1, 2, 3), keepdim=True).sqrt()
    spectrogram = OF_RATE["stft"](channel)
    masks = separator.network(spectrogram.abs() / both)
    return OF_RATE["stft"].inverse(masks * spectrogram[:, None], 500)


def low_and_high(length=800):
    """A signal with weight on its lowest bins, and one without: what decides for ``Swapping``."""
    time = torch.arange(length, dtype=torch.float64)
    low, high = torch.sin(0.2 * time) + 1.5, torch.sin(2.6 * time)
    return low, high


def test_sources_of_all_channels_are_in_the_order_of_the_first_where_they_have_no_names():
    low, high = low_and_high()
    mixture = torch.stack((low + high, low * 0.0 + torch.sin(0.2 * torch.arange(800.0).double()) + high))[None]
    named, unnamed = estimator(Swapping(), ("a", "b")), estimator(Swapping())
    spectrogram, magnitude = at_one_level(mixture)
    first, second = Swapping().masks(magnitude[:, :1]), Swapping().masks(magnitude[:, 1:])
    assert first[:, :, :, 0].equal(1 - second[:, :, :, 0])  # the network disagrees with itself
    assert torch.equal(named.masks(spectrogram), torch.cat((first, second), 2))
    assert torch.equal(unnamed.masks(spectrogram), torch.cat((first, second.flip(1)), 2))
    assert torch.allclose(unnamed(mixture).sum(1), mixture, atol=1e-12)
    assert torch.equal(unnamed(mixture)[:, :, :1], named(mixture)[:, :, :1])
    for separator in (named, unnamed):  # as one from a checkpoint is
        again = DeepMaskEstimation(Swapping(), separator.config["names"], **OF_RATE).double()
        assert torch.equal(again(mixture), separator(mixture))


def test_a_network_of_two_channels_processes_both():
    separator = estimator(Jointly())
    assert separator.channels == 2
    mixture = scene(channels=2)
    spectrogram, _ = at_one_level(mixture)
    share = spectrogram[:, :1].abs() / spectrogram.abs().sum(1, keepdim=True)
    expected = OF_RATE["stft"].inverse(torch.stack((share * spectrogram, (1 - share) * spectrogram), 1), 500)
    assert torch.allclose(separator(mixture), expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"^mixture must have 2 channels"):
        separator(scene(channels=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_weights_of_half_precision_are_computed_in_single(dtype, kind):
    half = DeepMaskEstimation(MaskInference(body(kind=kind, num_layers=2)), **OF_RATE).to(dtype).eval()
    single = DeepMaskEstimation(MaskInference(body(kind=kind, num_layers=2)), **OF_RATE).eval()
    single.load_state_dict({name: weight.float() for name, weight in half.state_dict().items()})
    mixture = scene(channels=2).float()
    estimates = half(mixture)
    assert estimates.dtype == torch.float32
    assert torch.allclose(estimates, single(mixture), atol=1e-6)
    assert all(weight.dtype == dtype for weight in half.network.parameters())  # and stay what they are
    assert half(mixture.double()).dtype == torch.float64


def test_half_precision_weights_of_both_heads():
    half = DeepMaskEstimation(Chimera(body(), embedding_size=3), **OF_RATE).half().eval()
    single = DeepMaskEstimation(Chimera(body(), embedding_size=3), **OF_RATE).eval()
    single.load_state_dict({name: weight.float() for name, weight in half.state_dict().items()})
    spectrogram = OF_RATE["stft"](scene().float())
    for found, expected in zip(
        half.masks_and_features(spectrogram), single.masks_and_features(spectrogram), strict=True
    ):
        assert torch.allclose(found, expected, atol=1e-6)


def test_masks_and_features_are_those_of_the_network():
    separator = estimator(Chimera(body(), embedding_size=3))
    spectrogram, magnitude = at_one_level(scene())
    masks, features = separator.masks_and_features(spectrogram)
    assert torch.allclose(masks, separator.network.masks(magnitude), atol=1e-12)
    assert torch.allclose(features, separator.network.embedding(magnitude), atol=1e-12)


def test_masks_and_features_are_of_mono_and_of_networks_that_have_both():
    with pytest.raises(ValueError, match=r"^network must give masks and an embedding, got MaskInference$"):
        estimator().masks_and_features(OF_RATE["stft"](scene()))
    with pytest.raises(ValueError, match=r"^mixture must have the channels of the network, 1, got 2$"):
        estimator(Chimera(body())).masks_and_features(OF_RATE["stft"](scene(channels=2)))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("num_sources", [2, 3])
def test_confidence_is_that_of_clustering_the_embedding(channels, num_sources):
    """As of deep clustering by the embedding head of the same network."""
    separator = estimator(Chimera(body(), num_sources, embedding_size=3))
    same = Embedding(body(), embedding_size=3)
    own = separator.network.state_dict()
    shared = {name: own[name] for name in same.state_dict()}
    same.load_state_dict(shared)
    clustering = DeepClustering(same, num_sources, **OF_RATE).double().eval()
    mixture = scene(3, channels)
    for approach in CONFIDENCES:
        found = separator.confidence(mixture, approach, threshold=60.0)
        assert found.shape == (3,)
        assert torch.allclose(found, clustering.confidence(mixture, approach, threshold=60.0), atol=1e-9)
        assert torch.allclose(separator.confidence(mixture[1], approach, threshold=60.0), found[1], atol=1e-6)


def test_confidence_of_one_source_compares_it_with_the_rest():
    assert estimator(Chimera(body(), 1, embedding_size=3)).confidence(scene()).isfinite().all()


def test_confidence_needs_an_embedding():
    with pytest.raises(ValueError, match=r"^network must give masks and an embedding, got MaskInference$"):
        estimator().confidence(scene())
    with pytest.raises(ValueError, match=r"approach must be one of silhouette, .*, got 'silhouete'; did you mean"):
        estimator(Chimera(body())).confidence(scene(), "silhouete")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_binary_masks_give_every_bin_to_one(activation):
    separator = estimator(MaskInference(body(), mask_activation=activation), mask_type="binary", mask_threshold=0.4)
    mixture = scene()
    spectrogram, magnitude = at_one_level(mixture)
    second = (separator.network(magnitude)[:, 1] > 0.4).double()
    expected = OF_RATE["stft"].inverse(torch.stack((1 - second, second), 1) * spectrogram[:, None], 500)
    assert torch.allclose(separator(mixture), expected, atol=1e-12)
    assert separator.conservative


def test_gradients_reach_the_weights_and_the_mixture_of_several_channels():
    separator = estimator()
    mixture = scene(channels=2).requires_grad_()
    separator(mixture)[:, 0].square().sum().backward()
    assert mixture.grad[:, 1].any()
    assert all(parameter.grad.any() for parameter in separator.parameters())


def test_names_are_numbers_where_none_are_given():
    assert estimator(MaskInference(body(), 3)).names == ("source_1", "source_2", "source_3")
    again = build(estimator(names=["drums", "rest"]).config)
    assert again.names == ("drums", "rest")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": Embedding(body())}, r"^network must be a MaskNetwork, got Embedding\("),
        ({"network": "open_unmix"}, r"^network must be a MaskNetwork, got 'open_unmix'$"),
        ({"stft": STFT(128)}, r"^stft must have the 33 bins of the network, got 65 of STFT\("),
        ({"names": ["a"]}, r"^names must be 2 different names, got \['a'\]$"),
        ({"names": ["a", "a"]}, r"^names must be 2 different names, got \['a', 'a'\]$"),
        ({"names": "ab"}, r"^names must be 2 different names, got 'ab'$"),
    ],
)
def test_what_does_not_go_together_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepMaskEstimation(**{"network": MaskInference(body()), **OF_RATE, **arguments})


def test_non_finite_items_are_isolated():
    separator, mixture = estimator(), scene(3, 2)
    expected = separator(mixture)
    mixture[1, 0, 7] = torch.nan
    found = separator(mixture)
    assert torch.allclose(found[::2], expected[::2], atol=1e-12)
    assert found[1].isnan().any()
