"""Building a separator from a configuration, with memory bounded by the size of the checkpoint."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import torchsep.registry
from torchsep.separators import Separator

__all__ = ["check_integers", "construct", "fill"]

# Allowance for windows, filters and other constants, independent of the number of parameters.
_FREE_BYTES = 256 * 2**20
# Allowance for initial values in double precision and their temporaries, against parameters in half precision.
_BYTES_PER_BYTE = 8
# Minimum cost of a tensor, so that a million tiny layers are refused like one layer of a gigabyte.
_LEAST_BYTES = 2**16
# Integer arguments are sizes and counts, except for these.
_LARGEST_SUM = 2**22
_NOT_SIZES = ("seed", "sample_rate")


def construct(config: Mapping[str, Any], shapes: Mapping[str, torch.Size], num_bytes: int, origin: object) -> Separator:
    """Build a separator whose state matches the given tensor shapes; its values are set by :func:`fill`.

    Args:
        config: configuration as returned by :attr:`Separator.config`.
        shapes: tensor shapes by name.
        num_bytes: total size of the tensors in bytes.
        origin: source of the configuration, for error messages.

    Raises:
        ValueError: if the separator cannot be built, or its state has other names or shapes.
    """
    try:
        check_integers(config)
        with torch.random.fork_rng(devices=()), _Allowance(_FREE_BYTES + _BYTES_PER_BYTE * num_bytes):
            separator = torchsep.registry.build(config)
    except Exception as error:  # noqa: BLE001 - arguments from outside may break a constructor in any way
        raise ValueError(f"{origin} cannot be built: {_in_short(error)}") from None
    expected = {name: tensor.shape for name, tensor in separator.state_dict().items()}
    if expected != dict(shapes):
        wrong = sorted(name for name in {*shapes, *expected} if shapes.get(name) != expected.get(name))
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        names = ", ".join(name[:80] for name in wrong[:5]) + more
        raise ValueError(f"{origin} does not fit {config['name']}: {names} missing, unknown or misshapen")
    return separator


def fill(separator: Separator, tensors: Mapping[str, Tensor], origin: object) -> Separator:
    """Load tensor values into a separator, converting them to its precision.

    Raises:
        ValueError: if a tensor has an incompatible dtype or non-finite values.
    """
    ready = {}
    for name, own in separator.state_dict().items():
        tensor = tensors[name]
        if tensor.dtype != own.dtype and not (tensor.is_floating_point() and own.is_floating_point()):
            raise ValueError(f"{origin} holds {tensor.dtype} in {name}, which is of {own.dtype}")
        ready[name] = tensor.to(own.dtype)
        if not ready[name].isfinite().all():
            raise ValueError(f"{origin} holds NaN or infinite values in {name}")
    separator.load_state_dict(ready, strict=True)
    return separator


def check_integers(config: Mapping[str, Any]) -> None:
    """Raise if the integer arguments, except seeds and sample rates, are implausibly large.

    Tensor memory is limited separately; this bounds the number of Python objects, such as layers.
    """
    total = sum(abs(number) for number in _integers(config))
    if total > _LARGEST_SUM:
        raise ValueError(f"integers among the arguments must add up to at most {_LARGEST_SUM}, got more")


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _NOT_SIZES:
                yield from _integers(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _integers(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


def _in_short(error: Exception) -> str:
    """An error message on one line, truncated to 400 characters."""
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    return text if len(text) <= 400 else f"{text[:400]}..."


class _Allowance(TorchDispatchMode):
    """Limit the total size of new tensors; an operation that would exceed it is not run.

    The size of an operation's result is predicted by running it on the meta device.
    """

    def __init__(self, num_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = num_bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        predicted = _new_bytes(func, args, kwargs)
        if predicted is not None:
            self._take(predicted)
        result = func(*args, **kwargs)
        if predicted is None:  # the size depends on values
            self._take(_storage_bytes(result, _storages((args, kwargs))))
        return result

    def _take(self, num_bytes: int) -> None:
        self.left -= num_bytes
        if self.left < 0:
            raise ValueError("its arguments need far more memory than the size of its tensors")


def _new_bytes(func: Any, args: Any, kwargs: Any) -> int | None:
    """Number of bytes allocated for the result of an operation; None if it cannot be predicted."""
    args, kwargs = _without_data(args), _without_data(kwargs)
    if any(argument.name == "device" for argument in func._schema.arguments):  # noqa: SLF001 - no public alternative
        kwargs["device"] = torch.device("meta")
    with contextlib.suppress(Exception):
        return _storage_bytes(func(*args, **kwargs), _storages((args, kwargs)))
    return None


def _without_data(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, dict):
        return {key: _without_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_without_data(item) for item in value)
    return value


def _storages(value: Any) -> dict[int, int]:
    """Sizes of the storages of all tensors in a nested value."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        return {storage._cdata: storage.nbytes()}  # noqa: SLF001 - data_ptr is zero on the meta device
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return {key: size for item in value for key, size in _storages(item).items()}
    return {}


def _storage_bytes(result: Any, known: Mapping[int, int]) -> int:
    return sum(max(size, _LEAST_BYTES) for key, size in _storages(result).items() if key not in known)
