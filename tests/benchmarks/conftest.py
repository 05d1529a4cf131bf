"""Runs a benchmark in this process, and leaves no trace of it."""

import json
import logging
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run_benchmark(tmp_path, monkeypatch) -> Callable[..., dict]:
    """`run_benchmark("backbone", "--rounds", "1")` -> the content of its JSON file."""
    threads, level = torch.get_num_threads(), logging.getLogger("detectron2").level
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(name: str, *arguments: str) -> dict:
        output = tmp_path / "new" / f"{name}.json"
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments, "--json", str(output)])
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
        return json.loads(output.read_text(encoding="utf-8"))

    yield run
    torch.set_num_threads(threads)
    logging.getLogger("detectron2").setLevel(level)
    for name in [name for name, module in sys.modules.items() if _is_benchmark(module)]:
        del sys.modules[name]


def _is_benchmark(module: object) -> bool:
    return Path(getattr(module, "__file__", None) or ".").parent == BENCHMARKS
