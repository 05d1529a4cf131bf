"""The doctor: its report, and the exit status of the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from focalnet_d2.commands import doctor
from focalnet_d2.commands import main as cli
from focalnet_d2.diagnostics.check import FAILS, FALLBACK, OK, Check
from focalnet_d2.registration import INSTALL_DETECTRON2
from tests.test_packaging import BLOCK_DETECTRON2

ROOT = Path(__file__).resolve().parents[2]


def run_doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "focalnet_d2.commands.doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_this_installation_is_usable():
    failing = [check for check in doctor.run_checks() if check.status == FAILS]
    assert failing == []


def test_report_covers_what_a_bug_report_needs():
    names = {check.name for check in doctor.run_checks()}
    wanted = {"python", "torch", "torchvision", "numpy", "pycocotools", "panopticapi", "fvcore", "scipy", "pillow"}
    assert wanted | {"detectron2", "detectron2._C", "registration", "recipes", "cpu", "threads"} <= names
    assert {"matrix products, cpu", "deformable attention, cpu", "DETECTRON2_DATASETS"} <= names


def test_report_is_aligned_and_counts():
    text = doctor.format_report(
        [Check("a", OK, "first"), Check("longer", FALLBACK, "second", "one\ntwo"), Check("c", FAILS, "third", "three")]
    )
    lines = text.splitlines()
    assert lines[2:4] == ["ok          a       first", "falls back  longer  second"]
    assert lines[4].index("fix: one") == lines[5].index("two") == lines[3].index("second")
    assert lines[-1] == "1 ok, 1 fall back, 1 fail: not usable until the failing checks are mended"


@pytest.mark.parametrize(("status", "code"), [(OK, 0), (FALLBACK, 0), (FAILS, 1)])
def test_exit_status_and_json(monkeypatch, capsys, status, code):
    monkeypatch.setattr(doctor, "run_checks", lambda: [Check("a", status, "detail")])
    assert doctor.main(["--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] is (code == 0)
    assert report["checks"] == [{"name": "a", "status": status, "detail": "detail", "fix": ""}]


def test_doctor_without_detectron2_reports_it(tmp_path):
    """The package itself cannot be imported then; the doctor still runs and says what to type."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK_DETECTRON2, encoding="utf-8")
    done = run_doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["detectron2"]["status"] == FAILS
    assert "sal-detectron2==" in checks["detectron2"]["fix"]
    assert "git+https://" in checks["detectron2"]["fix"]
    assert checks["torch"]["status"] == OK
    assert INSTALL_DETECTRON2.splitlines()[0] in checks["detectron2"]["fix"]


def test_command_line_hands_over(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "run_checks", lambda: [Check("a", OK, "detail")])
    assert cli.main(["doctor"]) == 0
    assert "everything needed works" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        cli.main(["no-such-command"])
    assert stopped.value.code == 2
    assert "doctor" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_can_say_what_it_does(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: focalnet-d2 {command}" in capsys.readouterr().out
