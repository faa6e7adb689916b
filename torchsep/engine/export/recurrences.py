"""Recurrent layers in forms that can be written down for signals of any length.

What traces a network would unroll torch's own layers over the frames of its example.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ONNXRecurrence", "ScannedRecurrence", "replace_recurrences"]

Frames = Float[Tensor, "B N K"]

# Places of the gates in the rows of torch's weights, in the order of ONNX's operators.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}

_OPSET = 18


class ScannedRecurrence(nn.Module):
    """A loop over the frames as one operation, which ``torch.export`` takes as it is.

    Args:
        layers: of torch, with ``batch_first``.
    """

    def __init__(self, layers: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, frames: Frames) -> tuple[Frames, None]:
        """What the last layer says of every frame; no state."""
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

        def long_short_term(state: tuple[Tensor, Tensor], heard: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            output, cell = state
            keep_in, forget, new, keep_out = (heard + nn.functional.linear(output, recurrent, recurrent_bias)).chunk(
                4, -1
            )
            cell = forget.sigmoid() * cell + keep_in.sigmoid() * new.tanh()
            output = keep_out.sigmoid() * cell.tanh()
            return (output, cell), output.clone()

        def gated(state: tuple[Tensor], heard: Tensor) -> tuple[tuple[Tensor], Tensor]:
            (output,) = state
            recalled = nn.functional.linear(output, recurrent, recurrent_bias)
            reset, update, new = heard.chunk(3, -1)
            recalled_reset, recalled_update, recalled_new = recalled.chunk(3, -1)
            update = (update + recalled_update).sigmoid()
            new = (new + (reset + recalled_reset).sigmoid() * recalled_new).tanh()
            output = new + update * (output - new)
            return (output,), output.clone()

        start = frames.new_zeros(frames.shape[0], self.layers.hidden_size)
        states: tuple[Tensor, ...] = (start, start.clone())
        step = long_short_term
        if self.layers.mode == "GRU":
            states, step = (start,), gated  # type: ignore[assignment]
        heard = nn.functional.linear(frames, weight, bias)
        _, outputs = scan(step, states, heard.transpose(0, 1), reverse=reverse)
        return cast("Tensor", outputs).transpose(0, 1)


class ONNXRecurrence(nn.Module):
    """The operators ``LSTM`` and ``GRU`` of ONNX, which nothing but its exporter runs.

    Args:
        layers: of torch, with ``batch_first``.
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
        """What the last layer says of every frame; no state."""
        attributes: dict[str, Any] = {
            "hidden_size": self.hidden_size,
            "direction": "bidirectional" if self.directions == 2 else "forward",
            **({"linear_before_reset": 1} if self.kind == "GRU" else {}),
        }
        batch, count = frames.shape[:2]
        heard = frames.transpose(0, 1)
        for layer in range(self.num_layers):
            weights = [getattr(self, f"{part}_{layer}") for part in ("input", "recurrent", "bias")]
            shape = (count, self.directions, batch, self.hidden_size)
            outputs = torch.onnx.ops.symbolic(
                self.kind, [heard, *weights], attributes, dtype=frames.dtype, shape=shape, version=_OPSET
            )
            heard = outputs.transpose(1, 2).flatten(2)
        return heard.transpose(0, 1), None

    def _ordered(self, layers: nn.LSTM | nn.GRU, name: str) -> Tensor:
        """Weights or biases with their gates in ONNX's order."""
        gates = _GATES[self.kind]
        return cast("Tensor", getattr(layers, name)).detach().unflatten(0, (len(gates), -1))[list(gates)].flatten(0, 1)


def replace_recurrences(module: nn.Module, kind: type[ScannedRecurrence] | type[ONNXRecurrence]) -> None:
    """Put such a form in the place of every recurrent layer in a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.LSTM | nn.GRU):
            setattr(module, name, kind(child))
        else:
            replace_recurrences(child, kind)
