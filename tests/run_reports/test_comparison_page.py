"""The comparison of runs: what differs, curves of all, numbers side by side."""

import json
import re

import pytest

from focalnet_d2.commands.main import main
from focalnet_d2.config.lazy import apply_overrides, load_recipe, recipe_to_yaml
from focalnet_d2.engine.run_folder import RunIdentity
from focalnet_d2.run_reports.comparison_page import MOST_RUNS, comparison_page, write_comparison_page
from focalnet_d2.run_reports.run_files import read_run
from tests.run_reports.made_runs import write_metrics
from tests.run_reports.pages import Page

RECIPE = "dino_focalnet_mini_quickstart"


def run_of(folder, results, *overrides):
    """A run without data."""
    folder.mkdir(parents=True)
    overrides = (*overrides, f"train.output_dir={folder}")
    (folder / "recipe.yaml").write_text(recipe_to_yaml(apply_overrides(load_recipe(RECIPE), overrides)))
    RunIdentity(folder.name * 2, RECIPE, overrides).write(folder)
    (folder / "results.json").write_text(json.dumps(results))
    write_metrics(folder, results, "bbox/AP")
    (folder / "best.json").write_text(json.dumps({"metric": "bbox/AP", "value": 30.0, "iteration": 20}))
    return folder


@pytest.fixture
def runs(tmp_path):
    first = {"bbox": {"AP": 20.0, "AP50": 40.0, "APl": None, "AP-cat": 10.0, "AP-<dog>": 30.0}}
    second = {"bbox": {"AP": 25.5, "AP50": 39.0, "APl": 1.0, "AP-cat": 21.0, "AP-<dog>": 30.0}}
    slow = run_of(tmp_path / "a" / "mine", first, "optimizer.lr=1e-5", "train.max_iter=40")
    return [slow, run_of(tmp_path / "b" / "mine", second, "train.max_iter=40", "train.ema.enabled=False")]


def page_of(folders):
    return Page(comparison_page([read_run(folder) for folder in folders]))


def test_numbers_stand_side_by_side_with_their_distance(runs):
    page = page_of(runs)
    assert page.row("results", "bbox/AP")[1:] == ["20.00", "25.50 (+5.50)"]
    assert page.row("results", "bbox/AP50")[1:] == ["40.00", "39.00 (-1.00)"]
    assert page.row("results", "bbox/APl")[1:] == ["–", "1.00"]
    assert [row[0] for row in page.tables["classes"][0][1:]] == ["bbox/AP cat", "bbox/AP <dog>"]  # by distance
    assert page.row("classes", "bbox/AP cat")[1:] == ["10.00", "21.00 (+11.00)"]


def test_runs_of_the_same_name_are_told_apart_by_their_folders(runs):
    page = page_of(runs)
    assert page.tables["results"][0][0] == ["metric", "a/mine", "b/mine"]
    assert page.row("runs", "a/mine")[1:6] == [RECIPE, "40", "40", "bbox/AP", "30.00"]


def test_settings_that_differ(runs):
    rows = {row[0]: row[1:] for row in page_of(runs).tables["settings"][0][1:]}
    assert rows == {"optimizer.lr": ["1e-05", "0.0004"], "train.ema.enabled": ["True", "False"]}


def test_every_picture_has_a_line_of_each_run(runs):
    text = comparison_page([read_run(folder) for folder in runs])
    figures = re.findall(r"<figcaption>(.*?)</figcaption>(.*?)</figure>", text)
    assert [title for title, _ in figures] == [
        *("Total loss", "Learning rate", "Seconds an iteration", "bbox/AP", "bbox/AP50"),
    ]
    for title, picture in figures:
        names = re.findall(r'data-name="([^"]*)"', picture)
        assert {"a/mine", "b/mine"} <= set(names), title
    assert "a/mine, validation" in figures[0][1]


def test_runs_without_files_are_compared_as_far_as_it_goes(runs):
    for name in ("metrics.json", "results.json", "best.json", "run.json"):
        (runs[1] / name).unlink()
    (runs[1] / "metrics.json").write_bytes(b"\xff{")
    page = page_of(runs)
    assert page.row("results", "bbox/AP")[1:] == ["20.00", "–"]
    assert page.row("runs", "b/mine")[2] == "0"


def test_the_command_compares_and_refuses(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *map(str, runs)]) == 0
    assert (tmp_path / "comparison.html").is_file()
    assert main(["report", str(runs[0]), str(runs[0])]) == 2
    assert "is named twice" in capsys.readouterr().err
    with pytest.raises(ValueError, match="too many for one page"):
        write_comparison_page([runs[0]] * (MOST_RUNS + 1), tmp_path / "page.html")
