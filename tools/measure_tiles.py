"""Measures what tiles cost and gain, with generated scenes whose truth is known.

    python tools/measure_tiles.py --mosaics 24 --scenes 48 --overlap 0.5

Mosaics: six scenes of 128 x 128 pixels, predicted scene by scene, by tiles of 128 pixels, which know nothing of the
scenes and mostly lie across their borders, and in one piece. Large: scenes of 192 x 192 pixels, as large as the weights
know them, in one piece and by tiles of 120. All see the same scale.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from focalnet_d2.commands.errors import run_command
from focalnet_d2.data.generated.scene import Scene, draw_scene
from focalnet_d2.data.generated.styles import STUFF, STYLES
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.evaluation.average_precision import score_results_file
from focalnet_d2.evaluation.coco_files import write_json
from focalnet_d2.evaluation.panoptic_counts import panoptic_results
from focalnet_d2.evaluation.panoptic_files import index_predicted_files, read_classes_and_files, score_panoptic_files
from focalnet_d2.inference.prediction import Prediction, Segment
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.inference.tiles import TileSettings

WEIGHTS, RECIPE = "weights/mask2former_focalnet_mini.safetensors", "mask2former_focalnet_mini_demo"
THINGS = 8  # classes of the weights that are things: the first ones
TRUTH, PARTS, TILES, WHOLE = "truth", "scene by scene", "by tiles", "in one piece"


@dataclass(frozen=True)
class Layout:
    """Images of rows x columns scenes, each of `side` x `side` pixels, and the side of the tiles."""

    name: str
    rows: int
    columns: int
    side: int
    tile: int

    def draw(self, draws: np.random.Generator) -> "Mosaic":
        """The next image."""
        count = self.rows * self.columns
        return Mosaic([draw_scene(draws, self.side, self.side, STYLES["night"]) for _ in range(count)], self.columns)


MOSAICS, LARGE = Layout("mosaics", 2, 3, side=128, tile=128), Layout("large", 1, 1, side=192, tile=120)


class Mosaic:
    """Scenes side by side, and panoptic maps of them that are put together in the same way."""

    def __init__(self, scenes: list[Scene], columns: int):
        self.scenes, self.columns = scenes, columns
        self.image = self.join([scene.image for scene in scenes])

    def join(self, parts: list[np.ndarray]) -> np.ndarray:
        """Maps or images of the scenes -> that of the mosaic."""
        starts = range(0, len(parts), self.columns)
        return np.concatenate([np.concatenate(parts[start : start + self.columns], 1) for start in starts])

    def panoptic(self, maps: list[np.ndarray], classes: list[dict[int, int]]) -> tuple[np.ndarray, tuple[Segment, ...]]:
        """Segment ids of the scenes and their classes -> a map in which stuff of a class is one segment."""
        segments: dict[int, Segment] = {}
        joined = []
        for labels, class_of in zip(maps, classes, strict=True):
            renumbered = np.zeros(labels.shape, np.int32)
            for label, class_id in class_of.items():
                number = class_id + 1 if class_id >= THINGS else 1000 + len(segments)
                segments[number] = Segment(number, class_id, class_id < THINGS)
                renumbered[labels == label] = number
            joined.append(renumbered)
        return self.join(joined), tuple(segments.values())

    def truth(self, names: list[str]) -> tuple[np.ndarray, tuple[Segment, ...]]:
        """The map of what was drawn."""
        maps, classes = [], []
        for scene in self.scenes:
            maps.append(np.where(scene.labels > 0, scene.labels + 100, scene.stuff + 1))
            things = {one.number + 100: names.index(one.class_name) for one in scene.segments if not one.is_crowd}
            classes.append(things | {index + 1: names.index(name) for index, name in enumerate(STUFF)})
        return self.panoptic(maps, classes)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosaics", type=int, default=24)
    parser.add_argument("--scenes", type=int, default=48, help="large ones")
    parser.add_argument("--overlap", type=float, default=0.5)
    return run_command(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Predict and score all ways."""
    for layout, count in ((MOSAICS, options.mosaics), (LARGE, options.scenes)):
        results = predict(layout, count, options.overlap)
        with tempfile.TemporaryDirectory() as folder:
            files = {kind: _write(Path(folder) / kind, predictions) for kind, predictions in results.items()}
            for kind in (one for one in (PARTS, TILES, WHOLE) if one in files):
                scores = _scores(files[TRUTH], files[kind]).items()
                print(f"{layout.name:<8} {kind:<14} ", *(f"{name} {value:.1f} " for name, value in scores), flush=True)


def predict(layout: Layout, count: int, overlap: float) -> dict[str, list[Prediction]]:
    """Truth and predictions of `count` images in all ways, at the scale at which tiles are shown."""
    by_tile = _predictor(tiles=TileSettings(layout.tile, overlap))
    shown = by_tile._mapper.image_tensor(np.zeros((layout.tile, layout.tile, 3), np.uint8), "a tile").shape[1]
    scale = shown / layout.tile
    whole = _predictor(_shown(scale * layout.side, layout.rows, layout.columns))
    by_scene = _predictor(_shown(scale * layout.side, 1, 1))
    draws = np.random.default_rng(0)
    results: dict[str, list[Prediction]] = {TRUTH: [], TILES: [], WHOLE: []}
    for _ in range(count):
        mosaic = layout.draw(draws)
        labels, segments = mosaic.truth(by_tile.classes.names)
        truth = Prediction(mosaic.image, by_tile.classes, panoptic_map=labels, segments=segments)
        results[TRUTH].append(replace(truth, **_objects(labels, segments)))
        results[TILES].extend(by_tile.stream([mosaic.image]))
        results[WHOLE].extend(whole.stream([mosaic.image]))
        if len(mosaic.scenes) > 1:
            parts = list(by_scene.stream(scene.image for scene in mosaic.scenes))
            results.setdefault(PARTS, []).append(_joined(mosaic, parts))
    return results


def _predictor(settings: list[str] | None = None, tiles: TileSettings | None = None) -> Predictor:
    overrides = ["model.num_classes=13", f"model.inference.thing_ids={list(range(THINGS))}", *(settings or [])]
    return Predictor(
        WEIGHTS, recipe=RECIPE, device="cpu", threshold=0.0, batch_size=6, overrides=overrides, tiles=tiles
    )


def _shown(side: float, rows: int, columns: int) -> list[str]:
    """Settings that show scenes with so many pixels, of which there are rows x columns."""
    resize = "dataloader.test.mapper.augmentations.0"
    short, long = sorted([round(side * rows), round(side * columns)])
    sizes = [f"{resize}.short_edge_length={short}", f"{resize}.max_size={long}"]
    return [*sizes, f"model.inference.instance.top_k={100 * rows * columns}"]


def _objects(labels: np.ndarray, segments: tuple[Segment, ...]) -> dict[str, Any]:
    """The things of a map as objects with masks."""
    things = [one for one in segments if one.is_thing and (labels == one.id).any()]
    masks = np.array([labels == one.id for one in things]).reshape(-1, *labels.shape)
    return {
        "boxes": np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4),
        "scores": np.ones(len(things), np.float32),
        "class_ids": np.array([one.class_id for one in things], np.int64),
        "masks": masks,
    }


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _joined(mosaic: Mosaic, parts: list[Prediction]) -> Prediction:
    """The prediction of a mosaic from those of its scenes."""
    classes = [{one.id: one.class_id for one in part.segments} for part in parts]
    labels, segments = mosaic.panoptic([part.panoptic_map for part in parts], classes)
    masks, boxes = [], []
    for index, part in enumerate(parts):
        side = len(part.image)
        top, left = side * (index // mosaic.columns), side * (index % mosaic.columns)
        whole = np.zeros((len(part.boxes), *labels.shape), bool)
        whole[:, top : top + side, left : left + side] = np.asarray(part.masks)
        masks.append(whole)
        boxes.append(part.boxes + np.array([left, top, left, top], np.float32))
    return Prediction(
        mosaic.image, parts[0].classes, panoptic_map=labels, segments=segments, boxes=np.concatenate(boxes),
        scores=np.concatenate([part.scores for part in parts]), masks=np.concatenate(masks),
        class_ids=np.concatenate([part.class_ids for part in parts]),
    )  # fmt: skip


def _write(folder: Path, predictions: list[Prediction]) -> Path:
    """COCO's files of predictions: panoptic.json and its PNGs, and instances.json."""
    panoptic: dict[str, list] = {"images": [], "annotations": []}
    instances: dict[str, list] = {"images": [], "annotations": []}
    for number, prediction in enumerate(predictions, 1):
        document, labels = prediction.to_panoptic(number)
        document["annotations"][0]["file_name"] = f"{number}.png"
        present = [one for one in document["annotations"][0]["segments_info"] if one["area"]]
        document["annotations"][0]["segments_info"] = present
        write_panoptic_ids(
            np.where(np.isin(labels, [one["id"] for one in present]), labels, 0), folder / f"{number}.png"
        )
        objects = prediction.to_coco(number)
        for target, source in ((panoptic, document), (instances, objects)):
            target["images"] += source["images"]
            target["annotations"] += source["annotations"]
            target["categories"] = source["categories"]
    for number, annotation in enumerate(instances["annotations"], 1):
        annotation["id"] = number
    for number, category in enumerate(panoptic["categories"]):
        category["isthing"] = int(number < THINGS)
    write_json(folder / "panoptic.json", panoptic)
    write_json(folder / "instances.json", instances)
    write_json(folder / "results.json", instances["annotations"])
    return folder


def _scores(truth: Path, found: Path) -> dict[str, float]:
    classes, files = read_classes_and_files(truth / "panoptic.json", truth)
    index_of = {entry.dataset_id: index for index, entry in enumerate(classes.classes)}
    stats = score_panoptic_files(files, index_predicted_files(found / "panoptic.json", found), index_of)
    quality = panoptic_results(stats.corrected, classes)
    precision = score_results_file(truth / "instances.json", found / "results.json", ["bbox", "segm"], max_dets=600)
    return {
        **{name: value for name, value in quality.items() if name in ("PQ", "PQ_th", "PQ_st")},
        "box AP": precision["bbox"]["AP"],
        "mask AP": precision["segm"]["AP"],
    }


if __name__ == "__main__":
    sys.exit(main())
