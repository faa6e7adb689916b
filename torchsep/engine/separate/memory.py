"""Available memory."""

import os
from pathlib import Path

import torch

__all__ = ["available_memory"]

_UNLIMITED = 2**60  # bytes; control groups without a limit report more than this, or "max"


def available_memory(device: torch.device) -> int | None:
    """The available memory of a device in bytes; None if unknown.

    On a CPU, memory that is free or used as file cache, within the limits of the control groups of the process.

    Example:
        >>> available = available_memory(torch.device("cpu"))
        >>> available is None or available > 0
        True
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    known = [amount for amount in (_of_system(), *_of_control_groups()) if amount is not None]
    return max(0, min(known)) if known else None


def _of_system() -> int | None:
    """Available memory of the system; the total if only that is known."""
    fields = _fields(Path("/proc/meminfo"))
    if "MemAvailable:" in fields:
        return fields["MemAvailable:"] * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system, or unknown
        return None


def _of_control_groups(mount: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Memory left by the control groups of the process: its own (version 1), and all parents (version 2)."""
    left = []
    for line in _text(own).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = mount / "memory" if controllers else mount
        limit, used = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        )
        group = root / name.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            numbers = [_text(folder / file).strip() for file in (limit, used)]
            if all(number.isdigit() for number in numbers) and int(numbers[0]) < _UNLIMITED:
                cached = _fields(folder / "memory.stat").get("inactive_file", 0)
                left.append(int(numbers[0]) - int(numbers[1]) + cached)
    return left


def _fields(path: Path) -> dict[str, int]:
    """The numbers in lines of a name and a number."""
    lines = [line.split() for line in _text(path).splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
