"""Weights to start training from."""

import pytest
import torch
from engine.small_training import recordings, run

import torchsep
from torchsep.engine.train.initial_weights import load_initial_weights

BODY = {"name": "recurrent_body", "num_features": 129, "hidden_size": 4, "num_layers": 1}


def network(num_sources=2, seed=0):
    torch.manual_seed(seed)
    head = {"name": "mask_inference", "num_sources": num_sources, "body": BODY}
    return torchsep.build("deep_mask_estimation", network=head, sample_rate=8000)


def wrapped(separator):
    inner = torchsep.build("overlap_add", separator=separator, sample_rate=8000)
    return torchsep.build("refine", separator=inner, refiner="wiener_filter", sample_rate=8000)


@pytest.mark.parametrize("saved", [lambda x: x, wrapped])
@pytest.mark.parametrize("given", [lambda x: x, wrapped])
def test_weights_are_found_inside_wrappers(tmp_path, saved, given):
    trained, own, said = network(seed=1), network(seed=2), []
    torchsep.save(saved(trained), tmp_path / "model.safetensors")
    count = load_initial_weights(given(own), tmp_path / "model.safetensors", said.append)
    assert count == len(trained.state_dict())
    assert all(torch.equal(tensor, own.state_dict()[name]) for name, tensor in trained.state_dict().items())
    assert said == [f"initial weights: {count} of {count} tensors from {tmp_path / 'model.safetensors'}"]


def test_another_head_keeps_its_weights(tmp_path):
    trained, own = network(seed=1), network(num_sources=3, seed=2)
    torchsep.save(trained, tmp_path / "model.safetensors")
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    load_initial_weights(own, tmp_path / "model.safetensors")
    for name, tensor in own.state_dict().items():
        expected = trained.state_dict() if ".body." in name else before
        assert torch.equal(tensor, expected[name])


def test_weights_of_something_else_are_refused(tmp_path):
    torchsep.save(torchsep.build("hpss", sample_rate=8000), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"^training.start must hold weights for the separator, but none of .* fits$"):
        load_initial_weights(network(), tmp_path / "model.safetensors")


def test_a_network_is_fine_tuned_inside_a_wrapper(tmp_path):
    torchsep.save(network(seed=1), tmp_path / "model.safetensors")
    root = recordings(tmp_path / "data")
    model = ["separator=refine", f"separator.separator={tmp_path / 'model.safetensors'}"]
    trained = run(root, tmp_path / "out", "trainer.max_epochs=1", model=model, validated=False)
    separator = torchsep.load(trained.path)
    assert separator.config["separator"]["network"]["name"] == "mask_inference"
    weights = separator.separator.state_dict()
    assert any(not torch.equal(tensor, weights[name]) for name, tensor in network(seed=1).state_dict().items())
    assert separator(torch.randn(1, 4000)).shape == (2, 1, 4000)
