"""AP, PQ and mIoU of exported models beside their checkpoint, on the held-out part of a data set of `generate`.

    focalnet-d2 generate --root night --train 24 --val 100 --style night --seed 0
    python tools/exported_accuracy.py night weights/mask2former_focalnet_mini.safetensors m.onnx m_int8.xml \
        --recipe mask2former_focalnet_mini_quickstart

The results of all of them are written to files and scored by `focalnet-d2 score`, so that only the network differs.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.commands import score
from focalnet_d2.export.runtime import ExportedModel
from focalnet_d2.inference.predictor import Predictor

Stream = Callable[[Iterable[Path]], Iterable[Any]]
SHOWN = ("AP", "AP50", "PQ", "mIoU")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="root of the data set")
    parser.add_argument("checkpoint", help="what the files were exported from")
    parser.add_argument("files", nargs="*", help="exported models")
    parser.add_argument("--recipe", help="for a checkpoint that holds none")
    parser.add_argument("--threads", type=int, default=1, help="of the runtimes (default: 1)")
    options = parser.parse_args(arguments)
    predictor = Predictor(options.checkpoint, options.recipe, device="cpu", threshold=0.0)
    streams: dict[str, Stream] = {options.checkpoint: predictor.stream}
    for file in options.files:
        streams[file] = ExportedModel(file, threshold=0.0, threads=options.threads).stream
    for name, stream in streams.items():
        with tempfile.TemporaryDirectory() as folder:
            results = scores(options.data, stream, Path(folder))
        print(name, " ".join(f"{key}={value:.2f}" for key, value in results.items()), flush=True)
    return 0


def scores(data: Path, stream: Stream, folder: Path) -> dict[str, float]:
    """What is scored, by task and name; `folder` takes the files."""
    truth = data / "annotations" / "panoptic_val.json"
    content = json.loads(truth.read_text())
    images = {data / "val" / image["file_name"]: image["id"] for image in content["images"]}
    ids = [category["id"] for category in content["categories"]]
    objects: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for path, result in zip(images, stream(images), strict=True):
        result.save(folder, path.stem)
        # The classes of models are those of the set in their order, but may have other ids.
        own = {one.dataset_id: ids[index] for index, one in enumerate(result.classes.classes)}
        for entry in read(folder / f"{path.stem}.json")["annotations"]:
            objects.append({**entry, "image_id": images[path], "category_id": own[entry["category_id"]]})
        if result.panoptic_map is not None:
            (one,) = read(folder / f"{path.stem}.panoptic.json")["annotations"]
            segments = [{**part, "category_id": own[part["category_id"]]} for part in one["segments_info"]]
            annotations.append({**one, "image_id": images[path], "segments_info": segments})
        if result.semantic_map is not None:
            (folder / "semantic").mkdir(exist_ok=True)
            Image.fromarray(np.asarray(result.semantic_map).astype(np.uint8)).save(folder / "semantic" / path.name)
    found = {}
    (folder / "objects.json").write_text(json.dumps(objects))
    kinds = ["bbox", "segm"] if objects and "segmentation" in objects[0] else ["bbox"]
    boxes = [str(data / "annotations" / "instances_val.json"), str(folder / "objects.json"), "--iou-type", *kinds]
    found |= scored(["boxes", *boxes], folder)
    if annotations:
        (folder / "panoptic.json").write_text(json.dumps({**content, "annotations": annotations}))
        maps = [str(data / "panoptic_val"), "--predictions-folder", str(folder)]
        found |= scored(["panoptic", str(truth), str(folder / "panoptic.json"), "--truth-folder", *maps], folder)
    if (folder / "semantic").is_dir():
        maps = [str(data / "semantic_val"), str(folder / "semantic")]
        found |= scored(["semantic", *maps, "--num-classes", str(len(ids))], folder)
    return found


def scored(arguments: list[str], folder: Path) -> dict[str, float]:
    """What `focalnet-d2 score` finds."""
    if score.main([*arguments, "--output", str(folder / "scores.json")]):
        raise ValueError("focalnet-d2 score has refused the results.")
    tasks = read(folder / "scores.json")
    return {f"{task}/{key}": values[key] for task, values in tasks.items() for key in SHOWN if key in values}


def read(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
