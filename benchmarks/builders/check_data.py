"""`check-data` beside the mere decoding of the same images by the same processes.

The images are photo-like JPEGs of 640 x 480 with objects whose masks are polygons, in COCO's layout. The time is that
of the CPU, of this process and of all that it starts; a ratio of 0.6 says that checking takes 1 / 0.6 times as long as
decoding alone.
"""

import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.measuring import cpu_seconds_with_children
from benchmarks.work import Timed
from focalnet_d2.data.checks.processes import Crew
from focalnet_d2.data.checks.run import check_datasets
from focalnet_d2.data.checks.tasks import RecipeLimits
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.image_reading import read_image_file
from focalnet_d2.data.pixels import decode_image

OBJECTS, CORNERS = 7, 24  # of an image, of a mask; COCO has 7.3 objects
_CHUNK = 16


def build(images: int, workers: int) -> Timed:
    """Decoding, and the whole check."""
    root = Path(made_folder(images).name)
    files = sorted(str(path) for path in (root / "train").iterdir())
    implementations = {
        "decoding": lambda: _decode_all(files, workers),
        "check-data": lambda: _check(root, workers),
    }
    return Timed(
        implementations,
        seconds=cpu_seconds_with_children,
        difference=lambda decoded, checked: float(abs(decoded - checked)),
        details={"images": images, "workers": workers},
        finish=lambda measured: {
            "images_per_cpu_second": {name: round(images / row["seconds"], 1) for name, row in measured.items()}
        },
    )


@cache
def made_folder(images: int) -> tempfile.TemporaryDirectory:
    """A data set in COCO's layout; it goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="check_data_")
    root = Path(folder.name)
    (root / "train").mkdir()
    (root / "annotations").mkdir()
    entries, objects = [], []
    for number in range(images):
        random = np.random.default_rng(number)
        _photo(random).save(root / "train" / f"{number:06d}.jpg", quality=90)
        entries.append({"id": number, "file_name": f"{number:06d}.jpg", "width": 640, "height": 480})
        objects += [_object(random, number, len(objects) + place) for place in range(OBJECTS)]
    content = {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "blob"}]}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return folder


def _photo(random: np.random.Generator) -> Image.Image:
    """Soft patches with some grain."""
    patches = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480))
    soft = np.asarray(patches.filter(ImageFilter.GaussianBlur(8))).astype(np.int16)
    return Image.fromarray((soft + random.integers(-9, 10, soft.shape)).clip(0, 255).astype(np.uint8))


def _object(random: np.random.Generator, image: int, key: int) -> dict:
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    center, radius = random.uniform((100, 100), (540, 380)), random.uniform(10, 90)
    radii = radius * random.uniform(0.8, 1, CORNERS)
    corners = (center + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]).round(1)  # (corners, 2)
    low, high = corners.min(0), corners.max(0)
    x, y = corners.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    return {
        "id": key + 1,
        "image_id": image,
        "category_id": 1,
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float(area),
        "segmentation": [corners.reshape(-1).tolist()],
        "iscrowd": 0,
    }


def _decode_all(files: Sequence[str], workers: int) -> int:
    """Number of images that were decoded."""
    chunks = (files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK))
    with Crew(_decode, workers) as crew:
        return sum(number for _, number in crew.map(chunks))


def _decode(files: Sequence[str]) -> int:
    for file in files:
        decode_image(read_image_file(file), file)
    return len(files)


class Silent:
    """Shows no progress."""

    def begin(self, what: str, images: int) -> None:
        """Says nothing."""

    def advance(self, images: int) -> None:
        """Says nothing."""


def _check(root: Path, workers: int) -> int:
    """Number of images that were checked and are sound."""
    found = find_datasets(root)
    findings = check_datasets(str(root), found, limits=RecipeLimits(), workers=workers, progress=Silent())
    assert findings.is_clean, findings.faults[:3]
    return findings.readings[0].parts["train"].images
