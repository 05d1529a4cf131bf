"""The settings of tests and hooks say what is there."""

import re

import yaml

from tests.conftest import FOLDER, SLOW
from tests.docs.pages import ROOT
from tests.docs.shell import registered_markers


def test_slow_tests_exist():
    assert [name for name in SLOW if not (FOLDER / name).exists()] == []


def test_markers_are_explained_to_contributors():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [marker for marker in registered_markers() if f"`{marker}`" not in page] == []


def test_hooks_before_a_commit_run_the_ruff_of_make_lint():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = [hook["entry"] for hook in repository["hooks"] if hook["language"] == "system"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = re.findall(r"-m ruff (\w+)", makefile[makefile.index("\nlint:") :])
    assert [entry.split()[1] for entry in entries] == lint[: len(entries)] == ["check", "format"]
    assert all(entry.startswith(".venv/bin/ruff ") for entry in entries)
