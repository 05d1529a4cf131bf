"""What the benchmarks share: paired timing, differences, the machine and its ceilings, and the files of results.

Forms of one computation take turns, forth and back (A B B A) in every round, so that other load on the machine hits all
of them. On a CPU the time is that of the process, which other processes change little. A ratio is the median over the
rounds, and its range says how far to trust it. The reference has its memory from glibc as any program has; the library
keeps it, as `train_net.py` does (`cpu_memory.py` measures what that alone gives).
"""

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from focalnet_d2.commands.doctor import cpu_description
from focalnet_d2.kernels.cpu_matmul import choice, onednn_matmul
from focalnet_d2.kernels.malloc import MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD, keep_freed_memory, mallopt

Result = Tensor | list[Tensor]
RESULTS = Path(__file__).parent / "results"
_MATMUL_SHAPES = ((9600, 96, 384), (2400, 192, 768), (600, 384, 1536), (512, 512, 512))  # rows, inputs, outputs


def make_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """A command line with `--rounds`, `--threads` and `--json`, to which a benchmark adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="A B B A turns of every row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help="write the results, by default where they "
                        "are committed (benchmarks/results/)")  # fmt: skip
    return parser


def parse_size(text: str) -> tuple[int, int]:
    """ "320x480" -> (320, 480)."""
    height, width = map(int, text.split("x"))
    return height, width


def return_freed_memory() -> None:
    """Undo `keep_freed_memory`: glibc with the thresholds that it comes to by itself when large tensors are freed."""
    if keep_freed_memory():  # glibc, and no settings of the user's own
        for setting, value in ((MMAP_MAX, 65536), (MMAP_THRESHOLD, 2**25), (TRIM_THRESHOLD, 2**26)):
            mallopt(setting, value)
        ctypes.CDLL(None).malloc_trim(0)


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU time of the process during one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(
    forms: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    seconds: Callable[[Callable], float] = cpu_seconds,
    difference: Callable[[Any, Any], float] | None = None,
    reference_keeps_memory: bool = False,
) -> dict[str, dict]:
    """Times forms of one computation; the first is the reference. A call before its turns warms each up.

    Args:
        forms: each returns what it computed.
        rounds: in each, every form is called twice.
        seconds: how one call is timed.
        difference: of two results; by default `relative_difference`, for sequences of tensors and lists of them.
        reference_keeps_memory: the reference, too, is run as `train_net.py` runs it.

    Returns:
        For every form `seconds` (median) and `range_s`; for all but the first also `ratio` (the reference's time by its
        own), `ratio_range` and `difference` from the reference.
    """
    reference, *others = forms
    expected = forms[reference]()
    differences = {name: (difference or relative_difference)(expected, forms[name]()) for name in others}
    del expected
    times, keeping = {name: [] for name in forms}, None
    for _ in range(rounds):
        taken = dict.fromkeys(forms, 0.0)
        for name in (*forms, *reversed(forms)):
            keeps = name != reference or reference_keeps_memory
            if keeps != keeping:
                keeping = keeps
                (keep_freed_memory if keeps else return_freed_memory)()
                forms[name]()
            taken[name] += seconds(forms[name]) / 2
        for name, value in taken.items():
            times[name].append(value)
    rows = summary(times)
    for name in others:
        rows[name]["difference"] = float(f"{differences[name]:.1e}")
    return rows


def summary(times: Mapping[str, Sequence[float]]) -> dict[str, dict]:
    """`compare` without differences, from the seconds of every form in every round; the first is the reference."""
    reference, *others = times
    rows = {name: {"seconds": _short(statistics.median(v)), "range_s": _ends(v)} for name, v in times.items()}
    for name in others:
        ratios = [a / b for a, b in zip(times[reference], times[name], strict=True)]
        rows[name] |= {"ratio": _short(statistics.median(ratios)), "ratio_range": _ends(ratios)}
    return rows


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


def count_gflop(function: Callable[[], object]) -> float:
    """GFLOP of matrix products and convolutions, 2 for a multiplication with an addition."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9


def peak_memory() -> int:
    """Bytes that this process has had resident at most; measure one thing a process (`in_new_process`)."""
    with suppress(OSError):  # Linux counts a new process's peak from that of the one that started it, but not here
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_new_process(*arguments: str) -> dict:
    """Runs the benchmark that is running with other arguments; returns the JSON object that it prints last."""
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


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
    }


def make_row(case: str, measured: Mapping[str, dict], **details: object) -> dict:
    """One row of a table: what was measured, by form, and whatever describes it (`precision`, `goal`, `gflop`, ...)."""
    return {"case": case, **details, "forms": dict(measured)}


def report(row: Mapping) -> None:
    """Prints a row as soon as it is there."""
    print(", ".join(str(row[name]) for name in ("case", "precision") if name in row))
    for name, form in row["forms"].items():
        low, high = form["range_s"]
        ratio = f"{form['ratio']:6.2f}x" if "ratio" in form else ""
        ratio += f"  difference {form['difference']:.0e}" if "difference" in form else ""
        print(f"  {name:<16} {form['seconds']:9.4f} s  ({low:.4f} to {high:.4f})  {ratio}", flush=True)


def save(target: str | None, name: str, rows: Sequence[dict], **details: object) -> None:
    """Writes `{machine, command, ..., rows}` as `--json` asked for: None does not, "" to `results/NAME.json`."""
    if target is None:
        return
    path = Path(target) if target else RESULTS / f"{name}.json"
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "command": command, **details, "rows": list(rows)}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _ends(values: Sequence[float]) -> list[float]:
    return [_short(min(values)), _short(max(values))]
