"""`focalnet-d2`: every subcommand is there, and ends with one line when its user is wrong."""

from dataclasses import replace
from importlib import import_module

import pytest

from focalnet_d2.commands import train
from focalnet_d2.commands.main import COMMANDS, main
from focalnet_d2.engine import jobs

TOOLS = dict(report=train._report, planner=train._settings_that_fit)  # which import when they are called


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as ended:
        import_module(COMMANDS[name].module).main(["--help"])
    assert ended.value.code == 0
    assert f"usage: focalnet-d2 {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "dino_focalnet_hug"], "dino_focalnet_huge"),
        (["train", "dino_focalnet_huge", "train.max_itr=3"], "train.max_iter"),
        (["train", "--num-gpus", "2", "dino_focalnet_huge", "train.device=cpu"], "--num-processes"),
        (["evaluate", "dino_focalnet_huge", "train.nonsense=3", "--num-processes", "2"], "train.nonsense"),
        (["inspect", "nowhere.pth"], "nowhere.pth"),
        (["convert", "nowhere.pth", "out.pth"], "nowhere.pth"),
        (["zoo", "--list", "resnet"], "resnet"),
        (["score", "panoptic", "nowhere.json", "other.json"], "nowhere.json"),
        (["prepare", "ade20k", "--root", "nowhere"], "nowhere"),
        (["prepare", "ade20k", "--tasks", "semantics"], "semantic, panoptic, instance"),
        (["prepare", "coco-semantic", "--root", "nowhere"], "nowhere"),
        (["generate", "--root", "there", "--train", "-1"], "-1"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert words in printed.err


def test_without_a_command_the_help_is_printed_and_a_typo_is_answered_with_the_nearest_name(capsys):
    assert main([]) == 0
    assert "doctor" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["trian"])
    assert ended.value.code == 2
    assert "There is no command 'trian': try train." in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--num-gpus", "--num-processes", "--num-machines"])
def test_a_run_has_at_least_one_process(option, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "dino_focalnet_mini_demo", option, "0"])
    assert ended.value.code == 2
    assert f"argument {option}: It must be at least 1." in capsys.readouterr().err


def test_debug_shows_the_traceback_of_a_mistake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        main(["inspect", "nowhere.pth", "--debug"])


@pytest.mark.parametrize(
    ("arguments", "job"),
    [
        (
            ["train", "a", "x=1", "--resume", "y=2"],
            jobs.Job("a", ("x=1", "y=2"), resume=True, **TOOLS),
        ),
        (["evaluate", "x/a.py", "x=1"], jobs.Job("x/a.py", ("x=1",), evaluate_only=True, **TOOLS)),
    ],
)
def test_train_and_evaluate_launch_a_recipe(arguments, job, monkeypatch):
    launched = []
    monkeypatch.setattr(jobs, "launch_job", lambda job, **options: launched.append((job, options)))
    assert main([*arguments, "--num-gpus", "4", "--num-machines", "2", "--dist-url", "tcp://a:1"]) == 0
    options = dict(num_gpus=4, num_processes=1, num_machines=2, machine_rank=0, dist_url="tcp://a:1")
    ((found, given),) = launched
    assert (replace(found, pictures=None), given) == (job, options)
    assert isinstance(found.pictures, train._LatePictures)
    assert set(options) == set(train.PROCESSES)
