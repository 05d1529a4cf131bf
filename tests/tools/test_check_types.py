"""The gate of type errors; pyright itself runs in `make lint`."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("check_types", ROOT / "tools" / "check_types.py")
check_types = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check_types)

ALLOWED = {"pkg": 2, "pkg/inner": 0, "pkg/inner/model.py": 1}


def test_the_longest_place_that_holds_a_file_counts_it():
    errors = [("pkg/a.py", "1: a"), ("pkg/inner/b.py", "2: b"), ("pkg/inner/model.py", "3: c"), ("pkgs/d.py", "4: d")]
    assert check_types.by_place(errors, list(ALLOWED)) == {
        "pkg": ["pkg/a.py:1: a"],
        "pkg/inner": ["pkg/inner/b.py:2: b"],
        "pkg/inner/model.py": ["pkg/inner/model.py:3: c"],
        "pkgs/d.py": ["pkgs/d.py:4: d"],
    }


@pytest.fixture
def allowed_file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "type_errors.json"
    path.write_text(json.dumps(ALLOWED))
    monkeypatch.setattr(check_types, "ALLOWED", path)
    return path


def run_with(monkeypatch, files, *arguments) -> int:
    monkeypatch.setattr(check_types, "find_errors", lambda: [(file, "1: wrong") for file in files])
    return check_types.main(arguments)


@pytest.mark.parametrize("files", [["pkg/inner/b.py"], ["pkg/a.py"] * 3, ["new/a.py"]])
def test_one_error_more_in_a_place_fails_and_is_shown(allowed_file, monkeypatch, capsys, files):
    assert run_with(monkeypatch, files, "--lower") == 1
    assert f"{files[0]}:1: wrong" in capsys.readouterr().out


def test_counts_that_fell_are_written_on_request_only(allowed_file, monkeypatch, capsys):
    assert run_with(monkeypatch, ["pkg/a.py"]) == 0
    assert "tools/check_types.py --lower" in capsys.readouterr().out
    assert json.loads(allowed_file.read_text()) == ALLOWED
    assert run_with(monkeypatch, ["pkg/a.py"], "--lower") == 0
    assert json.loads(allowed_file.read_text()) == {"pkg": 1, "pkg/inner": 0, "pkg/inner/model.py": 0}


def test_counts_that_rose_are_never_written(allowed_file, monkeypatch):
    assert run_with(monkeypatch, ["pkg/inner/b.py"], "--lower") == 1
    assert json.loads(allowed_file.read_text())["pkg/inner"] == 0


def test_every_counted_place_exists():
    """A folder that is renamed would leave its count behind and start from none."""
    allowed = json.loads(Path(check_types.ALLOWED).read_text(encoding="utf-8"))
    assert [place for place in allowed if not (ROOT / place).exists()] == []
