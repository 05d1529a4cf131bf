"""The doctor: each check on a made-up installation, the report, and the exit status of the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from focalnet_d2.commands import doctor
from focalnet_d2.commands import main as cli
from focalnet_d2.commands.doctor import FAILS, FALLBACK, OK, Check
from focalnet_d2.registration import INSTALL_DETECTRON2
from tests.test_packaging import BLOCK_DETECTRON2

ROOT = Path(__file__).resolve().parents[1]


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
    assert wanted | {"detectron2", "detectron2._C", "registration", "recipes", "cpu"} <= names
    assert {"matrix products, cpu", "deformable attention, cpu", "DETECTRON2_DATASETS"} <= names


@pytest.mark.parametrize(("version", "status"), [((3, 9), FAILS), ((3, 10), OK), ((3, 13), OK), ((3, 14), FALLBACK)])
def test_python_version(version, status):
    (check,) = doctor.check_python(version)
    assert check.status == status
    assert bool(check.fix) is (status != OK)


@pytest.mark.parametrize(
    ("requirement", "status", "words"),
    [
        ("numpy>=1.0", OK, "supported: >=1.0"),
        ("numpy>=99", FAILS, "outside the supported range"),
        ("no-such-package-here>=1", FAILS, "not installed"),
    ],
)
def test_package_against_its_range(requirement, status, words):
    (check,) = doctor.check_packages([Requirement(requirement)])
    assert check.status == status
    assert words in check.detail
    assert status == OK or f'pip install "{requirement}"' in check.fix


def test_package_with_a_broken_binary_fails(monkeypatch):
    monkeypatch.setattr(doctor, "import_problem", lambda module: "OSError: undefined symbol" if module == "PIL" else "")
    check = doctor.check_package(Requirement("pillow"))
    assert check.status == FAILS
    assert "undefined symbol" in check.detail
    assert "--force-reinstall" in check.fix


def test_ranges_come_from_setup_cfg(monkeypatch):
    """The same requirements whether the package is installed or only lies there as a checkout."""

    def not_installed(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    installed = {str(one) for one in doctor.declared_requirements()}
    monkeypatch.setattr(doctor.importlib.metadata, "requires", not_installed)
    assert {str(one) for one in doctor.declared_requirements()} == installed
    assert any(one.startswith("torch") for one in installed)


def test_missing_panopticapi_falls_back(monkeypatch):
    monkeypatch.setattr(doctor, "import_problem", lambda module: "ModuleNotFoundError: panopticapi")
    (check,) = doctor.check_panopticapi()
    assert check.status == FALLBACK
    assert "panopticapi-lite" in check.fix


def test_compiled_detectron2_is_told_absent_from_broken(monkeypatch):
    monkeypatch.setattr(
        doctor, "import_problem", lambda module: "ImportError: undefined symbol" * module.endswith("_C")
    )
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda module: None)
    (absent,) = doctor.check_compiled_detectron2()
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda module: object())
    (broken,) = doctor.check_compiled_detectron2()
    assert absent.status == broken.status == FALLBACK
    assert absent.detail.startswith("not compiled")
    assert "undefined symbol" in broken.detail


def test_cpu_description_reads_name_and_instructions(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: avx2 avx512_bf16\n", encoding="utf-8")
    assert doctor.cpu_description(cpuinfo) == ("Some CPU", {"avx2", "avx512_bf16"})
    name, features = doctor.cpu_description(tmp_path / "absent")
    assert name
    assert features == set()


def test_no_cuda_names_the_reason(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    (check,) = doctor.check_cuda()
    assert check.status == FALLBACK
    assert "built without CUDA" in check.detail
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "no device is visible" in doctor.check_cuda()[0].detail


def test_forms_are_those_that_run():
    from focalnet_d2.kernels import focal_context
    from focalnet_d2.layers import deformable_attention

    attention, context = [check for check in doctor.check_forms() if check.name.endswith("cpu")]
    assert attention.detail.startswith(deformable_attention.available_implementations("cpu")[0].name)
    assert context.detail.startswith(focal_context.available_implementations("cpu")[0].name)


def test_form_that_is_missing_has_its_reason(monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    checks = [check for check in doctor.check_forms() if check.name.endswith("cpu")]
    for check, form in zip(checks, ("table_lookup", "plain"), strict=True):
        assert check.status == OK
        assert check.detail.startswith(form)
        assert check.detail.endswith("not compiled: FOCALNET_D2_COMPILE=0")


def test_triton_is_mentioned_only_with_cuda_and_says_why_it_is_not_taken(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor.check_triton() == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("FOCALNET_D2_TRITON", raising=False)
    (check,) = doctor.check_triton()
    assert check.status == FALLBACK
    assert "FOCALNET_D2_TRITON=1" in check.detail
    assert "benchmarks/gpu.py" in check.fix
    monkeypatch.setattr("focalnet_d2.kernels.triton_gate.why_not_triton", lambda kernels: "")
    assert doctor.check_triton()[0].status == OK


def test_folder_of_data_sets_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    (check,) = doctor.check_datasets()
    assert check.status == FALLBACK
    assert "nowhere" in check.detail


def test_data_sets_on_disk_absent_and_incomplete(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "boxes.json").touch()
    there, boxes, absent = tmp_path / "images", tmp_path / "boxes.json", tmp_path / "typo"
    catalog = {"whole": [there, boxes], "no_images": [absent, boxes], "nothing": [absent, absent], "unknown": []}
    check = doctor.data_on_disk(catalog, "a fix")
    assert check == Check("data sets", OK, "1 of 4 registered ones: whole")
    (incomplete,) = doctor.incomplete_datasets(catalog)
    assert incomplete.name == "no_images"
    assert str(absent) in incomplete.fix
    assert doctor.data_on_disk({"nothing": [absent]}, "a fix").fix == "a fix"


def test_check_that_raises_becomes_one_that_fails():
    def check_of_something():
        raise RuntimeError("broken")

    (check,) = doctor.guarded(check_of_something)
    assert check.status == FAILS
    assert check.name == "of something"
    assert check.detail == "RuntimeError: broken"


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
