"""What the benchmarks share: paired timing, differences, memory, the machine and its ceilings.

Implementations of one computation take turns, forth and back (A B B A) in every round, so that other load on the
machine hits all of them. On a CPU the time is that of the process, which other processes change little. A ratio is the
median over the rounds, and its range says how far to trust it. All keep freed memory, as `train_net.py` does (the group
`cpu_memory` measures what that alone gives).
"""

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from datetime import date
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from focalnet_d2.diagnostics.machine import cpu_description
from focalnet_d2.kernels.cpu_matmul import choice, fast_cpu_matmul, onednn_matmul
from focalnet_d2.kernels.malloc import keep_freed_memory

Result = Tensor | list[Tensor]
GIB = 2**30
FREED_MEMORY = {True: "kept by all", False: "as the environment or the C library has it, for all"}
_MATMUL_SHAPES = ((9600, 96, 384), (2400, 192, 768), (600, 384, 1536), (512, 512, 512))  # rows, inputs, outputs


@contextmanager
def as_library_runs(precision: str) -> Iterator[None]:
    """A block as trainer and evaluation run it on a CPU: the faster matrix products, bfloat16 by autocast."""
    with fast_cpu_matmul("cpu"), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def run_as_library(precision: str, function: Callable[[], Any]) -> Any:
    """`function()` in `as_library_runs`."""
    with as_library_runs(precision):
        return function()


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU time of the process during one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def cpu_seconds_with_children(function: Callable[[], object]) -> float:
    """CPU time of the process and of the children that it started, during one call."""
    start = _cpu_seconds_so_far()
    function()
    return _cpu_seconds_so_far() - start


def _cpu_seconds_so_far() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def relative_difference(expected: Sequence[Result], found: Sequence[Result]) -> float:
    """Largest norm of a difference, as a share of the expected tensor's norm; a list counts as one vector."""
    pairs = zip(map(_joined, expected), map(_joined, found), strict=True)
    return max(float((a.double() - b.double()).norm() / a.double().norm().clamp(min=1e-30)) for a, b in pairs)


def _joined(result: Result) -> Tensor:
    return result if isinstance(result, Tensor) else torch.cat([part.flatten() for part in result])


def compare(
    implementations: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    seconds: Callable[[Callable], float] = cpu_seconds,
    difference: Callable[[Any, Any], float] = relative_difference,
) -> dict[str, dict]:
    """Times implementations of one computation; the first is the reference. A call before its turns warms each up.

    From then on the process keeps freed memory, for all of them alike.

    Args:
        implementations: each returns what it computed.
        rounds: in each, every implementation is called twice.
        seconds: how one call is timed.
        difference: of two results; the default takes sequences of tensors and lists of them.

    Returns:
        For each `seconds` (median) and `range_s`; for all but the first also `ratio` (the reference's time by its own),
        `ratio_range` and `difference` from the reference.
    """
    keep_freed_memory()
    reference, *others = implementations
    expected = implementations[reference]()
    differences = {name: difference(expected, implementations[name]()) for name in others}
    del expected
    rows = summary(_take_turns(implementations, rounds, seconds))
    for name in others:
        rows[name]["difference"] = float(f"{differences[name]:.1e}")
    return rows


def _take_turns(implementations: Mapping[str, Callable], rounds: int, seconds: Callable) -> dict[str, list[float]]:
    """Seconds of each implementation in every round, the mean of its two calls."""
    times: dict[str, list[float]] = {name: [] for name in implementations}
    for _ in range(rounds):
        taken = dict.fromkeys(implementations, 0.0)
        for name in (*implementations, *reversed(implementations)):
            taken[name] += seconds(implementations[name]) / 2
        for name, value in taken.items():
            times[name].append(value)
    return times


def summary(times: Mapping[str, Sequence[float]]) -> dict[str, dict]:
    """`compare` without differences, from the seconds of each in every round; the first is the reference."""
    reference, *others = times
    rows = {name: {"seconds": _short(statistics.median(v)), "range_s": _ends(v)} for name, v in times.items()}
    for name in others:
        ratios = [a / b for a, b in zip(times[reference], times[name], strict=True)]
        rows[name] |= {"ratio": _short(statistics.median(ratios)), "ratio_range": _ends(ratios)}
    return rows


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _ends(values: Sequence[float]) -> list[float]:
    return [_short(min(values)), _short(max(values))]


@cache
def matmul_rates() -> dict[str, float]:
    """GFLOP/s of linear layers, the best of several shapes: float32 as torch routes it and by oneDNN, and bfloat16."""
    routes = {
        "float32": (nullcontext, torch.float32),
        "float32, oneDNN": (onednn_matmul, torch.float32),
        "bfloat16": (nullcontext, torch.bfloat16),
    }
    rates = dict.fromkeys(routes, 0.0)
    for rows, inputs, outputs in _MATMUL_SHAPES:
        for route, (scope, dtype) in routes.items():
            x, layer = torch.randn(rows, inputs, dtype=dtype), nn.Linear(inputs, outputs, dtype=dtype)
            with scope(), torch.no_grad():
                layer(x)
                seconds = min(cpu_seconds(partial(layer, x)) for _ in range(8))
            rates[route] = max(rates[route], 2 * rows * inputs * outputs / seconds / 1e9)
    return {route: round(rate, 1) for route, rate in rates.items()}


def count_gflop(function: Callable[[], object], times: int = 1) -> float:
    """GFLOP of matrix products and convolutions, 2 for a multiplication with an addition, some times."""
    with FlopCounterMode(display=False) as counter:
        function()
    return times * counter.get_total_flops() / 1e9


def peak_memory() -> int:
    """Bytes that this process has had resident at most; measure one thing a process (`in_new_process`)."""
    with suppress(OSError):  # Linux counts a new process's peak from that of the one that started it, but not here
        return _memory("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def anonymous_memory() -> int:
    """Bytes of this process that are resident now and of no file; raises OSError where the system is not Linux."""
    return _memory("RssAnon")


def _memory(name: str) -> int:
    """Bytes of a line of the process's status."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024


def restart_peak_memory() -> None:
    """Lets the peak begin anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def in_new_process(function: Callable[..., dict], *arguments: object) -> dict:
    """`function(*arguments)` in a new process with as many threads; the function stands in a module.

    What takes seconds to import is imported once, in a process of which all new ones are copies.
    """
    threads, context = (torch.get_num_threads(),), get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.cases"])  # counts before the first call
    with ProcessPoolExecutor(1, context, initializer=torch.set_num_threads, initargs=threads) as pool:
        return pool.submit(function, *arguments).result()


def machine() -> dict:
    """Date, processor, software and threads."""
    return {
        "date": str(date.today()),
        "cpu": cpu_description()[0],
        "cpus": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "matmul": choice().reason,
        "freed_memory": FREED_MEMORY[keep_freed_memory()],
    }
