"""Runs `benchmarks/run.py` in this process, and leaves no trace of it."""

import json
import logging
import warnings
from collections.abc import Callable

import pytest
import torch

from benchmarks import run


@pytest.fixture
def run_cases(tmp_path) -> Callable[..., dict]:
    """`run_cases("backbone", "--set", ...)` -> the content of the one file that a small run of one round writes."""
    threads, level = torch.get_num_threads(), logging.getLogger("detectron2").level

    def measure(*arguments: str) -> dict:
        folder = tmp_path / "new"
        with warnings.catch_warnings():
            assert run.main([*arguments, "--small", "--rounds", "1", "--json", str(folder)]) == 0
        [file] = folder.iterdir()
        return json.loads(file.read_text(encoding="utf-8"))

    yield measure
    torch.set_num_threads(threads)
    logging.getLogger("detectron2").setLevel(level)
