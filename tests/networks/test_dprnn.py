"""DPRNN against a chunk-by-chunk reference."""

import pytest
import torch
from networks.cases import SMALL_DPRNN
from scenes import noise

from torchsep.networks.dprnn import DPRNN
from torchsep.networks.filter_banks import LearnedFilterBank, STFTFilterBank


def written_out(network, mixture):
    """The sources of one mixture ``(T,)``, with a loop over everything there is to loop over."""
    coefficients = network.filter_bank.encode(mixture)
    frames = _normed(network.bottleneck[0], coefficients.T[None])[0] @ network.bottleneck[1].weight.T
    frames = frames + network.bottleneck[1].bias
    count, hop = len(frames), network.chunk_size // 2
    chunks = []
    start = -hop
    while start < count:
        rows = [frames[start + i] if 0 <= start + i < count else 0 * frames[0] for i in range(2 * hop)]
        chunks.append(torch.stack(rows))
        start += hop
    chunks = torch.stack(chunks)  # chunk, place, feature
    for along, across in zip(network.along, network.across, strict=True):
        output = torch.stack([along.linear(along.body.layers(chunk[None])[0][0]) for chunk in chunks])
        chunks = chunks + _normed(along.norm, output[None])[0]
        places = chunks.unbind(1)
        output = torch.stack([across.linear(across.body.layers(place[None])[0][0]) for place in places], 1)
        chunks = chunks + _normed(across.norm, output[None])[0]
    total = torch.zeros_like(frames)
    for number, chunk in enumerate(chunks):
        for place in range(2 * hop):
            if 0 <= number * hop - hop + place < count:
                total[number * hop - hop + place] += chunk[place] / 2
    masks = network.mask_head(network.activation(total)).sigmoid()  # frame, source * filter
    filters = len(coefficients)
    return torch.stack(
        [
            network.filter_bank.decode(
                masks[:, source * filters : (source + 1) * filters].T * coefficients, len(mixture)
            )
            for source in range(network.num_sources)
        ]
    )


def _normed(norm, features):
    axes = (1, 2, 3)[: features.dim() - 1] if not isinstance(norm, torch.nn.LayerNorm) else (-1,)
    variance, mean = torch.var_mean(features, axes, correction=0, keepdim=True)
    return (features - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize(
    "arguments",
    [{}, {"kind": "gru", "norm": "layer"}, {"bidirectional": False, "filter_bank": STFTFilterBank(8, 2)}],
    ids=["default", "gru-layer", "unidirectional-stft"],
)
def test_it_is_its_definition(arguments):
    network = DPRNN(3, **{"filter_bank": LearnedFilterBank(7, 6), **SMALL_DPRNN, **arguments}).double()
    with torch.no_grad():
        for parameter in network.parameters():  # norms too are to differ from feature to feature
            parameter.add_(0.1 * torch.randn_like(parameter))
        for length in (1, 20, 61):
            mixture = noise(length)
            result = network(mixture[None, None])[0, :, 0]
            assert (result - written_out(network, mixture)).abs().max() < 1e-12


def test_chunks_give_back_their_frames():
    network = DPRNN(**SMALL_DPRNN)
    for count in range(1, 15):
        frames = noise(2, count, 3)
        chunks = network._chunks(frames)
        assert chunks.shape == (2, -(-count // 3) + 1, 6, 3)
        assert network._frames(chunks, count).allclose(frames)


def test_by_default_it_is_that_of_the_paper():
    network = DPRNN()
    assert network.filter_bank.config == LearnedFilterBank(64, 16, 8).config
    assert round(network.num_parameters / 1e6, 1) == 2.6


def test_one_that_does_not_look_ahead_gives_the_beginning_before_the_end_has_come():
    network = DPRNN(filter_bank=LearnedFilterBank(7, 6), **SMALL_DPRNN, bidirectional=False, norm="layer").double()
    mixture = noise(1, 1, 200)
    expected = network(mixture)
    known = 100
    beginning = network(mixture[..., :known])
    until = known - network.latency
    assert (beginning[..., :until] - expected[..., :until]).abs().max() < 1e-12
    assert (beginning - expected[..., :known]).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 0}, "num_sources must be at least 1, got 0"),
        ({"filter_bank": 64}, "filter_bank must be a FilterBank, got 64"),
        ({"bottleneck_size": 0}, "bottleneck_size must be at least 1, got 0"),
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"chunk_size": 7}, "chunk_size must be even, got 7"),
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"kind": "rnn"}, "kind must be one of lstm, gru, got 'rnn'"),
        ({"norm": "batch"}, "norm must be one of global, layer, got 'batch'"),
        ({"mask_activation": "softmax"}, "mask_activation must be one of sigmoid, relu, got 'softmax'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DPRNN(**arguments)
