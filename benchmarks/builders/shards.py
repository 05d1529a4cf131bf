"""Training samples a second of one core from images in shards, beside the same images as files.

The reference is the library itself on the folder; both give the same samples. Beside the images lie many others in
the shards, as in a big data set, whose index is searched for each image.
"""

import tempfile
from functools import cache, partial
from pathlib import Path

from PIL import Image

from benchmarks.builders.data_loading import get_records, make_mappers, map_all
from benchmarks.work import Timed
from focalnet_d2.data.image_reading import read_image_file
from focalnet_d2.data.preparation.shards import pack_folder
from focalnet_d2.data.shards.files import note_root


@cache
def shards_folder() -> tempfile.TemporaryDirectory:
    """Holds the shards that are made here until the process ends."""
    return tempfile.TemporaryDirectory()


@cache
def sharded_records(images: int, image_size: tuple[int, int], others: int) -> tuple[list[dict], list[dict]]:
    """Dataset dicts of the same images as files and in shards."""
    records = get_records(images, image_size, coco=False)
    folder = Path(records[0]["file_name"]).parent
    (folder / "others").mkdir()
    for number in range(others):
        Image.new("L", (1, 1)).save(folder / "others" / f"{number:07d}.png")
    shards = Path(shards_folder().name, folder.name)
    pack_folder(folder, shards, 10**9)
    note_root(str(shards))
    moved = {key: {"file_name": str(shards / Path(one["file_name"]).name)} for key, one in enumerate(records)}
    return records, [record | moved[key] for key, record in enumerate(records)]


def build_mapper(task: str, *, images: int, image_size: tuple[int, int], others: int) -> Timed:
    """Maps all images with the library's mapper."""
    sources = dict(zip(("reference", "library"), sharded_records(images, image_size, others), strict=True))
    mapper = make_mappers(task)[1]

    def finish(measured: dict[str, dict]) -> dict:
        for row in measured.values():
            row["images_per_second"] = round(images / row["seconds"], 1)
        return {}

    implementations = {name: partial(map_all, mapper, records) for name, records in sources.items()}
    return Timed(implementations, finish=finish)


def build_reading(*, images: int, image_size: tuple[int, int], others: int) -> Timed:
    """Reads the bytes of all images ten times."""
    sources = dict(zip(("reference", "library"), sharded_records(images, image_size, others), strict=True))

    def read_all(records: list[dict]) -> list[bytes]:
        return [read_image_file(record["file_name"]) for record in 10 * records]

    def finish(measured: dict[str, dict]) -> dict:
        for row in measured.values():
            row["ms_per_image"] = {"read": round(100 * row["seconds"] / images, 4)}
        return {}

    implementations = {name: partial(read_all, records) for name, records in sources.items()}
    return Timed(implementations, difference=share_of_unequal, finish=finish)


def share_of_unequal(one: list[bytes], other: list[bytes]) -> float:
    """How many of the files differ, as a share."""
    return sum(mine != theirs for mine, theirs in zip(one, other, strict=True)) / len(one)
