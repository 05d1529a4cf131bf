"""The command line of `focalnet-d2 verify`, whose checks are planted."""

import json

import pytest

from focalnet_d2.commands import verify
from focalnet_d2.verification import checks
from focalnet_d2.verification.checks import Row


@pytest.fixture
def asked(monkeypatch):
    """What was asked for; the rows are those that a test puts there."""
    found = {"rows": [], "jobs": []}

    def planted(jobs, root, *, device):
        found["jobs"], found["device"] = jobs, device
        yield from found["rows"]

    monkeypatch.setattr(checks, "verify", planted)
    return found


@pytest.mark.parametrize(("held", "status"), [(True, 0), (None, 0), (False, 1)])
def test_the_status_says_whether_all_lines_hold(asked, capsys, held, status):
    asked["rows"] = [Row("mine", "a second run", held, "all 3 metrics equal"), Row("mine", "other", True, "equal")]
    assert verify.main(["mine", "train.seed=1"]) == status
    assert f"mine  {'a second run':<38}  {verify._HELD[held]:<11}  all 3 metrics equal\n" in capsys.readouterr().out
    (job,) = asked["jobs"]
    assert (job.recipe, job.overrides, job.trust) == ("mine", ("train.seed=1",), False)


def test_json(asked, capsys):
    asked["rows"] = [Row("mine", "a second run", None, "no onnxruntime")]
    assert verify.main(["mine", "--json", "--trust", "--device", "mps"]) == 0
    expected = {"recipe": "mine", "check": "a second run", "held": None, "finding": "no onnxruntime"}
    assert json.loads(capsys.readouterr().out) == [expected]
    assert (asked["device"], asked["jobs"][0].trust) == ("mps", True)


def test_a_pattern_names_several_recipes(asked, tmp_path):
    for name in ("b.py", "a.py"):
        (tmp_path / name).touch()
    assert verify.main([str(tmp_path / "*.py"), "other"]) == 0
    assert [job.recipe for job in asked["jobs"]] == [str(tmp_path / "a.py"), str(tmp_path / "b.py"), "other"]


def test_a_folder_that_is_kept_must_be_new(asked, tmp_path, capsys):
    assert verify.main(["mine", "--keep", str(tmp_path)]) == 2
    assert f"{tmp_path}" in capsys.readouterr().err


def test_settings_alone_are_no_recipe(capsys):
    assert verify.main(["train.seed=1"]) == 2
    assert "Name a recipe before its settings." in capsys.readouterr().err
