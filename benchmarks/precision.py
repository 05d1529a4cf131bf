"""What bf16 costs in accuracy: errors on the golden data; AP, PQ and mIoU of the shipped weights in both precisions.

    python benchmarks/precision.py --json                                  (some minutes)
    python benchmarks/precision.py --demos FLOAT32 BF16 --json             (two outputs of tools/demo.py in addition)
    python benchmarks/precision.py --golden mini_L_fl3_97x131_b2 --images 2                             (smoke run)

Golden errors are explained in tests/golden/bfloat16.py. DINO's weights are scored on generated scenes of the day,
Mask2Former's on night scenes, neither seen in training, once with `train.amp=off` and once with `train.amp=bf16`. The
demos are `python tools/demo.py --output FOLDER train.amp=off` (or bf16): trained and scored in that precision.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from measuring import make_parser, save

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import train_net  # noqa: E402
from focalnet_d2.data.generated import generate_dataset, register_generated  # noqa: E402
from tests.golden import bfloat16  # noqa: E402
from tests.golden.cases import dino_cases, focalnet_cases  # noqa: E402
from tests.golden.mask2former_cases import mask2former_cases  # noqa: E402

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


def golden_rows(names: list[str] | None) -> Iterator[dict]:
    """Errors of every golden case, or of those with these names."""
    for model, errors, case in golden_cases():
        if names is None or case["name"] in names:
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


def demo_rows(folders: list[Path]) -> Iterator[dict]:
    """The demo's own training in either precision."""
    float32, bf16 = (json.loads((folder / "results.json").read_text()) for folder in folders)
    for name, key in (("DINO", "dino"), ("Mask2Former", "mask2former")):
        yield metric_row(f"{name} after the demo's training", float32[key]["after"], bf16[key]["after"])


def main() -> None:
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument("--golden", nargs="*", metavar="CASE", help="only these cases")
    parser.add_argument("--images", type=int, default=150, help="of each style; 0: do not score")
    parser.add_argument("--demos", nargs=2, type=Path, metavar="FOLDER", help="of tools/demo.py: float32, bf16")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for part in (
        golden_rows(arguments.golden),
        shipped_rows(arguments.images) if arguments.images else (),
        demo_rows(arguments.demos) if arguments.demos else (),
    ):
        for row in part:
            print(json.dumps(row), flush=True)
            rows.append(row)
    save(arguments.json, "precision", rows)


if __name__ == "__main__":
    main()
