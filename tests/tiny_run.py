"""A data set of four images and overrides that make the small DINO recipe tiny: a run takes seconds."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.utils import comm
from PIL import Image

from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.data.generated import register_generated
from focalnet_d2.engine.run import build_model, build_trainer
from focalnet_d2.engine.sharding import gathered

RECIPE = "dino_focalnet_mini_quickstart"
CATEGORY_IDS = {7: "left", 3: "right"}  # neither sorted nor without a gap: 3 is class 0, 7 is class 1
MODEL = (
    "model.num_classes=2",
    "model.backbone.bottom_up.embed_dim=8",
    "model.backbone.bottom_up.depths=[1,1,1,1]",
    "model.backbone.bottom_up.focal_levels=[1,1,1,1]",
    "model.backbone.bottom_up.drop_path_rate=0.3",
    "model.backbone.dim=64",
    "model.position_embedding.num_feats=32",
    "model.encoder.num_layers=1",
    "model.encoder.num_heads=4",
    "model.encoder.ffn_dim=32",
    "model.decoder.num_layers=2",
    "model.decoder.num_heads=4",
    "model.decoder.ffn_dim=32",
    "model.query_selection.num_queries=12",
    "model.num_select=12",
    "model.denoising.dn_number=6",
)
DATA = (
    "dataloader.train.total_batch_size=4",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "dataloader.test.mapper.augmentations.0.short_edge_length=64",
)
TRAIN = (
    "train.device=cpu",
    "train.max_iter=3",
    "train.eval_period=0",
    "train.checkpoint_period=0",
    "train.log_period=1",
    "train.report=False",
    "train.ema.enabled=False",
)
TINY = (*MODEL, *DATA, *TRAIN)
# No random number in the network, and every image the same number of objects: what differs is the number of processes.
SAME_EVERYWHERE = (
    "model.denoising.box_noise_scale=0",
    "model.denoising.label_noise_ratio=0",
    "model.backbone.bottom_up.drop_path_rate=0",
    "dataloader.train.mapper.augmentations=[]",
)


def write_dataset(root: Path, *, images_with_objects: int = 4, splits: tuple[str, ...] = ("train", "val")) -> Path:
    """Write `<root>/generated` in the layout of the generated data set: four images, three objects in some of them.

    Use it with `DETECTRON2_DATASETS=<root>`.
    """
    name = "generated"
    noise = np.random.RandomState(0)
    for split in splits:
        folder = root / name / split
        folder.mkdir(parents=True)
        images = []
        for index in range(1, 5):
            pixels = noise.randint(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
            images.append({"id": 10 * index, "file_name": f"{index}.png", "height": 64, "width": 64})
        boxes = [(7, [4, 6, 20, 30]), (3, [30, 8, 25, 40]), (3, [10, 40, 16, 12])]
        annotations = [
            {"image_id": image["id"], "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for image in images[:images_with_objects]
            for category, box in boxes
        ]
        annotations = [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)]
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": key, "name": label} for key, label in CATEGORY_IDS.items()],
        }
        file = root / name / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    return root


@contextmanager
def tiny_dataset(root: Path, **options) -> Iterator[Path]:
    """The data set of `write_dataset`, in place of the generated one in this process and in those it starts."""
    write_dataset(root, **options)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(root))
        register_generated()
        yield root
    register_generated()


def train(folder: str, *overrides: str, resume: bool = False, dtype: torch.dtype = torch.float64) -> None:
    """A tiny run; the main process leaves the weights, each rank proves that it has the same."""
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(comm.get_rank())
    recipe = apply_overrides(load_recipe(RECIPE), [*TINY, f"train.output_dir={folder}", *overrides])
    model = build_model(recipe).to(dtype)
    trainer, start = build_trainer(model, recipe, resume=resume)
    trainer.train(start, recipe.train.max_iter)
    with gathered(model):
        weights = torch.cat([value.detach().flatten() for value in model.parameters()])
    everywhere = comm.all_gather(weights)
    assert all(torch.equal(weights, other) for other in everywhere)
    if comm.is_main_process():
        torch.save(weights, os.path.join(folder, "weights.pth"))


def losses_of(folder) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "loss" in key or key == "grad_norm"} for line in lines]
