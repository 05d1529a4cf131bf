"""The notebook runs from its first cell to its last one, shows pictures, and is stored without what it has printed."""

import ast
import json
from typing import Any

import pytest

from focalnet_d2.inference.prediction import Prediction
from tests.docs.pages import ROOT

NOTEBOOK = ROOT / "docs" / "predict.ipynb"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """What a notebook would show of a cell: the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


def test_it_is_a_notebook_of_version_4_without_outputs(notebook):
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_its_cells_run_and_show_pictures(notebook, tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "weights").symlink_to(ROOT / "weights")
    (tmp_path / "docs" / "scene.png").symlink_to(ROOT / "docs" / "scene.png")
    monkeypatch.chdir(tmp_path / "docs")
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = [value for source in cells if (value := run_cell(source, names)) is not None]
    predictions = [value for value in shown if isinstance(value, Prediction)]
    assert [one.boxes is not None and len(one.boxes) > 0 for one in predictions] == [True, True]
    for one in predictions:
        assert one._repr_png_().startswith(PNG)
    assert (tmp_path / "docs" / "predictions" / "night.picture.png").read_bytes().startswith(PNG)
