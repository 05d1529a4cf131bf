"""`make demo`: draws a data set, trains a small DINO and Mask2Former on it, evaluates them and draws, all on a CPU.

The models start from the small weights in `weights/`: DINO's have seen daylight only and learn to see at night,
Mask2Former's have seen other night scenes. Everything is written to `output/demo`: `results.json` with the numbers of
the printed table and all others, `predictions.png` with ground truth next to predictions on images that training never
saw.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from focalnet_d2.utils.thread_choice import choose_threads

if __name__ == "__main__":
    choose_threads()  # before torch is loaded

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.engine import DefaultPredictor
from tabulate import tabulate

import train_net
from focalnet_d2.commands.errors import end_with_one_line
from focalnet_d2.data.generated import generate_dataset, register_generated
from focalnet_d2.data.image_reading import read_image
from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.reports.visualization import comparison_grid, draw_detections, draw_panoptic
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.yacs import recipe_to_cfg

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = 100  # images
CLASSES = ("disk", "ring", "star", "cross", "pill")  # of the things, which stand on 5 kinds of stuff
SCORE_THRESHOLD = 0.35  # of the boxes that are drawn
TITLES = ("boxes", "DINO", "segments", "Mask2Former")


@dataclass(frozen=True)
class Part:
    """One of the demo's models.

    Attributes:
        name: of the model, and of its folder.
        recipe: what it is trained and evaluated with.
        weights: where it starts.
        metrics: the numbers of the table, as task/metric.
        floors: what the finished demo has to reach.
    """

    name: str
    recipe: str
    weights: Path
    metrics: tuple[str, ...]
    floors: dict[str, float]

    def run(self, folder: Path, overrides: list[str], *, evaluate_only: bool = False) -> dict:
        """Trains from the weights, or evaluates them as they are; returns the numbers by task."""
        settings = [f"train.init_checkpoint={self.weights}", f"train.output_dir={folder}", *overrides]
        flags = ["--eval-only"] if evaluate_only else ["--overwrite"]  # the run of an earlier demo
        train_net.main(["--config-file", self.recipe, *flags, *settings])
        return json.loads((folder / "results.json").read_text())

    def predictor(self, folder: Path, overrides: list[str]) -> DefaultPredictor:
        """Detectron2's own predictor with the checkpoint that `run` left in the folder."""
        return DefaultPredictor(recipe_to_cfg(self.recipe, overrides, weights=folder / "model_final.pth"))


PARTS = (
    Part(
        "dino",
        "dino_focalnet_mini_demo",
        ROOT / "weights" / "dino_focalnet_mini_day.safetensors",
        metrics=("bbox/AP",),
        floors={"bbox/AP": 60.0},
    ),
    Part(
        "mask2former",
        "mask2former_focalnet_mini_demo",
        ROOT / "weights" / "mask2former_focalnet_mini.safetensors",
        metrics=("panoptic_seg/PQ", "sem_seg/mIoU", "bbox/AP", "segm/AP"),
        floors={"panoptic_seg/PQ": 60.0, "sem_seg/mIoU": 75.0},
    ),
)
TABLE = ("panoptic_seg/PQ", "sem_seg/mIoU", "segm/AP", "bbox/AP")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "demo", help="folder to write to")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of both recipes")
    return parser.parse_args()


def number(results: dict, metric: str) -> float:
    """A number of the results by task/metric."""
    task, _, name = metric.partition("/")
    return results[task][name]


def draw(predictors: dict[str, DefaultPredictor], picture: Path, images: int = 6) -> None:
    """Predictions of both models next to ground truth, for the first wide images with 3 things."""
    boxes = {record["image_id"]: record for record in DatasetCatalog.get("generated_val")}
    things = MetadataCatalog.get("generated_val").thing_classes
    groups = []
    for record in DatasetCatalog.get("generated_val_panoptic"):
        objects = [box for box in boxes[record["image_id"]]["annotations"] if not box["iscrowd"]]
        image = read_image(record["file_name"])
        height, width = image.shape[:2]
        if len(groups) == images or len(objects) < 3 or width < 1.1 * height:
            continue
        results = {name: predictor(image[:, :, ::-1]) for name, predictor in predictors.items()}  # takes BGR
        truth = annotations_to_instances(objects, (height, width), mask_format="bitmask")
        found = results["dino"]["instances"].to("cpu")
        segment_ids, segments = results["mask2former"]["panoptic_seg"]
        classes = MetadataCatalog.get("generated_val_panoptic").stuff_classes
        true_ids = read_panoptic_ids(record["pan_seg_file_name"])
        groups.append(
            (
                draw_detections(image, truth, things),
                draw_detections(image, found, things, SCORE_THRESHOLD),
                draw_panoptic(image, true_ids, record["segments_info"], classes),
                draw_panoptic(image, np.asarray(segment_ids.cpu()), segments, classes),
            )
        )
    comparison_grid(groups, picture, titles=TITLES, groups_per_line=1)


def report(numbers: dict[str, dict[str, dict]], output: Path, seconds: dict[str, float]) -> None:
    """Prints the table and writes the same numbers, and all others, to `results.json`."""
    floors = {part.name: part.floors for part in PARTS}
    results = {**numbers, "seconds": seconds, "floors": floors}
    write_atomically(output / "results.json", json.dumps(results, indent=1) + "\n")
    rows = [
        [f"{part.name}, {when}"]
        + [f"{number(values, metric):.1f}" if metric in part.metrics else "" for metric in TABLE]
        for part in PARTS
        for when, values in numbers[part.name].items()
    ]
    print(f"\n{HELD_OUT} generated night scenes that training never saw, before and after it:\n")
    print(tabulate(rows, headers=["", "PQ", "mIoU", "mask AP", "box AP"], tablefmt="github", disable_numparse=True))
    print(f"\n{output / 'results.json'}: these numbers\n{output / 'predictions.png'}: boxes and segments")


def misses(numbers: dict[str, dict[str, dict]]) -> list[str]:
    """The numbers that stayed below their floor."""
    return [
        f"{part.name}: {metric} {value:.1f} is below the floor of {floor:.0f}"
        for part in PARTS
        for metric, floor in part.floors.items()
        if (value := number(numbers[part.name]["after"], metric)) < floor
    ]


def main() -> int:
    """The whole demo; the exit status is 1 when a number stays below its floor."""
    arguments = parse_arguments()
    output: Path = arguments.output.resolve()
    start = time.perf_counter()
    data = generate_dataset(output / "data", num_train=1200, num_val=HELD_OUT, style="night", classes=CLASSES, seed=1)
    register_generated(data)
    numbers, predictors, seconds = {}, {}, {}
    for part in PARTS:
        folder, began = output / part.name, time.perf_counter()
        before = part.run(
            folder / "before", ["train.other_class_names=by_name", *arguments.overrides], evaluate_only=True
        )
        after = part.run(folder / "train", arguments.overrides)
        numbers[part.name] = {"before": before, "after": after}
        predictors[part.name] = part.predictor(folder / "train", arguments.overrides)
        seconds[part.name] = round(time.perf_counter() - began, 1)
    draw(predictors, output / "predictions.png")
    seconds["all"] = round(time.perf_counter() - start, 1)
    report(numbers, output, seconds)
    for miss in misses(numbers):
        print(miss, file=sys.stderr)
    return 1 if misses(numbers) else 0


if __name__ == "__main__":
    sys.exit(end_with_one_line(main))
