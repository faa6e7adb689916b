"""Networks as graphs that run without their code: ``torch.export`` programs, and ONNX."""

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

# Neither small numbers, which are taken for constants, nor numbers that are those of something else.
_EXAMPLE_BATCH, _EXAMPLE_LENGTH = 3, 184

# Of what a graph is tried on: in strides where whole ones are needed.
_TRIAL_BATCH, _TRIAL_LENGTH = 2, 101


def to_program(network: Network) -> ExportedProgram:
    """A network as a program of PyTorch, for batches of any size and signals of any length.

    Of a spectrogram there must be two frames, as there always are. :class:`ConvTasNet` takes whole strides, multiples
    of half its ``kernel_size``: a signal is padded with zeros to such a length.

    ``torch.export.save`` writes it; what loads it needs PyTorch and nothing of this library. ``program.module()`` takes
    what the network takes. It computes what the network does in evaluation, in its present precision.

    Args:
        network: on the CPU.

    Raises:
        ValueError: if the network cannot be written so.

    Example:
        >>> from torchsep.networks import UNet
        >>> network = UNet(num_bins=5, num_features=2, depth=1)
        >>> to_program(network).module()(torch.ones(2, 1, 5, 100)).shape
        torch.Size([2, 2, 1, 5, 100])
    """
    ready, example, dimensions = _prepared(network, ScannedRecurrence)
    # Sizes of the example, zero and one among them, must not be taken for special: what is asked of them is put off.
    with _tracing(), sizes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        program = torch.export.export(
            ready, (example,), dynamic_shapes=(dimensions,), prefer_deferred_runtime_asserts_over_guards=True
        )
    _check_alike(program.module(), network)
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
        import onnx  # noqa: F401 - here to be missed
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
        _check_alike(run, network)
    except ValueError:
        path.unlink()
        raise
    return path


def _prepared(network: Network, kind: Any) -> tuple[Network, Tensor, dict[int, Any]]:
    """A copy that can be written down, an example for it, and what may vary in the example."""
    if isinstance(network, HDemucs):
        name = registry_name(type(network))
        raise ValueError(f"network must be one without complex numbers inside, got {name}, which has its own STFT")
    if not isinstance(network, MaskNetwork | EmbeddingNetwork | WaveformNetwork):
        raise ValueError(f"network must give masks, an embedding or waveforms, got {type(network).__name__}")
    if any(tensor.device.type != "cpu" for tensor in network.state_dict().values()):
        raise ValueError("network must be on the CPU, got one elsewhere")
    ready = copy.deepcopy(network).eval().requires_grad_(False)
    replace_recurrences(ready, kind)
    example = _like_input(network, _EXAMPLE_BATCH, _EXAMPLE_LENGTH)
    shortest = 1 if isinstance(network, WaveformNetwork) else 2  # an STFT has at least two frames
    stride = _stride(network)
    length: Any = Dim("length", min=shortest) if stride == 1 else stride * Dim("strides", min=2)
    return ready, example, {0: Dim("batch", min=1), example.dim() - 1: length}


def _stride(network: Network) -> int:
    """Of what the length must be a multiple."""
    return network.kernel_size // 2 if isinstance(network, ConvTasNet) else 1


def _like_input(network: Network, batch: int, length: int) -> Tensor:
    """Something that a network takes, the same on every call."""
    middle = () if isinstance(network, WaveformNetwork) else (network.num_bins,)
    dtype = next((parameter.dtype for parameter in network.parameters()), torch.get_default_dtype())
    shape = (batch, network.channels, *middle, length * _stride(network))
    return torch.arange(math.prod(shape), dtype=torch.float64).sin().abs().reshape(shape).to(dtype)


def _check_alike(run: Callable[[Tensor], Tensor], network: Network) -> None:
    """Raise unless a graph gives a network's numbers, for other sizes than those of the example."""
    inputs = _like_input(network, _TRIAL_BATCH, _TRIAL_LENGTH)
    was_training = network.training
    with torch.no_grad():
        expected = network.eval()(inputs)
        network.train(was_training)
        result = run(inputs)
    error = (result - expected).abs().max().item()
    if not error <= 1e-4 * expected.abs().max().item():
        raise ValueError(f"network must be one that can be traced for every length, its graph is off by {error:.2g}")


@contextmanager
def _tracing() -> Iterator[None]:
    """Without a gradient, and without what the exporters say of other people's code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # noqa: BLE001 - of whatever part of the exporters
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"network must be one that can be traced: {type(error).__name__}: {reason}") from None
    finally:
        logger.setLevel(level)
