"""Time and memory of one training step of a recipe of boxes, on random images with random objects.

    python benchmarks/training_step.py dino_focalnet_huge --size 1200 2000 --amp bf16 --json
    python benchmarks/training_step.py dino_focalnet_mini_demo --size 128 160 --device cpu --rounds 1     (smoke run)

The step is the trainer's: forward, backward, checks, clipping and AdamW; data loading is left out. Seconds are CPU
seconds of the process, on a card those of the clock. Memory is the process's at its peak, on a card what tensors took
and what the allocator reserved.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from measuring import cpu_seconds, make_parser, make_row, peak_memory, report, save, summary

from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.engine.device import resolve_amp, resolve_device
from focalnet_d2.engine.trainer import Trainer

WARM_UP = 3
GIB = 2**30


def make_batch(size: tuple[int, int], batch: int, objects: int, num_classes: int) -> list[dict]:
    """Images of noise with boxes of a tenth to a half of their sides."""
    height, width = size
    inputs = []
    for _ in range(batch):
        sides = (torch.rand(objects, 2) * 0.4 + 0.1) * torch.tensor([width, height])
        corner = torch.rand(objects, 2) * (torch.tensor([width, height]) - sides)
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.cat([corner, corner + sides], dim=1))
        instances.gt_classes = torch.randint(num_classes, (objects,))
        inputs.append({"image": torch.randint(256, (3, height, width), dtype=torch.uint8), "instances": instances})
    return inputs


def make_trainer(options: argparse.Namespace, device: torch.device, folder: str) -> Trainer:
    """A trainer whose every batch is the same."""
    torch.manual_seed(0)
    recipe = apply_overrides(load_recipe(options.recipe), options.overrides)
    model = instantiate(recipe.model).to(device)
    recipe.optimizer.model = model
    batch = make_batch(tuple(options.size), options.batch, options.objects, model.num_classes)
    return Trainer(
        model,
        itertools.repeat(batch),
        instantiate(recipe.optimizer),
        device=device,
        amp_dtype=resolve_amp(options.amp, device, training=True),
        clip_norm=recipe.train.clip_norm,
        output_dir=folder,
    )


def wall_seconds(function: Callable[[], object]) -> float:
    """Time on the clock until a card has done one call."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(options: argparse.Namespace, device: torch.device) -> dict:
    """The row of the recipe."""
    on_card = device.type == "cuda"
    seconds = wall_seconds if on_card else cpu_seconds
    with TemporaryDirectory() as folder, EventStorage() as storage:
        trainer = make_trainer(options, device, folder)
        trainer.iter, trainer.storage = 0, storage
        for _ in range(min(WARM_UP, options.rounds)):
            trainer.run_step()
        measured = summary({"library": [seconds(trainer.run_step) for _ in range(options.rounds)]})
    memory = {"peak_bytes": torch.cuda.max_memory_allocated(device) if on_card else peak_memory()}
    if on_card:
        memory["reserved_bytes"] = torch.cuda.max_memory_reserved(device)
    measured["library"] |= memory
    height, width = options.size
    case = f"{options.recipe} training step {height}x{width}, batch {options.batch}"
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    details = {"amp": options.amp, "overrides": options.overrides, "parameters": parameters}
    precision = str(trainer.amp_dtype or torch.float32).removeprefix("torch.")
    return make_row(case, measured, precision=precision, **details)


def main() -> None:
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=10)
    parser.add_argument("recipe")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1333), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--objects", type=int, default=8, help="in each image")
    parser.add_argument("--amp", default="off", help="off, auto, bf16 or fp16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    row = measure(options, device)
    report(row)
    found = row["forms"]["library"]
    print(
        ", ".join(f"{name} {found[name] / GIB:.2f} GiB" for name in ("peak_bytes", "reserved_bytes") if name in found)
    )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    save(options.json, f"training_step_{options.recipe}", [row], device=name)


if __name__ == "__main__":
    main()
