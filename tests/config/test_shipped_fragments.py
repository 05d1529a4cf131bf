"""Recipes outside the checkout import parts of the shipped ones: from a clone, and from an installed package."""

import builtins
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from focalnet_d2.config.lazy import load_recipe, recipe_to_yaml
from focalnet_d2.config.recipe_files import recipe_folder
from focalnet_d2.config.shipped_fragments import load_fragment

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
from focalnet_d2.configs.common.data.balloon_detection import dataloader
from focalnet_d2.configs.common.models.dino_mini import model
from focalnet_d2.configs.common.optim import adamw as optimizer
from focalnet_d2.configs.common.schedules import drop_at_80_percent as lr_multiplier

from .mine_train import train

model.num_classes += 1
dataloader.test.batch_size = 2
"""
TRAIN = "from focalnet_d2.configs.common.train import train\ntrain.max_iter = 7\n"


@pytest.fixture
def recipe(tmp_path) -> Path:
    (tmp_path / "mine.py").write_text(RECIPE)
    (tmp_path / "mine_train.py").write_text(TRAIN)
    return tmp_path / "mine.py"


def test_a_recipe_elsewhere_is_built_of_shipped_parts(recipe):
    first, again = load_recipe(recipe), load_recipe(recipe)
    assert (first.model.num_classes, first.train.max_iter, first.dataloader.test.batch_size) == (81, 7, 2)
    assert recipe_to_yaml(first) == recipe_to_yaml(again)  # nothing that the first one changed is kept
    shipped = load_recipe("dino_focalnet_mini_balloon")
    assert recipe_to_yaml(shipped).count("num_classes: 1\n") == 1
    assert shipped.dataloader.test.batch_size == 1


def test_a_recipe_that_fails_leaves_imports_as_they_were(recipe):
    before = builtins.__import__
    recipe.write_text("from focalnet_d2.configs.common.nowhere import model\n")
    with pytest.raises(ImportError, match="nowhere"):
        load_recipe(recipe)
    assert builtins.__import__ is before


def test_a_part_is_made_anew(monkeypatch):
    load_fragment("train", "train").max_iter = 3
    assert load_fragment("train", "train").max_iter == 90_000


@pytest.mark.slow
def test_a_recipe_elsewhere_works_with_an_installed_package(recipe, tmp_path):
    site = tmp_path / "site"
    for package in ("focalnet_d2", "dino", "mask2former"):
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(recipe_folder(), site / "focalnet_d2" / "configs")  # as setup.cfg maps it
    code = (
        "import sys, focalnet_d2\n"
        "from focalnet_d2.config.lazy import load_recipe, recipe_folder\n"
        "print(recipe_folder())\n"
        "print(load_recipe(sys.argv[1]).model.num_classes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(site / "focalnet_d2" / "configs"), "81"]
