"""Panoptic predictions and ground truths in COCO's file format: a JSON with a list of segments per image, and PNGs."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focalnet_d2.data.annotations.ids import Id, check_alike
from focalnet_d2.data.annotations.panoptic import read_panoptic, read_panoptic_predictions
from focalnet_d2.data.class_map import ClassMap, category_classes
from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.data.preparation.jobs import run_jobs

from .coco_files import write_json
from .deduplication import merge_by_image
from .panoptic_counts import Segments, read_segments
from .panoptic_stats import ComparedImage, PanopticStats, compare_maps

SUBMISSION = "panoptic_predictions"


@dataclass(frozen=True)
class TruthFile:
    """Ground truth, or a prediction, of an image: the PNG and what its segments are.

    Args:
        size: (height, width) that the JSON says; None where it says none.
        renumbered: the id that takes the place of an id of the PNG; None for none.
    """

    file_name: str
    segments_info: Sequence[Mapping]
    size: tuple[int, int] | None = None
    renumbered: Mapping[int, int] | None = None

    def read_map(self) -> np.ndarray:
        """(H, W) int32 segment ids; raises ValueError, too, if they have another size than the JSON says."""
        ids = read_panoptic_ids(self.file_name, self.renumbered)
        if self.size is not None and ids.shape != self.size:
            raise ValueError(
                f"The label file {self.file_name} has {ids.shape[1]} x {ids.shape[0]} pixels, its JSON says "
                f"{self.size[1]} x {self.size[0]}."
            )
        return ids


def index_truth_files(panoptic_json: str | Path, folder: str | Path | None = None) -> dict[Any, TruthFile]:
    """The files of a panoptic ground truth by image id, in the order of the JSON.

    Args:
        folder: with the PNGs; by default the path of the JSON without its suffix.

    Raises:
        FileNotFoundError: no such JSON or folder.
        ValueError: a JSON that training would refuse as well.
    """
    return read_classes_and_files(panoptic_json, folder)[1]


def read_classes_and_files(
    panoptic_json: str | Path, folder: str | Path | None = None
) -> tuple[ClassMap, dict[Any, TruthFile]]:
    """The classes of a panoptic ground truth in its order, and its files as `index_truth_files` says."""
    truth = read_panoptic(panoptic_json)
    sizes = {image_id: (image["height"], image["width"]) for image_id, image in truth.images.items()}
    return category_classes(truth.categories), _index(truth.segments, panoptic_json, folder, sizes)


def index_predicted_files(panoptic_json: str | Path, folder: str | Path | None = None) -> dict[Any, TruthFile]:
    """The same of a file of predictions, which needs no images and categories."""
    return _index(read_panoptic_predictions(panoptic_json), panoptic_json, folder, {})


def score_panoptic_files(
    truth: Mapping[Any, TruthFile],
    predictions: Mapping[Any, TruthFile],
    index_of: Mapping[Id, int],
    *,
    workers: int = 1,
    source: str = "The predictions",
) -> PanopticStats:
    """Compare files; the result, to the last bit, does not depend on the number of processes.

    Args:
        truth, predictions: files by image id; predictions for other images do not count.
        index_of: class index of every category id.
        workers: processes.
        source: where the predictions come from, for messages.

    Raises:
        FileNotFoundError, ValueError: an image without a prediction, or files that cannot be used.
    """
    check_alike(list(predictions), truth, f"{source}: annotations (image_id)", "the images of the ground truth")
    if missing := [image_id for image_id in truth if image_id not in predictions]:
        raise ValueError(f"{source}: {len(missing)} images have no prediction, among them {missing[0]!r}.")
    pairs = [(truth[image_id], predictions[image_id]) for image_id in truth]
    tally = PanopticStats(len(set(index_of.values())))
    compare = functools.partial(compare_files, index_of)
    images = run_jobs(compare, pairs, workers=workers, description="panoptic quality")
    for (truth_file, _), image in zip(pairs, images):
        tally.add(image, truth_file.file_name)
    return tally


def compare_files(index_of: Mapping[Id, int], pair: tuple[TruthFile, TruthFile]) -> ComparedImage:
    """Score a predicted file against its ground truth."""
    true_segments, predicted_segments = (read_segments(file.segments_info, index_of, file.file_name) for file in pair)
    true_map, predicted_map = (file.read_map() for file in pair)
    true_file, predicted_file = (file.file_name for file in pair)
    return compare_maps(true_map, predicted_map, true_segments, predicted_segments, predicted_file, true_file)


class PanopticSubmission:
    """Predictions in the format of the COCO server: a PNG per image, written at once, and a JSON in the end.

    Args:
        folder: where `panoptic_predictions.json` and the folder `panoptic_predictions` are made.
        category_ids: of the classes by index.
    """

    def __init__(self, folder: Path, category_ids: Mapping[int, Id]) -> None:
        self.folder = folder
        self.category_ids = category_ids
        self.entries: dict[str, dict] = {}

    def add(self, sample: Mapping, predicted_map: np.ndarray, predicted: Segments) -> None:
        """Write the map (H, W) of an image, named like the image file."""
        name = f"{Path(sample['file_name']).stem}.png"
        if name in self.entries:
            raise ValueError(f"Two images have predictions called {name}: their file names must differ.")
        write_panoptic_ids(predicted_map, self.folder / SUBMISSION / name)
        segments = zip(predicted.ids.tolist(), predicted.classes.tolist())
        self.entries[name] = {
            "image_id": sample["image_id"],
            "file_name": name,
            "segments_info": [{"id": i, "category_id": self.category_ids[index]} for i, index in segments],
        }

    @staticmethod
    def write_list(submissions: Sequence["PanopticSubmission"]) -> None:
        """Write the JSON of all processes' predictions."""
        entries = merge_by_image([submission.entries for submission in submissions])
        write_json(submissions[0].folder / f"{SUBMISSION}.json", {"annotations": list(entries.values())})


def _index(
    annotations: Mapping[Any, Mapping],
    panoptic_json: str | Path,
    folder: str | Path | None,
    sizes: Mapping[Any, tuple[int, int]],
) -> dict[Any, TruthFile]:
    folder = Path(panoptic_json).with_suffix("") if folder is None else Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {folder} with the PNGs of {panoptic_json} does not exist.")
    return {
        image_id: TruthFile(os.path.join(folder, entry["file_name"]), entry["segments_info"], sizes.get(image_id))
        for image_id, entry in annotations.items()
    }
