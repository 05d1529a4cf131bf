"""The command line on a tiny UPerNet and two hand-made images in ADE20K's layout: training, checkpoint, both tests."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import train_net
from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.data.datasets import ADE20K_CLASSES
from focalnet_d2.data.datasets.ade20k import register_ade20k

TINY = (
    "model.backbone.embed_dim=8",
    "model.backbone.depths=[1,1,1,1]",
    "model.backbone.focal_levels=[1,1,1,1]",
    "model.decode_head.dim=8",
    "dataloader.train.mapper.augmentations.0.short_edge_length=32",
    "dataloader.test.mapper.augmentations.0.short_edge_length=32",
    "dataloader.train.total_batch_size=4",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "train.device=cpu",
    "train.max_iter=2",
    "train.eval_period=0",
    "train.log_period=1",
    "train.report=False",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    draws = np.random.default_rng(0)
    for kind, suffix in (("images", "jpg"), ("annotations_detectron2", "png")):
        folder = root / "ADEChallengeData2016" / kind / "training"
        folder.mkdir(parents=True)
        for name, size in (("a", (40, 48)), ("b", (48, 36))):
            values = draws.integers(0, 256, (*size, 3)) if suffix == "jpg" else draws.choice([0, 3, 149, 255], size)
            Image.fromarray(values.astype(np.uint8)).save(folder / f"{name}.{suffix}")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(root))
        register_ade20k()
        yield root
    register_ade20k()


def run(folder, *arguments):
    torch.set_num_threads(1)
    command = ["--config-file", "upernet_focalnet_mini_ade20k", *TINY, f"train.output_dir={folder}"]
    return train_net.main([*command, *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder, "train.accumulation=2")
    return folder


def test_a_run_trains_both_heads_and_scores_pixels(finished):
    results = json.loads((finished / "results.json").read_text())
    assert 0 <= results["sem_seg"]["mIoU"] <= 100
    steps = [json.loads(line) for line in (finished / "metrics.json").read_text().splitlines()]
    assert {"loss_seg", "loss_seg_aux", "total_loss"} <= set(steps[0])


def test_the_checkpoint_knows_its_classes_and_counts_batches(finished):
    content = read_checkpoint(finished / "model_final.pth")
    assert content["metadata"]["model"] == "UPerNet"
    assert content["metadata"]["thing_classes"] == list(ADE20K_CLASSES)
    assert content["model"]["decode_head.bottleneck.bn.num_batches_tracked"] == 4  # two parts in each of two steps


def test_evaluation_of_the_checkpoint_gives_the_same_numbers(finished, tmp_path):
    run(tmp_path, "--eval-only", f"train.init_checkpoint={finished / 'model_final.pth'}")
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads((finished / "results.json").read_text())


def test_evaluation_in_windows_and_at_several_scales(finished, tmp_path):
    start = f"train.init_checkpoint={finished / 'model_final.pth'}"
    changes = ("model.inference.window=24", "model.inference.stride=16", "train.test_time_augmentation.enabled=True")
    run(tmp_path, "--eval-only", start, *changes, "train.test_time_augmentation.wrapper.short_sides=[16,40]")
    assert "mIoU" in json.loads((tmp_path / "results.json").read_text())["sem_seg"]


def test_parts_of_one_image_cannot_train(dataset, tmp_path):
    with pytest.raises(ValueError, match="cannot train on one image"):
        run(tmp_path, "train.accumulation=4")
