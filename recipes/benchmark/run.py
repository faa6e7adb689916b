"""Benchmark separators and primitives against peer implementations: ``python recipes/benchmark/run.py``.

Writes ``results.md`` and ``results.json``. The README describes the measurements.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import scipy.fft
import torch
from environment import describe_environment, installed
from row_parts import Row
from rows import ROWS
from threadpoolctl import threadpool_limits
from torch import Tensor

from torchsep import Separator

BY_NAME = {row.name: row for row in ROWS}
MEBIBYTE = 2**20
HERE = Path(__file__).resolve().parent
SIDES = ("ours", "peer")
REST = 0.2  # pause in seconds between the sides, in which idle worker threads stop spinning
SHORT = 1.0  # seconds; shorter calls are repeated and only the second is timed, as the other side has evicted caches


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads), scipy.fft.set_workers(options.threads), torch.inference_mode():
        if options.measure_memory:
            name, side = options.measure_memory
            say(str(peak_memory(BY_NAME[name], side, options)))
            return
        rows = [BY_NAME[name] for name in options.only] if options.only else ROWS
        environment = describe_environment(options)
        say(one_line(environment))
        results = []
        for row in rows:
            results.append(measure(row, options))
            say(one_row(results[-1]))
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"environment": environment, "rows": results}
    (options.output / "results.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (options.output / "results.md").write_text(markdown(report), encoding="utf-8")
    say(f"Written: {options.output / 'results.md'}, {options.output / 'results.json'}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=sorted(BY_NAME), metavar="NAME", help="rows to run (default: all)")
    parser.add_argument("--repeats", type=int, default=7, help="number of timed runs of each side, after one warm-up")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark"), help="output folder")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads of each side")
    parser.add_argument("--device", default="cpu", help="device of torchsep; peers run on the CPU only")
    parser.add_argument("--seconds", type=float, help="duration of every item in seconds (default: that of the row)")
    parser.add_argument("--measure-memory", nargs=2, metavar=("ROW", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.repeats < 1 or options.threads < 1:
        parser.error("--repeats and --threads must be at least 1")
    return options


def measure(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a row."""
    seconds = options.seconds or row.seconds
    calls = prepared_calls(row, seconds, options.device)
    first = {side: call() for side, call in calls.items()}  # also the warm-up
    deviation = row.deviation(first["ours"], first["peer"]) if row.deviation and "peer" in calls else None
    del first
    times: dict[str, list[float]] = {side: [] for side in calls}
    for _ in range(options.repeats):
        for side, call in calls.items():
            times[side].append(timed(call))
    medians = {side: statistics.median(taken) for side, taken in times.items()}
    return {
        "name": row.name,
        "separator": row.separator,
        "problem": f"{seconds:g} s, {row.problem}" if row.is_audio else row.problem,
        "peer": row.peer_name if "peer" in calls else None,
        "peer_versions": {name: installed(name) for name in row.peer_packages} if "peer" in calls else {},
        "seconds": {
            side: {"median": medians[side], "min": min(taken), "max": max(taken), "all": taken}
            for side, taken in times.items()
        },
        "ratio": medians["peer"] / medians["ours"] if "peer" in calls else None,
        "real_time_factor": seconds * row.items / medians["ours"] if row.is_audio else None,
        "deviation": deviation,
        "peak_memory_bytes": {side: peak_memory_elsewhere(row, side, options) for side in calls},
    }


def prepared_calls(row: Row, seconds: float, device: str) -> dict[str, Callable[[], Any]]:
    """Both sides as functions without arguments; ours synchronises with the device before it returns."""
    inputs = row.prepare(seconds)
    ours = row.ours.to(device) if isinstance(row.ours, Separator) else row.ours
    tensors = [value.to(device) if isinstance(value, Tensor) else value for value in inputs.ours]
    keywords = {name: tensor.to(device) for name, tensor in inputs.keywords.items()}
    synchronize = torch.get_device_module(torch.device(device)).synchronize

    def call_ours() -> Any:
        result = ours(*tensors, **keywords)
        synchronize()
        return result

    if row.peer is None or torch.device(device).type != "cpu":
        return {"ours": call_ours}
    return {"ours": call_ours, "peer": lambda: row.peer(*inputs.peer)}


def timed(call: Callable[[], Any]) -> float:
    time.sleep(REST)
    start = time.perf_counter()
    call()
    taken = time.perf_counter() - start
    if taken >= SHORT:
        return taken
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory_elsewhere(row: Row, side: str, options: argparse.Namespace) -> int:
    """Run :func:`peak_memory` in a fresh process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--measure-memory", row.name, side]
    command += ["--threads", str(options.threads), "--device", options.device]
    command += ["--seconds", str(options.seconds or row.seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1])


def peak_memory(row: Row, side: str, options: argparse.Namespace) -> int:
    """Peak memory of one run in bytes, above that of the libraries and the inputs."""
    seconds = options.seconds or row.seconds
    prepared_calls(row, min(seconds, 3.0), options.device)[side]()  # load and compile at the first call
    call = prepared_calls(row, seconds, options.device)[side]
    if torch.device(options.device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(options.device)
        before = torch.cuda.memory_allocated(options.device)
        call()
        return torch.cuda.max_memory_allocated(options.device) - before
    forget_peak()
    before = high_water_mark()
    kept = call()
    peak = high_water_mark()
    del kept
    return peak - before


def forget_peak() -> None:
    """Release freed memory and reset the high-water mark to the current usage."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def high_water_mark() -> int:
    """Peak resident size in bytes.

    On Linux from ``/proc``, as ``ru_maxrss`` is inherited from the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


HEADER = (
    "row",
    "problem",
    "ours",
    "peer",
    "ratio",
    "real time",
    "deviation",
    "memory ours",
    "memory peer",
    "peer implementation",
)


def markdown(report: dict[str, Any]) -> str:
    lines = [one_line(report["environment"]), "", *table(report["rows"]), "", summary(report["rows"]), ""]
    return "\n".join(lines)


def table(results: list[dict[str, Any]]) -> list[str]:
    aligned = ["---", "---", *["---:"] * 7, "---"]
    return ["| " + " | ".join(cells) + " |" for cells in (HEADER, aligned, *map(cells_of, results))]


def cells_of(result: dict[str, Any]) -> list[str]:
    taken, memory = result["seconds"], result["peak_memory_bytes"]
    versions = ", ".join(f"{name} {number}" for name, number in result["peer_versions"].items())
    return [
        f"`{result['name']}`",
        result["problem"],
        *(spread(taken.get(side)) for side in SIDES),
        "-" if result["ratio"] is None else f"{result['ratio']:.2f}",
        "-" if result["real_time_factor"] is None else f"{result['real_time_factor']:.0f} x",
        "-" if result["deviation"] is None else f"{result['deviation']:.1e}",
        *(f"{memory[side] / MEBIBYTE:.0f} MiB" if side in memory else "-" for side in SIDES),
        f"{result['peer']} ({versions})" if result["peer"] else "-",
    ]


def spread(taken: dict[str, Any] | None) -> str:
    """Median, minimum and maximum in milliseconds."""
    if taken is None:
        return "-"
    median, minimum, maximum = (milliseconds(taken[key]) for key in ("median", "min", "max"))
    return f"{median} ms ({minimum} - {maximum})"


def milliseconds(seconds: float) -> str:
    """Milliseconds with three digits and without an exponent."""
    number = 1000 * seconds
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def summary(results: list[dict[str, Any]]) -> str:
    compared = [result for result in results if result["ratio"] is not None]
    if not compared:
        return "No peer was run."
    slower = [f"`{result['name']}` ({result['ratio']:.2f})" for result in compared if result["ratio"] < 1]
    text = f"Faster than the peer in {len(compared) - len(slower)} of {len(compared)} rows"
    return f"{text}; slower in {', '.join(slower)}." if slower else f"{text}."


def one_line(environment: dict[str, Any]) -> str:
    threads = ", ".join(f"{name} {count}" for name, count in environment["threads"].items())
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items() if number)
    return (
        f"{environment['date'][:10]}, commit {environment['commit'] or 'none'}, device {environment['device']}, "
        f"{environment['cpu']} with {environment['cores']} cores; threads: {threads}; {versions}; "
        f"{environment['repeats']} runs each."
    )


def one_row(result: dict[str, Any]) -> str:
    name, problem, *others = cells_of(result)
    parts = [f"{title} {cell}" for title, cell in zip(HEADER[2:], others, strict=True)]
    return f"{name.strip('`')} ({problem}): {', '.join(parts)}"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
