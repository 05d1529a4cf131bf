"""Small panoptic data sets for the tests: files, dataset dicts and what a model would return."""

import json
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from focalnet_d2.data.panoptic_labels import read_panoptic_ids, semantic_from_panoptic
from focalnet_d2.data.panoptic_png import write_panoptic_ids

CATEGORY_IDS = (7, 3, 92)  # of the classes 0, 1, 2
NAMES = ("fox", "hen", "sky")
THINGS = (True, True, False)


def segment(number: int, category: int, *, area: int | None = None, crowd: bool = False) -> dict:
    """An entry of segments_info; its area is counted from the map unless given."""
    return {"id": number, "category_id": category, "iscrowd": int(crowd)} | ({} if area is None else {"area": area})


def sample_of(folder: Path, image_id: int, truth: np.ndarray, segments: list[dict]) -> dict:
    """What the test mapper returns for an image, with classes by index, after writing its label files."""
    path = folder / "panoptic" / f"{image_id}.png"
    write_panoptic_ids(truth, path)
    counted = [{"area": int((truth == s["id"]).sum()), "isthing": THINGS[s["category_id"]], **s} for s in segments]
    (folder / "semantic").mkdir(exist_ok=True)
    Image.fromarray(semantic_from_panoptic(truth, segments)).save(folder / "semantic" / path.name)
    return {
        "image_id": image_id,
        "file_name": f"images/{image_id}.jpg",
        "pan_seg_file_name": str(path),
        "sem_seg_file_name": str(folder / "semantic" / path.name),
        "segments_info": counted,
    }


def prediction(predicted: np.ndarray, segments: list[dict]) -> dict:
    """Output of a panoptic model for an image."""
    infos = [{"id": s["id"], "isthing": THINGS[s["category_id"]], "category_id": s["category_id"]} for s in segments]
    return {"panoptic_seg": (torch.from_numpy(np.array(predicted, np.int32)), infos)}


def write_panoptic_json(folder: Path, samples: list[dict], name: str = "panoptic.json") -> Path:
    """The samples as a panoptic JSON with category ids."""
    annotations = [
        {
            "image_id": sample["image_id"],
            "file_name": Path(sample["pan_seg_file_name"]).name,
            "segments_info": [s | {"category_id": CATEGORY_IDS[s["category_id"]]} for s in sample["segments_info"]],
        }
        for sample in samples
    ]
    categories = [{"id": i, "name": name, "isthing": int(t)} for i, name, t in zip(CATEGORY_IDS, NAMES, THINGS)]
    path = folder / name
    sizes = [read_panoptic_ids(sample["pan_seg_file_name"]).shape for sample in samples]
    images = [
        {"id": sample["image_id"], "file_name": sample["file_name"], "height": height, "width": width}
        for sample, (height, width) in zip(samples, sizes, strict=True)
    ]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def register(name: str, samples: list[dict], folder: Path) -> None:
    """Makes a data set known, with the metadata of a panoptic one."""
    DatasetCatalog.register(name, lambda: samples)
    MetadataCatalog.get(name).set(
        stuff_classes=list(NAMES),
        thing_dataset_id_to_contiguous_id={i: k for k, i in enumerate(CATEGORY_IDS) if THINGS[k]},
        stuff_dataset_id_to_contiguous_id={i: k for k, i in enumerate(CATEGORY_IDS)},
        ignore_label=255,
        panoptic_json=str(write_panoptic_json(folder, samples)),
        panoptic_root=str(folder / "panoptic"),
    )


def forget(name: str) -> None:
    """Undoes `register`."""
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)
