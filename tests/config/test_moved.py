"""Names of 0.1.0: imports, commands and values find what they are called today, with one warning each."""

import importlib
import importlib.util
import runpy
import subprocess
import sys
import warnings
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace

import pytest
from detectron2.utils.events import EventStorage
from detectron2.utils.registry import locate
from torch import nn

import mask2former  # noqa: F401  enters its own moved modules
from focalnet_d2.config import moved
from focalnet_d2.config.moved import MODULES, NAMES, current_name, current_value, warn_once, with_old_log_names
from focalnet_d2.config.old_imports import MovedModules, install_import_aliases
from focalnet_d2.engine.optimizer import parameter_groups
from focalnet_d2.engine.trainer import Trainer

OLD_MODULES = (Path(__file__).parents[1] / "fixtures/written_by_0_1_0/modules.txt").read_text().split()
COMMANDS = [old for old in MODULES if old.endswith(("__main__", ".doctor", ".cli"))]


@pytest.fixture(autouse=True)
def nothing_warned_yet(monkeypatch):
    """Names that other tests of this process have used warn again."""
    monkeypatch.setattr(moved, "_warned", set())


def importable(module: str, monkeypatch) -> None:
    """Forget an old module, so that it is looked for again."""
    monkeypatch.delitem(sys.modules, module, raising=False)


def test_every_module_of_then_is_found():
    assert len(OLD_MODULES) > 150
    assert [old for old in OLD_MODULES if importlib.util.find_spec(old) is None] == []


@pytest.mark.parametrize("old", sorted(MODULES))
def test_a_moved_module_is_the_module_of_today(old, monkeypatch):
    parent = importlib.import_module(old.rpartition(".")[0])
    assert PathFinder.find_spec(old, parent.__path__) is None
    importable(old, monkeypatch)
    with pytest.warns(DeprecationWarning, match=f"'{old}' is now '{MODULES[old]}'"):
        module = importlib.import_module(old)
    assert module is sys.modules[MODULES[old]] is sys.modules[old]
    assert module.__spec__.name == module.__name__ == MODULES[old]


@pytest.mark.parametrize("old", sorted(NAMES))
def test_a_renamed_content_is_that_of_today(old):
    assert locate(old) is locate(NAMES[old]) is not None


def test_an_old_import_warns_once_where_it_stands(monkeypatch):
    importable("focalnet_d2.config.yacs", monkeypatch)
    line = "from focalnet_d2.config.yacs import recipe_to_cfg\nfrom focalnet_d2.data.mappers import SemanticMapper\n"
    code = compile(line, "users_own.py", "exec")
    found = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(code, found)
        importable("focalnet_d2.config.yacs", monkeypatch)
        exec(code, found)
    assert [(warning.filename, warning.lineno) for warning in caught] == [("users_own.py", 1), ("users_own.py", 2)]
    assert "focalnet_d2.yacs" in str(caught[0].message)
    assert found["recipe_to_cfg"] is importlib.import_module("focalnet_d2.yacs").recipe_to_cfg
    assert found["SemanticMapper"].__name__ == "SemanticMaskMapper"


def test_names_of_today_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert locate("focalnet_d2.data.mappers.SemanticMaskMapper").__name__ == "SemanticMaskMapper"
        assert importlib.import_module("focalnet_d2.yacs").recipe_to_cfg


def test_a_name_that_never_was_is_no_name():
    module = importlib.import_module("focalnet_d2.data.mappers")
    with pytest.raises(AttributeError, match=r"focalnet_d2\.data\.mappers.*'TextMapper'"):
        module.TextMapper  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match=r"focalnet_d2\.config\.xml"):
        importlib.import_module("focalnet_d2.config.xml")


@pytest.mark.parametrize("old", COMMANDS)
def test_the_module_of_an_old_command_runs_that_of_today(old, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["python -m", "--help"])
    monkeypatch.delitem(sys.modules, old, raising=False)  # as in a process that has not imported it
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as stop:
            runpy.run_module(old.removesuffix(".__main__"), run_name="__main__", alter_sys=True)
    assert not stop.value.code
    assert capsys.readouterr().out.startswith("usage: ")
    assert any(f"python -m {MODULES[old]}" in str(warning.message) for warning in caught)


def test_python_m_of_an_old_command():
    command = [sys.executable, "-m", "focalnet_d2.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.startswith("usage: ")
    assert "python -m focalnet_d2.commands.main" in done.stderr


def test_install_twice_changes_nothing():
    install_import_aliases()
    assert sum(isinstance(finder, MovedModules) for finder in sys.meta_path) == 1


def test_the_tables_need_nothing_but_the_standard_library():
    code = f"""
import sys, types
package = types.ModuleType("focalnet_d2")
package.__path__ = [{str(Path(moved.__file__).parents[1])!r}]
sys.modules["focalnet_d2"] = package
from focalnet_d2.config import moved, old_imports, recipe_files
print([name for name in ("detectron2", "omegaconf", "torch", "yaml") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("modeling.focalnet", "backbone.focalnet"),
        ("modeling.focalnet.FocalNet.make_output_shape", "backbone.focalnet.FocalNet.make_output_shape"),
        ("modeling.atss.ATSS", "modeling.atss.model.ATSS"),
        ("modeling.atss.model.ATSS", "modeling.atss.model.ATSS"),
        ("data.mappers.semantic.SemanticMapper", "data.mappers.semantic_mask.SemanticMaskMapper"),
        ("data.mappers.SemanticMapper", "data.mappers.SemanticMaskMapper"),
        ("data.mappers.PanopticMapper", "data.mappers.PanopticMapper"),
    ],
)
def test_current_name(old, new):
    assert current_name(f"focalnet_d2.{old}") == f"focalnet_d2.{new}"
    assert current_name(old) == old


def test_an_old_value_becomes_that_of_today():
    with pytest.warns(FutureWarning, match="'optimizer.decay_rule=m2f' is now 'optimizer.decay_rule=mask2former'"):
        assert current_value("optimizer.decay_rule", "m2f") == "mask2former"
    assert current_value("optimizer.decay_rule", "all") == "all"
    assert current_value("optimizer.name", "m2f") == "m2f"


def test_logged_numbers_have_both_names():
    losses = {"loss_bbox": 1.0, "loss_centerness": 2.0}
    assert with_old_log_names(losses) == {**losses, "loss_centreness": 2.0}


def test_the_trainer_logs_both_names_and_counts_the_loss_once():
    trainer = SimpleNamespace(
        storage=EventStorage(0), scaler=SimpleNamespace(is_enabled=lambda: False), skips=SimpleNamespace(total=0)
    )
    Trainer.write_metrics(trainer, {"loss_bbox": 1.0, "loss_centerness": 2.0}, grad_norm=4.0, data_time=0.5)
    logged = {name: value for name, (value, _) in trainer.storage.latest().items()}
    losses = {"loss_bbox": 1.0, "loss_centerness": 2.0, "loss_centreness": 2.0, "total_loss": 3.0}
    assert logged == {**losses, "data_time": 0.5, "grad_norm": 4.0}


@pytest.mark.parametrize(("old", "new"), [("cls", "imagenet"), ("d2", "detectron2")])
def test_decay_rules_work_by_their_old_names(old, new):
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    with pytest.warns(FutureWarning, match=f"decay_rule={new}"):
        groups = parameter_groups(model, lr=1.0, weight_decay=0.5, decay_rule=old)
    assert groups == parameter_groups(model, lr=1.0, weight_decay=0.5, decay_rule=new)


def test_a_name_warns_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            warn_once("train.part_weights", "train.microbatch_weights")
    assert len(caught) == 1
    assert caught[0].category is FutureWarning
