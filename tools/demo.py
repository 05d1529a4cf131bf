"""`make demo`: draws a data set, trains a FocalNet-DINO on it, evaluates it and draws its boxes, all on a CPU.

The model starts from the small weights in `weights/`, which the quick-start recipe trained on images of daylight, and
learns to see at night. Everything is written to `output/demo`: `results.json` with the numbers of the printed table,
`predictions.png` with ground truth next to predictions on images that training never saw.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import annotations_to_instances, read_image
from detectron2.engine import DefaultPredictor
from tabulate import tabulate

import train_net
from focalnet_d2.config.yacs import recipe_to_cfg
from focalnet_d2.data.generated import generate_dataset, register_generated
from focalnet_d2.visualization import comparison_grid, draw_detections

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "weights" / "dino_focalnet_mini_day.safetensors"
RECIPE = ROOT / "configs" / "dino_focalnet_mini_demo.py"
AP_FLOOR = 60.0  # box AP that the finished demo has to reach
HELD_OUT = 100  # images
SCORE_THRESHOLD = 0.35  # of the boxes that are drawn


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "demo", help="folder to write to")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the recipe")
    return parser.parse_args()


def evaluate(weights: Path, folder: Path, overrides: list[str]) -> dict:
    """Box AP of a checkpoint on the held-out images."""
    settings = [f"train.init_checkpoint={weights}", f"train.output_dir={folder}", *overrides]
    return train_net.main(["--config-file", str(RECIPE), "--eval-only", *settings])["bbox"]


def train(weights: Path, folder: Path, overrides: list[str]) -> Path:
    """Runs the demo's recipe; returns the checkpoint."""
    settings = [f"train.init_checkpoint={weights}", f"train.output_dir={folder}", *overrides]
    train_net.main(["--config-file", str(RECIPE), *settings])
    return folder / "model_final.pth"


def draw(checkpoint: Path, picture: Path, overrides: list[str], images: int = 8) -> None:
    """Predictions of Detectron2's `DefaultPredictor` next to ground truth, for the first wide images with 3 things."""
    predictor = DefaultPredictor(recipe_to_cfg(RECIPE, overrides, weights=checkpoint))
    names = MetadataCatalog.get("generated_val").thing_classes
    records = [
        record
        for record in DatasetCatalog.get("generated_val")
        if len(record["annotations"]) >= 3 and record["width"] > 1.1 * record["height"]
    ]
    pairs = []
    for record in records[:images]:
        image = read_image(record["file_name"], format="RGB")
        objects = [annotation for annotation in record["annotations"] if not annotation["iscrowd"]]
        truth = annotations_to_instances(objects, image.shape[:2], mask_format="bitmask")
        predicted = predictor(image[:, :, ::-1])["instances"].to("cpu")  # the predictor takes BGR
        pairs.append((draw_detections(image, truth, names), draw_detections(image, predicted, names, SCORE_THRESHOLD)))
    comparison_grid(pairs, picture)


def report(before: dict, after: dict, output: Path, seconds: dict[str, float]) -> None:
    """Prints the table and writes the same numbers to `results.json`."""
    results = {"before": before, "after": after, "seconds": seconds, "ap_floor": AP_FLOOR}
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    metrics = ["AP", "AP50", "AP75", "APs", "APm"]
    numbers = {"before": before, "after": after}
    rows = [[name, *(values[metric] for metric in metrics)] for name, values in numbers.items()]
    print(f"\nBox AP on {HELD_OUT} generated night scenes that training never saw, before and after it:\n")
    print(tabulate(rows, headers=["", *metrics], floatfmt=".1f", tablefmt="github"))
    print(f"\n{output / 'results.json'}: these numbers\n{output / 'predictions.png'}: the boxes")


def main() -> int:
    """The whole demo; the exit status is 1 when the box AP stays below the floor."""
    arguments = parse_arguments()
    output: Path = arguments.output.resolve()
    start = time.perf_counter()
    data = generate_dataset(output / "data", num_train=1200, num_val=HELD_OUT, style="night", seed=1)
    register_generated(data)
    before = evaluate(WEIGHTS, output / "before", arguments.overrides)
    training = time.perf_counter()
    checkpoint = train(WEIGHTS, output / "train", arguments.overrides)
    trained = time.perf_counter()
    after = json.loads((output / "train" / "results.json").read_text())["bbox"]
    draw(checkpoint, output / "predictions.png", arguments.overrides)
    seconds = {"training": round(trained - training, 1), "all": round(time.perf_counter() - start, 1)}
    report(before, after, output, seconds)
    if after["AP"] < AP_FLOOR:
        print(f"box AP {after['AP']:.1f} is below the floor of {AP_FLOOR:.0f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
