"""Where the numbers of a training go: a table, and trackers that stub modules stand for."""

import csv
import json
import sys
from types import SimpleNamespace

import pytest
from detectron2.utils.events import EventStorage
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.engine.csv_file import CsvFile
from focalnet_d2.engine.loggers import logger_names, make_loggers
from focalnet_d2.engine.metrics import MetricsFile, read_metrics
from focalnet_d2.engine.trackers import TRACKED, MlflowLogger, WandbLogger


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def joined(path):
    """The lines of `metrics.json`, one an iteration."""
    lines = {}
    for line in read_metrics(path):
        lines.setdefault(line["iteration"], {}).update(line)
    return [lines[iteration] for iteration in sorted(lines)]


def run(folder, start, end, *, results_at=(), late_column=10**6):
    """Some iterations of a run that writes both files."""
    metrics = MetricsFile(folder / "metrics.json")
    table = CsvFile(folder / "metrics.csv", metrics.path)
    metrics.begin(start)
    table.begin(start)
    with EventStorage(start) as storage:
        for iteration in range(start, end):
            storage.iter = iteration
            storage.put_scalar("total_loss", iteration + 0.5, smoothing_hint=False)
            if iteration >= late_column:
                storage.put_scalar('grad, "norm"', 2.0 * iteration, smoothing_hint=False)
            if iteration in results_at:
                storage.put_scalar("bbox/AP", 7.0, smoothing_hint=False)
                metrics.write()  # both are called after an evaluation
                table.write()
            if iteration % 2:
                metrics.write()
                table.write()
        metrics.write()
        table.write()
    return table.path


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 9), st.integers(0, 9), st.sets(st.integers(0, 12)), st.integers(0, 13))
def test_the_table_has_the_numbers_of_the_json_file_each_iteration_once(tmp_path_factory, first, back, results, late):
    folder = tmp_path_factory.mktemp("run")
    run(folder, 0, first, results_at=results, late_column=late)
    with open(folder / "metrics.csv", "a", encoding="utf-8") as file:
        file.write("7,0.")  # of a process that was killed
    path = run(folder, max(first - back, 0), 13, results_at=results, late_column=late)
    table = rows(path)
    assert table == joined(folder / "metrics.json")
    assert [row["iteration"] for row in table] == sorted({row["iteration"] for row in table})


def test_rows_that_simply_follow_are_appended(tmp_path, monkeypatch):
    calls, write_anew = [], CsvFile._write_anew
    monkeypatch.setattr(CsvFile, "_write_anew", lambda self: (calls.append(1), write_anew(self)))
    path = run(tmp_path, 0, 9)
    assert [row["iteration"] for row in rows(path)] == [1, 3, 5, 7, 8]
    assert len(calls) == 2  # at the start, and when the first columns appear


def train(*names):
    return OmegaConf.create({"loggers": list(names)})


def test_names_of_loggers_are_checked():
    assert logger_names(OmegaConf.create({})) == ["tensorboard"]
    assert logger_names(train("csv", "csv", "tensorboard")) == ["csv", "tensorboard"]
    assert logger_names(train()) == []
    with pytest.raises(RecipeError, match="train.loggers has 'comet', which is not one of csv, tensorboard, wandb"):
        logger_names(train("comet"))


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_with_the_command(name, monkeypatch):
    monkeypatch.setattr("focalnet_d2.engine.loggers._is_installed", lambda package: False)
    with pytest.raises(RecipeError, match=rf"{name} is not installed: .* -m pip install {name}$"):
        logger_names(train(name))


class Wandb(SimpleNamespace):
    """Stands for the package `wandb`, and for its run."""

    def __init__(self):
        super().__init__(inits=[], lines=[], ended=[], broken=False)

    def init(self, **options):
        self.inits.append(options)
        return self

    def define_metric(self, *names, **options):
        pass

    def log(self, numbers):
        if self.broken:
            raise OSError("no network")
        self.lines.append(numbers)

    def finish(self, exit_code):
        self.ended.append(exit_code)


class Mlflow(SimpleNamespace):
    """Stands for the package `mlflow`."""

    def __init__(self):
        super().__init__(started=[], params=[], lines=[], ended=[], experiments=[])

    def set_experiment(self, name):
        self.experiments.append(name)

    def start_run(self, **options):
        self.started.append(options)
        return SimpleNamespace(info=SimpleNamespace(run_id=options.get("run_id", "abc")))

    def log_params(self, values):
        self.params.append(values)

    def log_metrics(self, numbers, step):
        self.lines.append((step, numbers))

    def end_run(self, status):
        self.ended.append(status)


@pytest.fixture
def wandb(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", Wandb())
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return sys.modules["wandb"]


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", Mlflow())
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    return sys.modules["mlflow"]


def write_numbers(tracker, start, *, is_complete=True):
    tracker.begin(start)
    with EventStorage(start) as storage:
        storage.put_scalar("bbox/AP-a:b", 3.0, smoothing_hint=False)
        tracker.write()
        tracker.write()
    tracker.is_complete = is_complete
    tracker.close()


def test_wandb_gets_name_settings_and_numbers_under_the_id_of_the_run(tmp_path, wandb):
    folder = tmp_path / "my_run"
    write_numbers(WandbLogger(folder, "1f", {"train": {"seed": 3}}), 0, is_complete=False)
    write_numbers(WandbLogger(folder, "1f", {"train": {"seed": 3}}), 5)
    first, second = wandb.inits
    assert (first["id"], first["name"], first["resume"], first["project"]) == ("1f", "my_run", "allow", "focalnet-d2")
    assert first["config"] == {"train": {"seed": 3}}
    assert second == first
    assert wandb.lines == [{"bbox/AP-a:b": 3.0, "iteration": 0}, {"bbox/AP-a:b": 3.0, "iteration": 5}]
    assert wandb.ended == [1, 0]


def test_numbers_that_could_not_be_sent_follow_later(tmp_path, wandb, caplog):
    tracker = WandbLogger(tmp_path, "1f", {})
    tracker.begin(0)
    with EventStorage(0) as storage:
        for iteration, broken in enumerate([True, True, False]):
            storage.iter, wandb.broken = iteration, broken
            storage.put_scalar("total_loss", float(iteration), smoothing_hint=False)
            tracker.write()
    assert wandb.lines == [{"total_loss": float(i), "iteration": i} for i in range(3)]
    assert [record.getMessage() for record in caplog.records] == [
        "wandb does not take the numbers, which it will get later: no network"
    ]


def test_mlflow_goes_on_under_the_id_that_the_folder_keeps(tmp_path, mlflow):
    write_numbers(MlflowLogger(tmp_path, "1f", {"a": [{"b": 1}], "c": "x" * 9000}), 0, is_complete=False)
    write_numbers(MlflowLogger(tmp_path, "1f", {"a": 2}), 5)
    assert mlflow.started == [{"run_name": tmp_path.name}, {"run_id": "abc"}]
    assert mlflow.params == [{"a.0.b": "1", "c": "x" * 500}]
    assert mlflow.lines == [(0, {"bbox/AP-a_b": 3.0}), (5, {"bbox/AP-a_b": 3.0})]
    assert mlflow.ended == ["KILLED", "FINISHED"]
    assert mlflow.experiments == ["focalnet-d2"]


def test_another_run_in_the_folder_gets_an_id_of_its_own_from_mlflow(tmp_path, mlflow):
    (tmp_path / TRACKED).write_text(json.dumps({"run": "old", "mlflow": "xyz"}))
    write_numbers(MlflowLogger(tmp_path, "new", {}), 0)
    assert mlflow.started == [{"run_name": tmp_path.name}]


def test_a_damaged_id_and_a_tracker_that_refuses_are_one_error(tmp_path, mlflow):
    (tmp_path / TRACKED).write_text("[")
    with pytest.raises(ValueError, match="train.loggers has mlflow, which does not start: .*tracked.json is damaged"):
        MlflowLogger(tmp_path, "1f", {}).begin(0)


def test_loggers_of_a_recipe_touch_nothing_before_the_training(tmp_path, wandb):
    recipe = OmegaConf.create(
        {"train": {"output_dir": str(tmp_path / "run"), "loggers": ["csv", "tensorboard", "wandb"]}}
    )
    assert len(make_loggers(recipe, "1f")) == 3
    assert not (tmp_path / "run").exists()
    assert wandb.inits == []
