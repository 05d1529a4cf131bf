"""The kinds of files that may be written of an image, one row for each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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


JSON, PICTURES = "json", "pictures"
KINDS = {
    JSON: Kind((".json",), "save_objects"),
    "panoptic": Kind((".panoptic.png", ".panoptic.json"), "save_panoptic", "panoptic"),
    "semantic": Kind((".semantic.png",), "save_semantic", "sem_seg"),
    PICTURES: Kind((".picture.png",), "save_picture"),
}
# Of the images and videos among the results, GeoTIFFs included.
RESULT_ENDINGS = (
    *(".panoptic.png", ".panoptic.tif", ".semantic.png", ".semantic.tif"),
    *(".picture.png", ".video.mp4"),
)


def choose_kinds(wanted: Sequence[str], tasks: Sequence[str], checkpoint: str) -> list[Kind]:
    """The kinds with the names that are wanted; of none all but pictures that the model's tasks allow.

    Raises:
        ValueError: something is wanted that the model does not predict.
    """
    if impossible := [name for name in wanted if KINDS[name].task not in ("", *tasks)]:
        raise ValueError(
            f"--{impossible[0]} was asked for, but the model of {checkpoint} predicts {', '.join(tasks)} only."
        )
    all_of_model = [name for name, kind in KINDS.items() if name != PICTURES and kind.task in ("", *tasks)]
    return [KINDS[name] for name in wanted or all_of_model]
