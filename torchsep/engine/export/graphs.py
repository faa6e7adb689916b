"""Export of networks as graphs: ``torch.export`` programs and ONNX."""

import copy
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as sizes

from torchsep.configurable import registry_name
from torchsep.engine.export.recurrences import ONNXRecurrence, ScannedRecurrence, replace_recurrences
from torchsep.networks import ConvTasNet, EmbeddingNetwork, HDemucs, MaskNetwork, Network, WaveformNetwork

__all__ = ["to_onnx", "to_program"]

# Sizes of the example input: 0 and 1 would be specialised, and others must not equal a size of the network.
_EXAMPLE_BATCH, _EXAMPLE_LENGTH = 3, 184

# Sizes of the input with which a graph is checked; the length is in strides.
_TRIAL_BATCH, _TRIAL_LENGTH = 2, 101


def to_program(network: Network) -> ExportedProgram:
    """A network as a ``torch.export`` program, for any batch size and length.

    Spectrograms need at least two frames. :class:`ConvTasNet` needs lengths that are multiples of its stride, half of
    ``kernel_size``; pad the signal with zeros.

    ``torch.export.save`` writes the program; loading it needs only PyTorch. ``program.module()`` takes the same input
    as the network and computes its output in evaluation mode, in its current precision.

    Args:
        network: on the CPU.

    Raises:
        ValueError: if the network cannot be exported.

    Example:
        >>> from torchsep.networks import UNet
        >>> network = UNet(num_bins=5, num_features=2, depth=1)
        >>> to_program(network).module()(torch.ones(2, 1, 5, 100)).shape
        torch.Size([2, 2, 1, 5, 100])
    """
    ready, example, dimensions = _prepared(network, ScannedRecurrence)
    # The sizes of the example must not be specialised: assertions on them are deferred.
    with _tracing(), sizes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        program = torch.export.export(
            ready, (example,), dynamic_shapes=(dimensions,), prefer_deferred_runtime_asserts_over_guards=True
        )
    _check_equal(program.module(), network)
    return program


def to_onnx(network: Network, path: str | os.PathLike[str]) -> Path:
    """Write a network as an ONNX file, for batches and signals as :func:`to_program` takes, and return its path.

    Its input is called ``mixture`` and its output ``result``; they are as the network's.

    Args:
        network: on the CPU.
        path: of the file.

    Raises:
        ValueError: if the network cannot be written so.
        ImportError: if what reads, writes and runs ONNX is not installed.
    """
    try:
        import onnx  # noqa: F401 - only checked
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error.name} must be installed for ONNX: pip install 'torchsep[onnx]'") from None
    ready, example, dimensions = _prepared(network, ONNXRecurrence)
    names: dict[str, Any] = {"input_names": ["mixture"], "output_names": ["result"]}
    with _tracing():
        graph = torch.onnx.export(ready, (example,), dynamo=True, dynamic_shapes=(dimensions,), verbose=False, **names)
    path = Path(path)
    graph.save(path)  # type: ignore[union-attr]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(mixture: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["result"], {"mixture": mixture.numpy()})[0])

    try:
        _check_equal(run, network)
    except ValueError:
        path.unlink()
        raise
    return path


def _prepared(network: Network, kind: Any) -> tuple[Network, Tensor, dict[int, Any]]:
    """A copy that can be exported, an example input, and its dynamic dimensions."""
    if isinstance(network, HDemucs):
        name = registry_name(type(network))
        raise ValueError(f"network must have no complex tensors, got {name}, which contains an STFT")
    if not isinstance(network, MaskNetwork | EmbeddingNetwork | WaveformNetwork):
        raise ValueError(f"network must be a mask, embedding or waveform network, got {type(network).__name__}")
    if any(tensor.device.type != "cpu" for tensor in network.state_dict().values()):
        raise ValueError("network must be on the CPU")
    ready = copy.deepcopy(network).eval().requires_grad_(False)
    replace_recurrences(ready, kind)
    example = _like_input(network, _EXAMPLE_BATCH, _EXAMPLE_LENGTH)
    shortest = 1 if isinstance(network, WaveformNetwork) else 2  # an STFT has at least two frames
    stride = _stride(network)
    length: Any = Dim("length", min=shortest) if stride == 1 else stride * Dim("strides", min=2)
    return ready, example, {0: Dim("batch", min=1), example.dim() - 1: length}


def _stride(network: Network) -> int:
    """The length must be a multiple of this."""
    return network.kernel_size // 2 if isinstance(network, ConvTasNet) else 1


def _like_input(network: Network, batch: int, length: int) -> Tensor:
    """A deterministic input of a network."""
    middle = () if isinstance(network, WaveformNetwork) else (network.num_bins,)
    dtype = next((parameter.dtype for parameter in network.parameters()), torch.get_default_dtype())
    shape = (batch, network.channels, *middle, length * _stride(network))
    return torch.arange(math.prod(shape), dtype=torch.float64).sin().abs().reshape(shape).to(dtype)


def _check_equal(run: Callable[[Tensor], Tensor], network: Network) -> None:
    """Raise unless the output of a graph equals that of the network, for other sizes than those of the example."""
    inputs = _like_input(network, _TRIAL_BATCH, _TRIAL_LENGTH)
    was_training = network.training
    with torch.no_grad():
        expected = network.eval()(inputs)
        network.train(was_training)
        result = run(inputs)
    error = (result - expected).abs().max().item()
    if not error <= 1e-4 * expected.abs().max().item():
        raise ValueError(f"network must be traceable for any length, the error of its graph is {error:.2g}")


@contextmanager
def _tracing() -> Iterator[None]:
    """Without gradients, and without warnings of the exporters about third-party code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # noqa: BLE001 - exporters can raise anything
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"network must be traceable: {type(error).__name__}: {reason}") from None
    finally:
        logger.setLevel(level)
