"""Time and memory of one training step of a recipe, on random images with random objects.

    python benchmarks/training_step.py dino_focalnet_large_fl4_5scale_12ep --size 800 1333 --amp bf16
    python benchmarks/training_step.py dino_focalnet_mini_demo --size 128 160 --device cpu     (smoke run)

The step is forward, backward, clipping and AdamW; data loading is left out. Prints one JSON object with the machine and
the date; `--save` also puts it into `benchmarks/results/`.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances

from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.engine.device import resolve_amp, resolve_device

RESULTS = Path(__file__).parent / "results"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1333), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--objects", type=int, default=8, help="in each image")
    parser.add_argument("--amp", default="off", help="off, auto, bf16 or fp16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=10, help="measured, after 3 to warm up")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    return parser.parse_intermixed_args()


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


def measure(arguments: argparse.Namespace, device: torch.device) -> dict:
    """Seconds of the measured steps and bytes at the peak."""
    recipe = apply_overrides(load_recipe(arguments.recipe), arguments.overrides)
    model = instantiate(recipe.model).to(device).train()
    recipe.optimizer.model = model
    optimizer = instantiate(recipe.optimizer)
    amp = resolve_amp(arguments.amp, device, training=True)
    batch = make_batch(tuple(arguments.size), arguments.batch, arguments.objects, model.num_classes)
    seconds = []
    for _ in range(3 + arguments.steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            loss = sum(model(batch).values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.clip_norm)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    seconds = seconds[3:]
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {
        "median_s": round(statistics.median(seconds), 4),
        "spread_s": [round(min(seconds), 4), round(max(seconds), 4)],
        "peak_memory_gib": None if peak is None else round(peak / 2**30, 2),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "loss_is_finite": bool(loss.isfinite()),
    }


def main() -> None:
    """Measures, prints, saves."""
    arguments = parse_arguments()
    device = resolve_device(arguments.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    settings = {name: getattr(arguments, name) for name in ("recipe", "size", "batch", "objects", "amp", "overrides")}
    result = {"date": str(date.today()), "machine": machine, "torch": str(torch.__version__), **settings}
    result |= measure(arguments, device)
    print(json.dumps(result, indent=1))
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        name = f"training_step_{arguments.recipe}_{result['date']}_{machine.replace(' ', '_')}.json"
        (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
