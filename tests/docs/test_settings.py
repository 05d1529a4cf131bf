"""What pages and settings say about tests, hooks and floors is what is there."""

import re

import yaml

from focalnet_d2.config.moved import ARGUMENTS, SETTINGS, VALUES, current_name
from tests.conftest import FOLDER, SLOW
from tests.docs.pages import ROOT, blocks
from tests.docs.shell import registered_markers
from tests.docs.test_links import expanded
from tests.test_architecture import FLOORS

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


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


def test_the_drawn_floors_are_those_that_imports_keep_to():
    drawing = blocks(ROOT / "docs" / "architecture.md", "text")[0].text
    floors = re.split(r"^ [1-8] ", drawing, flags=re.MULTILINE)[1:]
    drawn = [
        {path.rstrip("/").removesuffix(".py").replace("/", ".") for name in re.findall(r"focalnet_d2/(\S+)", floor)
         for path in expanded(name)}
        for floor in reversed(floors)
    ]  # fmt: skip
    assert drawn == [set(floor) - {"modeling"} for floor in FLOORS]


def test_names_of_the_changelog_are_those_that_are_served():
    rows = re.findall(r"^\| `(focalnet_d2[\w.]+)` \| `(focalnet_d2[\w.]+)`", CHANGELOG, re.MULTILINE)
    assert len(rows) > 10
    assert {old: current_name(old) for old, _ in rows} == dict(rows)


def test_old_values_and_settings_of_the_changelog_are_those_that_are_served():
    renamed = [pair for group in (*SETTINGS.values(), *ARGUMENTS.values(), *VALUES.values()) for pair in group.items()]
    lines = [line for line in CHANGELOG.splitlines() if line.startswith("| ")]
    missing = [old for old, new in renamed if not any(old in line and new in line for line in lines)]
    assert missing == []
