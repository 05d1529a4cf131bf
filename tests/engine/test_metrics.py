"""`metrics.json` over several starts of a run."""

import json

import pytest
from detectron2.utils.events import EventStorage

from focalnet_d2.engine.metrics import MetricsFile, is_evaluated, read_metrics
from tests.utils.test_atomic_write import files_of_at_most


def write_lines(path, *lines, tail=""):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)


def test_new_numbers_are_appended_by_iteration(tmp_path):
    file = MetricsFile(tmp_path / "metrics.json")
    with EventStorage(0) as storage:
        storage.put_scalars(total_loss=2.0)
        file.write()
        storage.iter = 1
        storage.put_scalars(total_loss=4.0, lr=0.5)
        file.write()
        file.write()
    assert read_metrics(file.path) == [
        {"iteration": 0, "total_loss": 2.0},
        {"iteration": 1, "total_loss": 3.0, "lr": 0.5},  # the median since the start
    ]


def test_what_is_done_again_is_forgotten(tmp_path):
    path = tmp_path / "metrics.json"
    write_lines(path, *({"iteration": i, "total_loss": i} for i in range(5)), tail='{"iteration": 5, "tot')
    MetricsFile(path).begin(3)
    assert [line["iteration"] for line in read_metrics(path)] == [0, 1, 2]


def test_the_last_evaluation_of_a_run_that_is_made_longer_stays(tmp_path):
    path = tmp_path / "metrics.json"
    write_lines(path, {"iteration": 3, "total_loss": 1}, {"iteration": 4, "bbox/AP": 7, "evaluated_after": 4})
    assert is_evaluated(path, 4)
    MetricsFile(path).begin(4)
    assert read_metrics(path) == [{"iteration": 3, "total_loss": 1, "bbox/AP": 7, "evaluated_after": 4}]
    assert is_evaluated(path, 4)
    assert not is_evaluated(path, 3)


def test_an_evaluation_that_is_made_up_for_joins_its_iteration(tmp_path):
    path = tmp_path / "metrics.json"
    write_lines(path, {"iteration": 0, "total_loss": 2}, {"iteration": 1, "total_loss": 1})
    file = MetricsFile(path)
    file.begin(2)
    with EventStorage(1) as storage:
        storage.put_scalar("bbox/AP", 7.0)
        file.write()
        storage.iter = 2
        storage.put_scalar("total_loss", 0.5)
        file.write()
    assert read_metrics(path) == [
        {"iteration": 0, "total_loss": 2},
        {"iteration": 1, "total_loss": 1, "bbox/AP": 7.0},
        {"iteration": 2, "total_loss": 0.5},
    ]


def test_a_full_disk_names_the_file(tmp_path):
    file = MetricsFile(tmp_path / "metrics.json")
    with EventStorage(0) as storage:
        storage.put_scalar("total_loss", 1.0)
        with pytest.raises(OSError, match=r"too large.*metrics\.json"), files_of_at_most(8):
            file.write()
