"""Deep clustering."""

import pytest
import torch
from separators.deep import BINS, OF_RATE, at_one_level, body, scene

from torchsep import build
from torchsep.functional.clustering.kmeans import kmeans
from torchsep.networks import Chimera, Embedding, EmbeddingNetwork, MaskInference
from torchsep.separators import DeepClustering
from torchsep.transforms import STFT


class Halves(EmbeddingNetwork):
    """Low bins point one way, high bins another, the more clearly the greater the angle between them."""

    num_bins = BINS
    embedding_size = 2

    def __init__(self, blur=0.0, channels=1):
        super().__init__()
        self.blur = blur
        self.channels = channels

    def embedding(self, magnitude):
        low = (torch.arange(BINS) < BINS // 2).to(magnitude)[:, None]
        noise = torch.sin(1e3 * magnitude)
        angle = (1.5 * low + self.blur * noise).expand_as(magnitude)
        return torch.stack((angle.cos(), angle.sin()), -1)


def clustering(network=None, **arguments):
    return DeepClustering(network or Embedding(body(), 4), **{**OF_RATE, **arguments}).double().eval()


def test_it_is_its_definition():
    separator = clustering(beta=3.0, percentile=80.0)
    mixture = scene()
    spectrogram, magnitude = at_one_level(mixture)
    vectors = separator.network(magnitude)
    for item in range(2):
        points = vectors[item].flatten(0, 2)
        loudness = spectrogram[item].abs().flatten()
        kept = len(loudness) - int(0.8 * len(loudness))
        loud = loudness >= loudness.sort().values[-kept]
        centres = kmeans(points[loud][None], 2).centres[0]
        near = torch.exp(-3 * torch.cdist(points, centres))
        masks = (near / near.sum(1, keepdim=True)).T.view(2, 1, BINS, -1)
        expected = OF_RATE["stft"].inverse(masks * spectrogram[item], 500)
        assert torch.allclose(separator(mixture)[item], expected, atol=1e-9)


def test_bins_go_to_their_clusters():
    separator = clustering(Halves(), mask_type="binary")
    mixture = scene(1)
    spectrogram = OF_RATE["stft"](mixture)
    low = (torch.arange(BINS) < BINS // 2).double()[:, None]
    parts = torch.stack([OF_RATE["stft"].inverse(spectrogram * half, 500) for half in (low, 1 - low)], 1)
    estimates = separator(mixture)
    assert min((estimates - parts).abs().max(), (estimates.flip(1) - parts).abs().max()) < 1e-9


def test_channels_are_embedded_each_and_clustered_together():
    separator = clustering()
    mixture = scene(channels=2)
    spectrogram, magnitude = at_one_level(mixture)
    features = separator.features(spectrogram)
    assert features.shape == (2, 2, BINS, spectrogram.shape[-1], 4)
    for channel in range(2):
        alone = separator.network(magnitude[:, channel : channel + 1])
        assert torch.allclose(features[:, channel : channel + 1], alone, atol=1e-12)
    # One order for both: the image of a source that is in both channels alike stays.
    stereo = clustering(Halves())(scene(1).expand(1, 2, -1))
    assert torch.allclose(stereo[:, :, 0], stereo[:, :, 1], atol=1e-9)


def test_a_network_of_two_channels_processes_both():
    separator = clustering(Halves(channels=2))
    assert separator.channels == 2
    assert separator(scene(channels=2)).shape == (2, 2, 2, 500)
    with pytest.raises(ValueError, match=r"^mixture must have 2 channels"):
        separator(scene())


def test_confidence_is_the_greater_the_clearer_the_clusters():
    mixture = scene(1)
    for approach in ("silhouette", "posterior", "loudness", "dpcl_classic", "jensen_shannon"):
        clear, blurred = (
            clustering(Halves(blur)).confidence(mixture, approach, threshold=50.0) for blur in (0.01, 1.2)
        )
        assert clear.shape == (1,)
        if approach not in {"loudness"}:  # which does not look at the embedding alone
            assert clear > blurred, approach
    assert clustering(Halves()).confidence(mixture[0]).dim() == 0


def test_level_and_silence():
    separator, mixture = clustering(), scene()
    expected = separator(mixture)
    for gain in (1e-6, 1e6):
        assert torch.allclose(separator(gain * mixture), gain * expected, rtol=1e-6, atol=1e-9 * gain)
    mixture[1] = 0
    found = separator(mixture)
    assert torch.allclose(found[0], expected[0], atol=1e-12)
    assert not found[1].any()


def test_it_takes_the_embedding_of_networks_with_both():
    network = Chimera(body(), 2, 4)
    separator = clustering(network, num_sources=3)
    spectrogram, magnitude = at_one_level(scene())
    assert torch.allclose(separator.features(spectrogram), network.embedding(magnitude), atol=1e-12)
    assert separator.names == ("source_1", "source_2", "source_3")
    assert torch.allclose(separator(scene()).sum(1), scene(), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_computed_in_single(dtype):
    half = DeepClustering(Embedding(body(num_layers=2), 4), **OF_RATE).to(dtype).eval()
    single = DeepClustering(Embedding(body(num_layers=2), 4), **OF_RATE).eval()
    single.load_state_dict({name: weight.float() for name, weight in half.state_dict().items()})
    spectrogram = OF_RATE["stft"](scene(channels=2).float())
    assert half.features(spectrogram).dtype == torch.float32
    assert torch.allclose(half.features(spectrogram), single.features(spectrogram), atol=1e-6)


def test_gradients_go_through_the_clusters_into_the_weights():
    separator, mixture = clustering(), scene(1).requires_grad_()
    separator(mixture)[:, 0].square().sum().backward()
    assert mixture.grad.isfinite().all()
    assert all(parameter.grad.any() for parameter in separator.parameters())


def test_a_separator_from_the_config_is_the_same():
    separator = clustering()
    again = build(separator.config).double().eval()
    again.load_state_dict(separator.state_dict())
    assert torch.equal(again(scene()), separator(scene()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": MaskInference(body())}, r"^network must be an EmbeddingNetwork, got MaskInference\("),
        ({"stft": STFT(128)}, r"^stft must have the 33 bins of the network, got 65 of STFT\("),
        ({"num_sources": 1}, r"^num_sources must be at least 2, got 1$"),
    ],
)
def test_what_does_not_go_together_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepClustering(**{"network": Embedding(body()), **OF_RATE, **arguments})
