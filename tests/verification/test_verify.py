"""Every mini recipe is what it promises, and breaks that are planted into the product show in their line."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from dino.model import DINO
from focalnet_d2.engine import run
from focalnet_d2.engine.jobs import Job
from focalnet_d2.verification import checks, comparing, runs
from focalnet_d2.verification.checks import Case, Row
from focalnet_d2.verification.processes import GRADIENTS, move_by_gradients
from tests.recipes import RECIPES
from tests.registered_sets import registered  # noqa: F401  autouse
from tests.verification.own_model import write_own_recipe

MINI = [name for name in RECIPES if "_mini_" in name]
DINO_RECIPE = "dino_focalnet_mini_demo"
LINES = 7
OWN = "own.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("verified")


def exported_once(case: Case, again: Any) -> Row:
    """The small forms of the recipes for one kind of network are one network, which is exported once."""
    if case.name.startswith(("dino", "mask2former")) and "quickstart" not in case.name:
        return Row(case.name, "ONNX", True, "as that of the quick start")
    return checks.exported(case, again)


def lines_of(jobs: list[Job], root: Path) -> dict[str, list[Row]]:
    """The lines of each recipe; all share the data and three processes."""
    found = defaultdict(list)
    for row in checks.verify(jobs, root):
        found[Path(row.recipe).name].append(row)
    return found


@pytest.fixture(scope="module")
def rows(root, tmp_path_factory) -> dict[str, list[Row]]:
    """Those of a small DINO and of somebody else's recipe."""
    own = write_own_recipe(tmp_path_factory.mktemp("own") / OWN)
    return lines_of([Job(DINO_RECIPE), Job(own, trust=True)], root)


@pytest.fixture
def case(rows, root, tmp_path) -> Case:
    """The runs of the small DINO, in a folder of their own that further ones may be put into."""
    folder = root / "0"
    (tmp_path / "first").symlink_to(folder / "first")
    (tmp_path / "one").symlink_to(folder / "one")
    return checks.make_case(Job(DINO_RECIPE), root / "data", tmp_path, "cpu")


def test_every_mini_recipe_holds(tmp_path, monkeypatch):
    """One test, so that one process of a parallel run has all of them and the others none."""
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS[:-1], exported_once))
    rows = lines_of([*map(Job, MINI)], tmp_path)
    assert {name: len(lines) for name, lines in rows.items()} == dict.fromkeys(MINI, LINES)
    assert [row for lines in rows.values() for row in lines if not row.held] == []
    there_is_something_to_compare(rows)


def test_a_model_of_ones_own_that_cannot_be_exported(rows):
    held = {row.check: row.held for row in rows[OWN]}
    assert [check for check, holds in held.items() if not holds] == ["ONNX in onnxruntime, files scored"]
    (row,) = [row for row in rows[OWN] if row.held is None]
    assert row.finding.startswith("MeanColorClassifier cannot be exported: it needs export_decoder")


def there_is_something_to_compare(rows: dict[str, list[Row]]) -> None:
    """Predictions of models that have learned nothing are many, so equal ones say something."""
    evaluated = {name: lines[2].finding for name, lines in rows.items()}
    assert all("metrics equal" in finding for finding in evaluated.values())
    assert [name for name, finding in evaluated.items() if "no objects" in finding] == []
    assert "48 objects alike" in evaluated[DINO_RECIPE]


def test_random_numbers_that_a_resumed_run_does_not_restore(case, monkeypatch):
    monkeypatch.setattr(run, "set_rng_state", lambda state: None)
    row = checks.resumed(case, None)
    assert not row.held
    assert "tensors and values differ: " in row.finding
    assert "model.backbone" in row.finding


def test_another_number_of_objects_in_the_export(case, monkeypatch):
    settings = DINO.export_settings
    monkeypatch.setattr(DINO, "export_settings", lambda self: {**settings(self), "num_select": 11})
    row = checks.exported(case, None)
    assert not row.held
    assert "4 of 48 objects without a partner" in row.finding


def test_a_predictor_that_resizes_otherwise(case, monkeypatch):
    prepare = checks.Predictor._prepare

    def enlarged(self, image):
        prepared = prepare(self, image)
        return prepared._replace(tensor=prepared.tensor.repeat_interleave(2, dim=-1))

    monkeypatch.setattr(checks.Predictor, "_prepare", enlarged)
    row = checks.predicted(case, None)
    assert not row.held
    assert "48 of 48 objects without a partner" in row.finding


def test_an_evaluation_of_other_weights(case, monkeypatch):
    loaded = run.load_checkpoint

    def shifted(model, *arguments, **options):
        report = loaded(model, *arguments, **options)
        with torch.no_grad():
            next(model.parameters()).add_(0.01)
        return report

    monkeypatch.setattr(run, "load_checkpoint", shifted)
    runs.evaluate(case.job, case.checkpoint, case.folder / "alone")
    found = comparing.compare_evaluations(case.folder / "first", case.folder / "alone", comparing.Tolerance())
    assert not found.held


def test_gradients_that_are_not_reduced(case, rows, root):
    """As if the second process had gone its own way."""
    two = torch.load(root / "0" / "two" / GRADIENTS)
    name = max(two, key=lambda one: float(two[one].abs().max()))
    torch.save({**two, name: two[name] * 1.01}, case.folder / GRADIENTS)
    found = comparing.compare_gradients(case.folder / "one" / GRADIENTS, case.folder / GRADIENTS, checks.ROUNDING)
    assert not found.held
    assert f"shares of their size: {name} by 0.01" in found.text


def equal_after(monkeypatch, trainings: int) -> list[str]:
    """The seeds from which two processes train from now on; they do as one does from that training on."""
    seeds = []

    def run(cases):
        seeds.extend(case.paired.overrides[-1] for case in cases)

    monkeypatch.setattr(checks, "run_in_two_processes", run)
    findings = (comparing.Finding(len(seeds) >= trainings, f"of {len(seeds)}") for _ in range(9))
    monkeypatch.setattr(checks, "_compare_training", lambda case: next(findings))
    return seeds


@pytest.mark.parametrize(("trainings", "held"), [(0, True), (1, True), (2, True), (3, False)])
def test_a_training_of_two_processes_that_differs_is_repeated_from_other_weights(
    case, root, monkeypatch, trainings, held
):
    for place in ("one", "two"):
        if not (case.folder / place).exists():
            (case.folder / place).symlink_to(root / "0" / place)
    seeds = equal_after(monkeypatch, trainings)
    _, row = checks.of_two_processes(case)
    assert seeds == ["train.seed=1", "train.seed=2"][:trainings]
    assert (row.held, row.finding) == (held, f"of {len(seeds)}")


def test_a_gradient_of_rounding_moves_no_weight():
    weights = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([weights], lr=1.0)
    move_by_gradients(optimizer)
    weights.grad = torch.tensor([1e-9, 0.1])
    optimizer.step()
    assert weights[0].abs() < 1e-8
    assert weights[1].abs() > 0.05
