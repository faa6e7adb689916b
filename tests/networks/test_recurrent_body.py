"""The recurrent body: normalisations, layers and arguments."""

import pytest
import torch
from networks.dependence import dependence
from scenes import noise
from torch import nn

from torchsep.networks import RecurrentBody
from torchsep.networks.recurrent_body import NORMS, feature_norm

KINDS = ("lstm", "gru")


def learned(norm, size=5):
    """A norm with weights as if learned."""
    module = feature_norm(norm, size).double()
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(1 + 0.3 * noise(size, seed=number))
    return module


def weights_of(module):
    weight, bias = module.parameters()
    return weight, bias


def normalised(values):
    """Values, along the first axis, of mean zero and variance one."""
    mean = values.mean(0)
    variance = (values - mean).square().mean(0)
    return (values - mean) / (variance + 1e-5).sqrt()


def test_instance_norm_is_over_the_frames_of_each_item():
    features, norm = noise(3, 11, 5), learned("instance")
    weight, bias = weights_of(norm)
    expected = torch.stack([normalised(item) * weight + bias for item in features])
    assert torch.allclose(norm(features), expected, atol=1e-12)
    assert torch.allclose(norm.eval()(features), expected, atol=1e-12)


def test_layer_norm_is_over_the_features_of_each_frame():
    features, norm = noise(3, 11, 5), learned("layer")
    weight, bias = weights_of(norm)
    expected = torch.stack([torch.stack([normalised(frame) for frame in item]) for item in features]) * weight + bias
    assert torch.allclose(norm(features), expected, atol=1e-12)


def test_batch_norm_is_over_all_frames_of_the_batch_and_later_by_what_it_saw():
    features, norm = 2 + 3 * noise(3, 11, 5), learned("batch")
    weight, bias = weights_of(norm)
    together = features.flatten(0, 1)
    expected = (normalised(together) * weight + bias).view(3, 11, 5)
    assert torch.allclose(norm(features), expected, atol=1e-12)
    for _ in range(300):  # until the running statistics are those of the batch
        norm(features)
    other = noise(1, 1, 5, seed=1)
    seen = (other - together.mean(0)) / (together.var(0) + 1e-5).sqrt() * weight + bias
    assert torch.allclose(norm.eval()(other), seen, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_norms_have_two_numbers_a_feature_and_begin_by_changing_no_scale(norm):
    module = feature_norm(norm, 5)
    weight, bias = weights_of(module)
    assert weight.tolist() == [1] * 5
    assert bias.tolist() == [0] * 5


def test_no_norm_is_nothing():
    features = noise(2, 3, 4)
    assert feature_norm(None, 4)(features) is features


@pytest.mark.parametrize("norm", [*NORMS, None])
def test_what_never_changes_is_finite_and_so_is_its_gradient(norm):
    features = torch.zeros(2, 4, 5, requires_grad=True)
    result = feature_norm(norm, 5)(features)
    assert not result.any()
    (result * noise(2, 4, 5).float()).sum().backward()
    assert features.grad.isfinite().all()


def sigmoid(values):
    return 1 / (1 + (-values).exp())


def slow_lstm(frames, cell):
    """An LSTM layer frame by frame, as its equations say."""
    size = cell.hidden_size
    hidden = memory = torch.zeros(size, dtype=frames.dtype)
    for frame in frames:
        gates = cell.weight_ih_l0 @ frame + cell.bias_ih_l0 + cell.weight_hh_l0 @ hidden + cell.bias_hh_l0
        let_in, keep, new, let_out = gates.split(size)
        memory = sigmoid(keep) * memory + sigmoid(let_in) * new.tanh()
        hidden = sigmoid(let_out) * memory.tanh()
        yield hidden


def slow_gru(frames, cell):
    """A GRU layer frame by frame, as its equations say."""
    size = cell.hidden_size
    hidden = torch.zeros(size, dtype=frames.dtype)
    for frame in frames:
        from_frame = (cell.weight_ih_l0 @ frame + cell.bias_ih_l0).split(size)
        from_state = (cell.weight_hh_l0 @ hidden + cell.bias_hh_l0).split(size)
        reset = sigmoid(from_frame[0] + from_state[0])
        keep = sigmoid(from_frame[1] + from_state[1])
        new = (from_frame[2] + reset * from_state[2]).tanh()
        hidden = keep * hidden + (1 - keep) * new
        yield hidden


@pytest.mark.parametrize(("kind", "slow"), [("lstm", slow_lstm), ("gru", slow_gru)])
def test_it_is_a_norm_and_the_equations_of_its_kind(kind, slow):
    body = RecurrentBody(5, 4, 1, kind=kind, bidirectional=False, norm="layer").double()
    features = noise(2, 6, 5)
    normed = nn.functional.layer_norm(features, (5,))
    for item in range(2):
        expected = torch.stack(list(slow(normed[item], body.layers)))
        assert torch.allclose(body(features)[item], expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_direction_is_that_of_time_reversed(kind):
    both = RecurrentBody(5, 4, 1, kind=kind, norm=None).double()
    back = RecurrentBody(5, 4, 1, kind=kind, norm=None, bidirectional=False).double()
    back.layers.load_state_dict(
        {
            name.removesuffix("_reverse"): value
            for name, value in both.layers.state_dict().items()
            if name.endswith("_reverse")
        }
    )
    features = noise(2, 6, 5)
    assert torch.allclose(both(features)[..., 4:], back(features.flip(1)).flip(1), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("norm", [*NORMS, None])
def test_latency_agrees_with_the_gradient(kind, bidirectional, norm):
    body = RecurrentBody(5, 4, 2, kind=kind, bidirectional=bidirectional, norm=norm).double().eval()
    frames, first = 9, 0
    rows = dependence(Transposed(body), noise(1, 5, frames), range(frames))
    ahead = [int(row.nonzero().max()) - position for position, row in enumerate(rows)]
    assert body.latency == (0 if max(ahead) == 0 else None)
    if body.latency is None:
        assert ahead[first] == frames - 1
    assert rows[-1].all()  # all frames so far
    assert body.receptive_field is None


class Transposed(nn.Module):
    """With the frames on the last axis."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, features):
        return self.body(features.mT).mT


def test_dropout_only_in_training_between_layers():
    torch.manual_seed(1)
    body = RecurrentBody(5, 32, 2, dropout=0.5, norm=None)
    features = noise(1, 6, 5).float()
    assert not body(features).equal(body(features))
    torch.manual_seed(2)
    once = body(features)
    torch.manual_seed(2)
    assert body(features).equal(once)
    body.eval()
    assert body(features).equal(body(features))
    assert body.config["dropout"] == 0.5
    one_layer = RecurrentBody(5, 32, 1, dropout=0.5, norm=None)  # where it has no place, and no warning either
    assert one_layer(features).equal(one_layer(features))
    assert one_layer.config["dropout"] == 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", [*NORMS, None])
def test_one_frame(kind, norm):
    body = RecurrentBody(5, 4, 2, kind=kind, norm=norm)
    assert body(noise(2, 1, 5).float()).isfinite().all()
    assert body.eval()(noise(1, 1, 5).float()).shape == (1, 1, 8)


def test_sizes_are_counted():
    body = RecurrentBody(5, 4, 2, norm=None)
    # Four gates of weights on five features or both directions' four, on four units, and two biases; twice each layer.
    assert body.num_parameters == 2 * 4 * 4 * ((5 + 4 + 2) + (8 + 4 + 2))
    assert body.output_size == 8
    assert RecurrentBody(5, 4, 2, bidirectional=False).output_size == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_features": 0}, "^num_features must be at least 1, got 0$"),
        ({"hidden_size": 2.5}, "^hidden_size must be an integer, got 2.5$"),
        ({"num_layers": 0}, "^num_layers must be at least 1, got 0$"),
        ({"kind": "LSTM"}, "^kind must be one of lstm, gru, got 'LSTM'"),
        ({"dropout": -0.1}, "^dropout must be at least 0, got -0.1$"),
        ({"dropout": 1.0}, "^dropout must be below 1, got 1.0$"),
        ({"norm": "batchnorm"}, "^norm must be one of batch, instance, layer, got 'batchnorm'; did you mean batch"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecurrentBody(**{"num_features": 5, **arguments})
