"""From a folder of one's own data to a trained, evaluated model by one command, and on from the run's folder alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train_net
from focalnet_d2 import load_model
from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.commands import evaluate, train
from focalnet_d2.data.class_map import ClassMap
from tests.own_data_folders import FOLDERS, LABELLED, write_boxes
from tests.registered_sets import registered  # noqa: F401  autouse
from tests.tiny_run import TINY

ROOT = Path(__file__).resolve().parents[1]
DINO = "dino_focalnet_mini_quickstart"
TINY_DINO = tuple(setting for setting in TINY if not setting.startswith("model.num_classes"))
RUN = (
    *("train.device=cpu", "train.max_iter=2", "train.eval_period=0", "train.log_period=1", "train.amp=off"),
    "train.report=False",
)
LOADERS = ("dataloader.train.num_workers=0", "dataloader.test.num_workers=0", "dataloader.train.total_batch_size=2")
TINY_BACKBONE = (
    "model.backbone.embed_dim=8",
    "model.backbone.depths=[1,1,1,1]",
    "model.backbone.focal_levels=[1,1,1,1]",
)
TINY_OF = {
    DINO: TINY_DINO,
    "mask2former_focalnet_mini_quickstart": (
        *("model.pixel_decoder.encoder.num_layers=1", "model.decoder.num_layers=2", "model.criterion.num_points=64"),
        *(
            "dataloader.train.mapper.augmentations.0.size=64",
            "dataloader.test.mapper.augmentations.0.short_edge_length=64",
        ),
        *TINY_BACKBONE,
    ),
    "upernet_focalnet_mini_ade20k": (*TINY_BACKBONE, "model.decode_head.dim=8"),
    "classifier_focalnet_mini_folder": (*TINY_BACKBONE, "dataloader.test.mapper.transform.size=32"),
}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory) -> Path:
    return write_boxes(tmp_path_factory.mktemp("data") / "boxes", parts=("train",), count=6)


@pytest.fixture(scope="module")
def finished(boxes, tmp_path_factory) -> Path:
    """The folder of a run on boxes without a validation part."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([str(boxes), "--recipe", DINO, *TINY_DINO, f"train.output_dir={folder}"]) == 0
    return folder


def test_one_command_leaves_a_run_that_says_what_it_learned_from(finished, boxes):
    results = json.loads((finished / "results.json").read_text())
    assert {"AP", "AP-cat", "AP-traffic light"} <= results["bbox"].keys()
    assert len((finished / "train_images.txt").read_text().split()) == 5
    metadata = read_checkpoint(finished / "model_final.pth")["metadata"]
    classes = ClassMap.from_plain(metadata["classes"])
    assert [(entry.dataset_id, entry.name, entry.is_thing) for entry in classes.classes] == [
        (4, "cat", True),
        (9, "traffic light", True),
    ]
    assert metadata["thing_classes"] == classes.names
    predictions = json.loads((finished / "coco_instances_results.json").read_text())
    assert {one["category_id"] for one in predictions} <= {4, 9}
    log = (finished / "log.txt").read_text()
    assert f"{boxes} is read as coco, instances" in log
    assert "5 images to learn from, 1 images to score" in log
    assert log.index("The objects of data_train:") < log.index("The objects of data_val:")


@pytest.mark.slow
def test_the_best_checkpoint_is_scored_by_the_moved_run_folder_alone_in_another_process(finished, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(finished, moved)
    listed = moved / "val_images.txt"
    recipe = (moved / "recipe.yaml").read_text()
    assert str(finished / "val_images.txt") in recipe
    (moved / "recipe.yaml").write_text(recipe.replace(str(finished), str(tmp_path / "nowhere")))
    weights = f"train.init_checkpoint={moved / 'model_best.pth'}"
    command = [sys.executable, "train_net.py", "--config-file", str(moved / "recipe.yaml"), "--eval-only", weights]
    done = subprocess.run(
        [*command, f"train.output_dir={tmp_path / 'again'}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert str(listed) in done.stdout
    assert (tmp_path / "again" / "results.json").read_text() == (finished / "results.json").read_text()


def test_a_copied_run_is_scored_and_goes_on_by_its_folder_alone(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    assert evaluate.main([str(copy)]) == 0
    assert (copy / "evaluation/results.json").read_text() == (finished / "results.json").read_text()
    log = (copy / "evaluation/log.txt").read_text()
    assert f"The weights that are scored: {copy / 'model_best.pth'}" in log
    assert f"The run lies in {copy}; its recipe names {finished}, which is left alone" in log
    assert train.main([str(copy), "--resume", "train.max_iter=4"]) == 0
    assert "iteration 4/4" in (copy / "log.txt").read_text()
    assert not (finished / "evaluation").exists()


def test_the_first_command_again_resumes_with_what_it_found(finished, boxes, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    settings = [*TINY_DINO, f"train.output_dir={tmp_path / 'run'}", "train.max_iter=4"]
    train_net.main(["--config-file", DINO, "--resume", f"data={boxes}", *settings])
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "after 3 iterations, the next one" in log
    assert "iteration 4/4" in log
    assert "differs from what the run found" not in log
    assert (tmp_path / "run" / "val_images.txt").read_text() == (finished / "val_images.txt").read_text()


def test_a_folder_needs_a_recipe(boxes, capsys):
    assert evaluate.main([str(boxes)]) == 2
    assert "is a folder: to train or to evaluate on the data in it, name a recipe, too" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [[], ["train.max_iter=3"]])
def test_a_recipe_for_a_folder_needs_the_folder(settings, capsys):
    assert train.main(["--recipe", DINO, *settings]) == 2
    assert f"--recipe {DINO} needs a folder of data before it, as in DIR --recipe" in capsys.readouterr().err
    assert train.main([]) == 2
    assert "Name a recipe, or a folder of data and --recipe RECIPE" in capsys.readouterr().err


def test_the_recipe_of_a_run_predicts(finished):
    model = load_model(finished / "recipe.yaml", finished / "model_best.pth")
    with torch.no_grad():
        (result,) = model([{"image": torch.zeros(3, 64, 64, dtype=torch.uint8)}])
    assert set(result["instances"].pred_classes.tolist()) <= {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "kind", "metric"),
    [
        *((DINO, layout, ("bbox", "AP-cat")) for layout in LABELLED),
        ("mask2former_focalnet_mini_quickstart", "panoptic", ("panoptic_seg", "PQ")),
        ("mask2former_focalnet_mini_quickstart", "semantic", ("sem_seg", "IoU-water")),
        ("mask2former_focalnet_mini_quickstart", "masks", ("segm", "AP")),
        ("upernet_focalnet_mini_ade20k", "panoptic", ("sem_seg", "IoU-traffic light")),
        ("classifier_focalnet_mini_folder", "classes", ("classification", "top1")),
    ],
)
def test_every_kind_of_data_trains_and_is_scored_alike_from_the_run_folder(recipe, kind, metric, tmp_path):
    data, folder = FOLDERS[kind](tmp_path / "data"), tmp_path / "run"
    settings = [*TINY_OF[recipe], *LOADERS, *RUN, f"train.output_dir={folder}"]
    train_net.main(["--config-file", recipe, f"data={data}", *settings])
    results = json.loads((folder / "results.json").read_text())
    assert metric[1] in results[metric[0]]
    weights = f"train.init_checkpoint={folder / 'model_final.pth'}"
    train_net.main(["--config-file", str(folder / "recipe.yaml"), "--eval-only", weights])
    assert json.loads((folder / "evaluation" / "results.json").read_text()) == results
