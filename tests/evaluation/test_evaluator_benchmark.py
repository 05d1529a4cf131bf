"""The benchmark of the evaluators runs and finds their counts equal to those of the official tools."""

import json
import logging
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def restored_logging():
    """The benchmark silences Detectron2."""
    logger = logging.getLogger("detectron2")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.filterwarnings("ignore:The 'warn' method")
def test_smoke_run(tmp_path, monkeypatch, capsys):
    output = tmp_path / "new" / "results.json"
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["evaluators.py", "--images", "2", "--rounds", "1", "--json", str(output)])
    runpy.run_path(str(BENCHMARKS / "evaluators.py"), run_name="__main__")
    groups = json.loads(output.read_text())["groups"]
    assert any(title.startswith("semantic") for title in groups)
    assert any(title.startswith("box AP") for title in groups)
    assert all(row["cpu_s"] > 0 and row["ratio"] > 0 for rows in groups.values() for row in rows.values())
    printed = capsys.readouterr().out
    assert all(name in printed for rows in groups.values() for name in rows)
