"""Makes semantic labels of COCO's 133 classes from its panoptic files.

coco/annotations/panoptic_{train,val}2017.json   coco/panoptic_{train,val}2017/*.png
coco/panoptic_semseg_{train,val}2017/*.png       made: classes 0 to 132, 255 unlabelled
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from focalnet_d2.utils.text import some_of

from ..annotations.panoptic import read_panoptic
from ..panoptic_labels import read_listed_ids, semantic_from_panoptic
from .files import GRAY, PngHeader, check_rgb, write_png
from .jobs import fill_folder

FOLDER = "coco"
SPLITS = ("train", "val")
_CLASS_OF_CATEGORY = {category["id"]: index for index, category in enumerate(COCO_CATEGORIES)}


@dataclass(frozen=True)
class Source:
    """The panoptic file of one image, its (width, height) in pixels, and its segments as id -> class (0 to 132)."""

    path: Path
    size: tuple[int, int]
    segments: dict[int, int]


def prepare_coco_semantic(root: str | Path, *, splits: Sequence[str] = SPLITS, workers: int = 1) -> None:
    """Makes what is missing of `panoptic_semseg_{train,val}2017`; continues where a killed run stopped.

    Args:
        root: folder of the data sets, with `coco` in it.
        splits: of "train", "val".
        workers: processes.

    Raises:
        FileNotFoundError: a folder or file is missing; then nothing has been written.
        ValueError: a file that cannot be used, named in the message; the next run continues there.
        RuntimeError: a worker died.
    """
    folder = Path(root) / FOLDER
    found = {split: find_sources(folder, split) for split in splits}
    for split, sources in found.items():
        headers = {name: PngHeader(*source.size, 8, GRAY) for name, source in sources.items()}
        fill_folder(folder / f"panoptic_semseg_{split}2017", make_semantic, sources, headers, workers=workers)


def find_sources(folder: Path, split: str) -> dict[str, Source]:
    """The panoptic files of one split under their names, with all of them there.

    Raises:
        FileNotFoundError: the JSON, the folder or a PNG is missing.
        ValueError: the JSON is damaged, or is not of COCO's panoptic annotations.
    """
    json_file, pngs = folder / "annotations" / f"panoptic_{split}2017.json", folder / f"panoptic_{split}2017"
    for path, exists in ((json_file, json_file.is_file()), (pngs, pngs.is_dir())):
        if not exists:
            raise FileNotFoundError(f"{path} does not exist: put COCO's panoptic annotations of 2017 there.")
    sources = _read_sources(json_file, pngs)
    present = {path.name for path in pngs.glob("*.png")}
    if missing := sorted(set(sources) - present):
        raise FileNotFoundError(
            f"The folder {pngs} lacks {len(missing)} of the {len(sources)} files of its JSON, {missing[0]} for one: "
            "complete it."
        )
    return sources


def _read_sources(json_file: Path, pngs: Path) -> dict[str, Source]:
    truth = read_panoptic(json_file)
    if unknown := {category["id"] for category in truth.categories} - _CLASS_OF_CATEGORY.keys():
        raise ValueError(
            f"{json_file} is no panoptic file of COCO 2017: it has the categories {some_of(map(repr, unknown))}, which "
            "are none of its 133."
        )
    return {
        annotation["file_name"]: Source(
            pngs / annotation["file_name"],
            (truth.images[image_id]["width"], truth.images[image_id]["height"]),
            {segment["id"]: _CLASS_OF_CATEGORY[segment["category_id"]] for segment in annotation["segments_info"]},
        )
        for image_id, annotation in truth.segments.items()
    }


def make_semantic(job: tuple[Source, Path]) -> None:
    """Writes the label file of one image.

    Raises:
        ValueError: the panoptic file is damaged, has another size, or a segment that its JSON does not list.
    """
    source, target = job
    check_rgb(source.path, source.size)
    segments = [{"id": segment, "category_id": category} for segment, category in source.segments.items()]
    write_png(target, semantic_from_panoptic(read_listed_ids(source.path, segments), segments))
