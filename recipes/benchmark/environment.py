"""The environment of a benchmark run: versions, processor, threads and commit."""

import argparse
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import scipy.fft
import torch
from threadpoolctl import threadpool_info

HERE = Path(__file__).resolve().parent


def describe_environment(options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    packages = ("torchsep", "torch", "numpy", "scipy", "librosa", "scikit-learn", "norbert", "museval")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": " ".join(["python", "recipes/benchmark/run.py", *sys.argv[1:]]),
        "cpu": cpu_model(),
        "cores": torch.multiprocessing.cpu_count(),
        "threads": {
            "torch": torch.get_num_threads(),
            "scipy.fft": scipy.fft.get_workers(),
            **{Path(pool["filepath"]).name: pool["num_threads"] for pool in threadpool_info()},
        },
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "system": platform.platform(),
        "repeats": options.repeats,
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in packages}},
    }


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """Commit of the sources, with ``+`` if there are uncommitted changes."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(HERE), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    with suppress(OSError, subprocess.CalledProcessError):
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()
