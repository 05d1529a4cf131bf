"""The command line on a tiny classifier and a few images in folders: it learns them by heart, and says so again."""

import json

import pytest
import torch

import train_net
from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.data.datasets.imagenet import register_image_folders
from tests.data.image_folder import make_image_folder

RECIPE = "classifier_focalnet_mini_folder"
CLASSES = ("ant", "bee", "cat")
TINY = (
    "model.num_classes=3",
    "model.backbone.embed_dim=8",
    "model.backbone.depths=[1,1,1,1]",
    "model.backbone.focal_levels=[1,1,1,1]",
    "dataloader.test.mapper.transform.size=32",
    "dataloader.train.mapper.transform.size=32",
    "dataloader.train.total_batch_size=6",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "train.device=cpu",
    "train.eval_period=0",
    "train.log_period=1",
    "train.report=False",
)


@pytest.fixture(scope="module", autouse=True)
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    make_image_folder(root / "image_folder" / "train", dict.fromkeys(CLASSES, 4))
    make_image_folder(root / "imagenet" / "train", dict.fromkeys(CLASSES, 4))
    make_image_folder(root / "imagenet" / "val", dict.fromkeys(CLASSES, 2))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(root))
        register_image_folders()
        yield root
    register_image_folders()


def run(folder, *arguments, recipe=RECIPE, settings=TINY):
    torch.set_num_threads(1)
    return train_net.main(["--config-file", recipe, *settings, f"train.output_dir={folder}", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder, "train.max_iter=40", "optimizer.lr=3e-3")
    return folder


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_a_small_folder_is_learned_by_heart(finished):
    assert results_of(finished) == {"classification": {"top1": 100.0, "top5": 100.0}}
    counts = json.loads((finished / "classification_counts.json").read_text())
    assert counts["classes"] == list(CLASSES)
    assert counts["counts"] == [[4, 4, 4]] * 3
    assert json.loads((finished / "best.json").read_text())["metric"] == "classification/top1"


def test_evaluation_of_the_checkpoint_gives_the_same_numbers(finished, tmp_path):
    assert run(tmp_path, "--eval-only", f"train.init_checkpoint={finished / 'model_final.pth'}") == results_of(finished)
    assert "could not be checked" not in (tmp_path / "log.txt").read_text()


def test_the_checkpoint_knows_its_classes(finished):
    metadata = read_checkpoint(finished / "model_final.pth")["metadata"]
    assert metadata["model"] == "ImageClassifier"
    assert metadata["thing_classes"] == list(CLASSES)


def test_the_published_recipe_trains_in_parts_and_resumes(tmp_path):
    """RandAugment, erasing, mixup and CutMix, a batch in two parts; going on gives what a run in one go gives."""
    settings = [setting for setting in TINY if "train.mapper" not in setting and "batch_size" not in setting]
    settings += ["dataloader.train.total_batch_size=8", "train.accumulation=2", "model.backbone.drop_path_rate=0.0"]
    recipe = {"recipe": "classifier_focalnet_tiny_srf", "settings": settings}
    run(tmp_path / "whole", "train.max_iter=2", **recipe)
    run(tmp_path / "parts", "train.max_iter=2", "train.checkpoint_period=1", "train.keep_checkpoints=0", **recipe)
    (tmp_path / "parts" / "last_checkpoint").write_text("model_0000001.pth")
    run(tmp_path / "parts", "--resume", "train.max_iter=2", **recipe)
    whole, parts = (read_checkpoint(tmp_path / name / "model_final.pth")["model"] for name in ("whole", "parts"))
    assert all(value.equal(parts[name]) for name, value in whole.items())
    assert 0 <= results_of(tmp_path / "whole")["classification"]["top1"] <= 100


def test_another_number_of_folders_than_classes_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model has 2 classes, .* has 3 \(ant, bee, cat\): set model\.num_classes"):
        run(tmp_path, "model.num_classes=2", "train.max_iter=5")
