"""The command line on a tiny Mask2Former and a few generated images: from a DINO's backbone to PQ, AP and mIoU."""

import json
import shutil

import pytest
import torch
from detectron2.config import instantiate

import train_net
from focalnet_d2.checkpoint import checkpoint_metadata, read_checkpoint, save_weights
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.data.generated import generate_dataset, register_generated
from focalnet_d2.data.generated.styles import STUFF, STYLES

RECIPE = "mask2former_focalnet_mini_quickstart"
TINY = (
    "model.pixel_decoder.encoder.num_layers=1",
    "model.decoder.num_layers=2",
    "model.criterion.num_points=64",
    "model.inference.panoptic.object_mask_threshold=0.01",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "train.device=cpu",
    "train.max_iter=2",
    "train.log_period=1",
    "train.report=False",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    generate_dataset(root / "generated", num_train=2, num_val=2, style="day", seed=3)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(root))
        register_generated()
        yield root
    register_generated()


def run(folder, *arguments, recipe=RECIPE):
    torch.set_num_threads(1)
    return train_net.main(["--config-file", recipe, *TINY, f"train.output_dir={folder}", *map(str, arguments)])


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Weights of the small DINO, as they are shipped, but random."""
    torch.manual_seed(1)
    model = instantiate(load_recipe("dino_focalnet_mini_quickstart").model)
    path = tmp_path_factory.mktemp("weights") / "dino.safetensors"
    save_weights(path, model, checkpoint_metadata(model))
    return path


@pytest.fixture(scope="module")
def finished(dataset, backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder, f"train.init_checkpoint={backbone}")
    return folder


def test_a_run_starts_from_the_backbone_of_a_dino_and_scores_all_tasks(finished):
    assert "not part of the backbone" in (finished / "log.txt").read_text()
    results = json.loads((finished / "results.json").read_text())
    assert {"panoptic_seg", "bbox", "segm", "sem_seg"} <= set(results)
    steps = [json.loads(line) for line in (finished / "metrics.json").read_text().splitlines()]
    assert {"loss_class", "loss_mask_0", "loss_dice_1", "total_loss"} <= set(steps[0])


def test_the_checkpoint_knows_things_and_stuff(finished):
    metadata = read_checkpoint(finished / "model_final.pth")["metadata"]
    assert metadata["model"] == "Mask2Former"
    assert metadata["thing_classes"] == [*STYLES["day"].classes, *STUFF]


def test_evaluation_of_the_checkpoint_gives_the_same_numbers(finished, tmp_path):
    run(tmp_path, "--eval-only", f"train.init_checkpoint={finished / 'model_final.pth'}")
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads((finished / "results.json").read_text())


def test_without_a_file_of_instances_ap_is_that_of_the_segments(dataset, finished, tmp_path):
    """Masks of the drawn objects do not overlap, so the numbers are those with the file."""
    shutil.copytree(dataset / "generated", tmp_path / "data" / "generated")
    (tmp_path / "data" / "generated" / "annotations" / "instances_val.json").unlink()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
        register_generated()
        run(tmp_path / "run", "--eval-only", f"train.init_checkpoint={finished / 'model_final.pth'}")
    register_generated()
    one, other = (json.loads((folder / "results.json").read_text()) for folder in (finished, tmp_path / "run"))
    assert one == other


def test_a_backbone_is_not_evaluated(dataset, backbone, tmp_path):
    with pytest.raises(ValueError, match="holds a DINO and not a Mask2Former"):
        run(tmp_path, "--eval-only", f"train.init_checkpoint={backbone}")


def test_the_demo_takes_its_classes_over_by_name(dataset, finished, tmp_path):
    """Fewer things, so that classes move to other rows; the no-object row stays the last."""
    things, known = ("disk", "ring", "star", "cross", "pill"), [*STYLES["day"].classes, *STUFF]
    generate_dataset(tmp_path / "generated", num_train=2, num_val=2, style="night", classes=things, seed=4)
    start = f"train.init_checkpoint={finished / 'model_final.pth'}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(tmp_path))
        register_generated()
        run(tmp_path / "run", start, "train.max_iter=1", "optimizer.lr=0.0", recipe="mask2former_focalnet_mini_demo")
    register_generated()
    old, new = (read_checkpoint(folder / "model_final.pth")["model"] for folder in (finished, tmp_path / "run"))
    rows = [*(known.index(name) for name in (*things, *STUFF)), len(known)]
    for name, value in old.items():
        assert new[name].equal(value[rows] if "class_embed" in name else value), name
