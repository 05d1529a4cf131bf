"""What bf16 costs in accuracy: errors on the golden data; AP, PQ and mIoU of the shipped weights in both precisions.

Golden errors are explained in tests/golden/bfloat16.py. DINO's weights are scored on generated scenes of the day,
Mask2Former's on night scenes, neither seen in training, once with `train.amp=off` and once with `train.amp=bf16`. The
demos are `python tools/demo.py --output FOLDER train.amp=off` (or bf16): trained and scored in that precision.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import train_net
from benchmarks.work import Facts, UnavailableError
from focalnet_d2.data.generated import generate_dataset, register_generated
from tests.golden import bfloat16
from tests.golden.cases import dino_cases, focalnet_cases
from tests.golden.mask2former_cases import mask2former_cases

ROOT = Path(__file__).parents[2]
METRICS = ("bbox/AP", "segm/AP", "panoptic_seg/PQ", "sem_seg/mIoU")
SHIPPED = {  # name: recipe with its settings, weights, style of the scenes
    "DINO": (["dino_focalnet_mini_quickstart"], "dino_focalnet_mini_day.safetensors", "day"),
    "Mask2Former": (
        ["mask2former_focalnet_mini_demo", "model.num_classes=13", "model.inference.thing_ids=[0,1,2,3,4,5,6,7]"],
        "mask2former_focalnet_mini.safetensors",
        "night",
    ),
}


def golden_cases() -> Iterator[tuple[str, Callable[[dict], dict], dict]]:
    """(model, function of the errors, case)."""
    yield from (("FocalNet", bfloat16.focalnet_errors, case) for case in focalnet_cases("backbone"))
    cases = dino_cases()
    yield from (("DINO", bfloat16.dino_errors, case) for case in cases if "eval" in case or "image_key" in case)
    yield from (("DINO training", bfloat16.dino_training_errors, case) for case in dino_cases("train"))
    yield from (("Mask2Former", bfloat16.mask2former_errors, case) for case in mask2former_cases("full"))
    training = mask2former_cases("loss")
    yield from (("Mask2Former training", bfloat16.mask2former_training_errors, case) for case in training)


def golden_rows(only: str) -> Iterator[dict]:
    """Errors of every golden case, or of the one of this name."""
    for model, errors, case in golden_cases():
        if only in ("", case["name"]):
            found = {kind: float(f"{error:.2g}") for kind, error in errors(case).items()}
            yield {"case": f"{model}, {case['name']}", "errors": found}


def score(name: str, amp: str, folder: Path) -> tuple[dict, float]:
    """The metrics of shipped weights, and the CPU seconds of this process."""
    (recipe, *settings), weights, _ = SHIPPED[name]
    settings += [f"train.init_checkpoint={ROOT / 'weights' / weights}", f"train.output_dir={folder}"]
    start = time.process_time()
    train_net.main(["--config-file", recipe, "--eval-only", *settings, f"train.amp={amp}", "train.device=cpu"])
    return json.loads((folder / "results.json").read_text()), time.process_time() - start


def metric_row(case: str, float32: dict, bf16: dict, **details: object) -> dict:
    """The metrics that both have, and bf16's difference from float32."""
    row = {"case": case, **details}
    for metric in METRICS:
        task, _, key = metric.partition("/")
        if task in float32:
            full, low = (round(results[task][key], 2) for results in (float32, bf16))
            row[metric] = {"float32": full, "bf16": low, "difference": round(low - full, 2)}
    return row


def shipped_rows(images: int) -> Iterator[dict]:
    """Both models on scenes of a seed that no training had."""
    for name, (_, _, style) in SHIPPED.items():
        with tempfile.TemporaryDirectory() as folder:
            data = generate_dataset(Path(folder) / "data", num_train=1, num_val=images, style=style, seed=77)
            register_generated(data)
            (full, full_s), (low, low_s) = (score(name, amp, Path(folder) / amp) for amp in ("off", "bf16"))
            seconds = {"float32": round(full_s, 1), "bf16": round(low_s, 1)}
            yield metric_row(f"{name}, shipped weights, {images} {style} scenes", full, low, cpu_seconds=seconds)
    register_generated()


def demo_rows(float32_folder: str, bf16_folder: str) -> Iterator[dict]:
    """The demo's own training in either precision."""
    if not (float32_folder and bf16_folder):
        raise UnavailableError("--set float32_folder=FOLDER bf16_folder=FOLDER names two outputs of tools/demo.py")
    folders = map(Path, (float32_folder, bf16_folder))
    float32, bf16 = (json.loads((folder / "results.json").read_text()) for folder in folders)
    for name, key in (("DINO", "dino"), ("Mask2Former", "mask2former")):
        yield metric_row(f"{name} after the demo's training", float32[key]["after"], bf16[key]["after"])


def build(rows: Callable[..., Iterator[dict]], **settings: object) -> Facts:
    """`golden_rows`, `shipped_rows` or `demo_rows`."""
    return Facts(partial(rows, **settings))
