"""Recurrent layers in a form that can be exported for any length.

Tracing would unroll the layers of torch over the frames of the example.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ONNXRecurrence", "ScannedRecurrence", "replace_recurrences"]

Frames = Float[Tensor, "B N K"]

# Indices of the gates in the weights of torch, in the order of the ONNX operators.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}

_OPSET = 18


class ScannedRecurrence(nn.Module):
    """A recurrent layer as a scan over the frames, which ``torch.export`` supports.

    Args:
        layers: recurrent layers of torch, with ``batch_first``.
    """

    def __init__(self, layers: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, frames: Frames) -> tuple[Frames, None]:
        """The outputs of the last layer, and None for the state."""
        for layer in range(self.layers.num_layers):
            directions = [self._run(frames, f"_l{layer}", reverse=False)]
            if self.layers.bidirectional:
                directions.append(self._run(frames, f"_l{layer}_reverse", reverse=True))
            frames = torch.cat(directions, -1)
        return frames, None

    def _run(self, frames: Frames, suffix: str, *, reverse: bool) -> Frames:
        from torch._higher_order_ops.scan import scan

        weight, recurrent, bias, recurrent_bias = (
            getattr(self.layers, f"{name}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

        def lstm(state: tuple[Tensor, Tensor], inputs: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            output, cell = state
            keep_in, forget, new, keep_out = (inputs + nn.functional.linear(output, recurrent, recurrent_bias)).chunk(
                4, -1
            )
            cell = forget.sigmoid() * cell + keep_in.sigmoid() * new.tanh()
            output = keep_out.sigmoid() * cell.tanh()
            return (output, cell), output.clone()

        def gru(state: tuple[Tensor], inputs: Tensor) -> tuple[tuple[Tensor], Tensor]:
            (output,) = state
            recurrent_inputs = nn.functional.linear(output, recurrent, recurrent_bias)
            reset, update, new = inputs.chunk(3, -1)
            recurrent_inputs_reset, recurrent_inputs_update, recurrent_inputs_new = recurrent_inputs.chunk(3, -1)
            update = (update + recurrent_inputs_update).sigmoid()
            new = (new + (reset + recurrent_inputs_reset).sigmoid() * recurrent_inputs_new).tanh()
            output = new + update * (output - new)
            return (output,), output.clone()

        start = frames.new_zeros(frames.shape[0], self.layers.hidden_size)
        states: tuple[Tensor, ...] = (start, start.clone())
        step = lstm
        if self.layers.mode == "GRU":
            states, step = (start,), gru  # type: ignore[assignment]
        inputs = nn.functional.linear(frames, weight, bias)
        _, outputs = scan(step, states, inputs.transpose(0, 1), reverse=reverse)
        return cast("Tensor", outputs).transpose(0, 1)


class ONNXRecurrence(nn.Module):
    """The operators ``LSTM`` and ``GRU`` of ONNX; only its exporter can run this module.

    Args:
        layers: recurrent layers of torch, with ``batch_first``.
    """

    def __init__(self, layers: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.kind = layers.mode
        self.num_layers = layers.num_layers
        self.hidden_size = layers.hidden_size
        self.directions = 2 if layers.bidirectional else 1
        for layer in range(layers.num_layers):
            suffixes = [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]
            for part, names in (
                ("input", ["weight_ih"]),
                ("recurrent", ["weight_hh"]),
                ("bias", ["bias_ih", "bias_hh"]),
            ):
                rows = [torch.cat([self._ordered(layers, f"{name}{suffix}") for name in names]) for suffix in suffixes]
                self.register_buffer(f"{part}_{layer}", torch.stack(rows))

    def forward(self, frames: Frames) -> tuple[Frames, None]:
        """The outputs of the last layer, and None for the state."""
        attributes: dict[str, Any] = {
            "hidden_size": self.hidden_size,
            "direction": "bidirectional" if self.directions == 2 else "forward",
            **({"linear_before_reset": 1} if self.kind == "GRU" else {}),
        }
        batch, count = frames.shape[:2]
        inputs = frames.transpose(0, 1)
        for layer in range(self.num_layers):
            weights = [getattr(self, f"{part}_{layer}") for part in ("input", "recurrent", "bias")]
            shape = (count, self.directions, batch, self.hidden_size)
            outputs = torch.onnx.ops.symbolic(
                self.kind, [inputs, *weights], attributes, dtype=frames.dtype, shape=shape, version=_OPSET
            )
            inputs = outputs.transpose(1, 2).flatten(2)
        return inputs.transpose(0, 1), None

    def _ordered(self, layers: nn.LSTM | nn.GRU, name: str) -> Tensor:
        """Weights or biases with the gates in the order of ONNX."""
        gates = _GATES[self.kind]
        return cast("Tensor", getattr(layers, name)).detach().unflatten(0, (len(gates), -1))[list(gates)].flatten(0, 1)


def replace_recurrences(module: nn.Module, kind: type[ScannedRecurrence] | type[ONNXRecurrence]) -> None:
    """Replace every recurrent layer in a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.LSTM | nn.GRU):
            setattr(module, name, kind(child))
        else:
            replace_recurrences(child, kind)
