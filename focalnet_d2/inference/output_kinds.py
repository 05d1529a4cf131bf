"""The kinds of files that may be written of an image, one row for each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.result_documents import has_pixel_ids, pixel_ids

if TYPE_CHECKING:
    from .prediction import Prediction  # not at the top: --help lists the kinds without torch


class Kind(NamedTuple):
    """Files of one image: their endings, the function of `prediction_files` that writes them, and the model's task that
    they need ("" for none)."""

    endings: tuple[str, ...]
    writer: str
    task: str = ""

    def files(self, start: Path) -> list[Path]:
        """What is written of the image whose files begin with `start`."""
        return [start.with_name(start.name + ending) for ending in self.endings]

    def save(self, prediction: "Prediction", start: Path) -> None:
        """Writes them."""
        from . import prediction_files  # not at the top: --help lists the kinds without torch

        getattr(prediction_files, self.writer)(prediction, start)


JSON, SEMANTIC, PICTURES = "json", "semantic", "pictures"
KINDS = {
    JSON: Kind((".json",), "save_objects"),
    "panoptic": Kind((".panoptic.png", ".panoptic.json"), "save_panoptic", "panoptic"),
    SEMANTIC: Kind((".semantic.png",), "save_semantic", "sem_seg"),
    PICTURES: Kind((".picture.png",), "save_picture"),
}
# Of all results, GeoTIFFs and videos included, the longer ones first.
RESULT_ENDINGS = (
    *(".panoptic.png", ".panoptic.tif", ".panoptic.json", ".semantic.png", ".semantic.tif"),
    *(".picture.png", ".video.mp4", ".geojson", ".json"),
)


def choose_kinds(wanted: Sequence[str], tasks: Sequence[str], checkpoint: str, classes: ClassMap) -> list[Kind]:
    """The kinds with the names that are wanted; of none all but pictures that the model's tasks allow.

    Semantic PNGs that nobody asked for are left out, with a warning, where ids of classes are no values of pixels.

    Raises:
        ValueError: something is wanted that the model does not predict, or that its classes do not allow.
    """
    if impossible := [name for name in wanted if KINDS[name].task not in ("", *tasks)]:
        raise ValueError(
            f"--{impossible[0]} was asked for, but the model of {checkpoint} predicts {', '.join(tasks)} only."
        )
    if SEMANTIC in wanted:
        pixel_ids(classes)
    all_of_model = [name for name, kind in KINDS.items() if name != PICTURES and kind.task in ("", *tasks)]
    if not wanted and SEMANTIC in all_of_model and not has_pixel_ids(classes):
        all_of_model.remove(SEMANTIC)
    return [KINDS[name] for name in wanted or all_of_model]
