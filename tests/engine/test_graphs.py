"""Networks as graphs: the same numbers as the modules, for other batches and lengths than those of the example."""

import sys
import warnings

import pytest
import torch
from scenes import noise

from torchsep.engine.export.graphs import to_onnx, to_program
from torchsep.engine.export.recurrences import ScannedRecurrence
from torchsep.networks import (
    DPRNN,
    Chimera,
    ConvTasNet,
    Embedding,
    HDemucs,
    MaskInference,
    OpenUnmix,
    RecurrentBody,
    UNet,
    WaveformNetwork,
)

BINS = 9


def body(**options):
    return RecurrentBody(BINS, 6, **{"num_layers": 1, **options})


NETWORKS = {
    "mask_inference": lambda: MaskInference(body(num_layers=2)),
    "mask_inference_forward": lambda: MaskInference(body(bidirectional=False, norm="layer")),
    "mask_inference_gru": lambda: MaskInference(body(kind="gru", norm="instance", num_layers=2)),
    "embedding": lambda: Embedding(body(norm=None), 4),
    "chimera": lambda: Chimera(body(kind="gru", bidirectional=False), embedding_size=4),
    "u_net": lambda: UNet(BINS, num_features=4, depth=3),
    "u_net_instance": lambda: UNet(BINS, num_features=4, depth=2, norm="instance", channels=2),
    "open_unmix": lambda: OpenUnmix(BINS, 2, hidden_size=6, num_layers=1),
    "conv_tas_net": lambda: ConvTasNet(num_filters=8, bottleneck_size=4, hidden_size=6, num_layers=2, num_stacks=1),
    "dprnn": lambda: DPRNN(bottleneck_size=4, hidden_size=6, chunk_size=10, num_blocks=1),
    "dprnn_layer": lambda: DPRNN(
        bottleneck_size=4, hidden_size=6, chunk_size=10, num_blocks=1, norm="layer", bidirectional=False, kind="gru"
    ),
}
QUICK = {"mask_inference_forward"}
PARAMETERS = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in NETWORKS]


def network_and_inputs(name):
    torch.manual_seed(5)
    network = NETWORKS[name]().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # else they do next to nothing
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    middle = () if isinstance(network, WaveformNetwork) else (BINS,)
    shortest = (2,) if middle else (1, 2)
    lengths = (16, 88, 408) if name == "conv_tas_net" else (*shortest, 3, 5, 8, 13, 31, 88, 100, 407)
    batches = (1, 2, 5)
    for index, length in enumerate(lengths):
        signal = noise(batches[index % 3], network.channels, *middle, length).float()
        yield network, signal.abs() if middle else signal


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_program_gives_the_same_numbers(name, tmp_path):
    pairs = list(network_and_inputs(name))
    program = to_program(pairs[0][0])
    torch.export.save(program, tmp_path / "network.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's reader of its own file
        run = torch.export.load(tmp_path / "network.pt2").module()
    for network, inputs in pairs:
        with torch.no_grad():
            torch.testing.assert_close(run(inputs), network(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PARAMETERS)
def test_onnx_gives_the_same_numbers(name, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    pairs = list(network_and_inputs(name))
    path = to_onnx(pairs[0][0], tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(path)
    for network, inputs in pairs:
        (result,) = session.run(["result"], {"mixture": inputs.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(result), network(inputs), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_scanned_layers_are_the_layers(kind, bidirectional):
    layers = kind(3, 4, 2, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    frames = noise(2, 7, 3)
    with torch.no_grad():
        result, state = ScannedRecurrence(layers)(frames)
        torch.testing.assert_close(result, layers(frames)[0], rtol=0, atol=1e-12)
    assert state is None


@pytest.mark.parametrize("function", [to_program, lambda network: to_onnx(network, "never.onnx")])
def test_what_cannot_be_written(function):
    pytest.importorskip("onnxscript")
    demucs = HDemucs.__new__(HDemucs)  # a whole one takes seconds to make
    with pytest.raises(ValueError, match=r"must have no complex tensors, got h_demucs, which contains an STFT$"):
        function(demucs)
    with pytest.raises(ValueError, match="network must be a mask, embedding or waveform network, got RecurrentBody"):
        function(body())
    with pytest.raises(ValueError, match=r"network must be on the CPU$"):
        function(MaskInference(body()).to("meta"))


@pytest.mark.parametrize("function", [to_program, lambda network: to_onnx(network, "never.onnx")])
def test_a_graph_that_computes_something_else_is_no_result(function, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    network = UNet(BINS, num_features=2, depth=1, norm=None)
    original = UNet.masks
    monkeypatch.setattr(UNet, "masks", lambda self, magnitude: original(self, magnitude) * scale(magnitude))

    def scale(magnitude):
        return 2.0 if torch.compiler.is_exporting() else 1.0

    with pytest.raises(ValueError, match=r"must be traceable for any length, the error of its graph is 0\.\d+$"):
        function(network)
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_traced(monkeypatch):
    network = UNet(BINS, num_features=2, depth=1, norm=None)
    original = UNet.masks
    monkeypatch.setattr(UNet, "masks", lambda self, magnitude: original(self, magnitude) * float(magnitude.sum()))
    with pytest.raises(ValueError, match=r"^network must be traceable: GuardOnDataDependent\w+: .*") as caught:
        to_program(network)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_onnx_is_an_extra(missing, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"must be installed for ONNX: pip install 'torchsep\[onnx\]'$"):
        to_onnx(MaskInference(body()), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_a_network_is_left_as_it_is():
    network = MaskInference(body()).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    to_program(network)
    assert network.training
    assert isinstance(network.body.layers, torch.nn.LSTM)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
