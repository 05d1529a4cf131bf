"""What a training needs late, or never, is not imported before it starts."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from focalnet_d2.commands import train
from focalnet_d2.run_reports import run_page, training_pictures

_START = """
import sys
from focalnet_d2.commands import train
from focalnet_d2.engine import jobs
jobs.launch_job = lambda job, **processes: None
train.main(["dino_focalnet_mini_quickstart"])
print([name for name in sys.modules if name.startswith(("focalnet_d2.run_reports", "focalnet_d2.planning"))])
"""


@pytest.mark.slow
def test_reports_and_plans_are_imported_when_they_are_made():
    done = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_late_pictures_travel_and_are_those_of_the_reports(monkeypatch):
    calls = []

    class Drawing:
        def __getattr__(self, name):
            return lambda *arguments: calls.append((name, *arguments))

    monkeypatch.setattr(training_pictures, "TrainingPictures", Drawing)
    pictures = pickle.loads(pickle.dumps(train._LatePictures()))
    pictures.targets({}, "classes")
    pictures.results({}, {}, "classes", 0.3)
    pictures.write("path", [[np.zeros((1, 1, 3))]], ["title"], ["caption"])
    assert [call[0] for call in calls] == ["targets", "results", "write"]
    assert calls[1][1:] == ({}, {}, "classes", 0.3)


def test_a_report_that_cannot_be_imported_ends_no_run(tmp_path, monkeypatch, caplog):
    reported = []
    monkeypatch.setattr(run_page, "report_finished_run", reported.append)
    train._report(tmp_path)
    assert reported == [tmp_path]
    monkeypatch.setitem(sys.modules, "focalnet_d2.run_reports.run_page", None)
    train._report(tmp_path)
    assert reported == [tmp_path]
    assert f"focalnet-d2 report {tmp_path}" in caplog.text
