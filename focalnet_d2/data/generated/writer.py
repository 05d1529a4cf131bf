"""Writes a generated data set in the COCO layout.

    root/train/*.png  root/val/*.png                 images
    root/annotations/instances_{train,val}.json      boxes and masks of things (RLE of the visible pixels)
    root/annotations/panoptic_{train,val}.json       with root/panoptic_{train,val}/*.png, id = R + 256 G +
    65536 B root/semantic_{train,val}/*.png                  contiguous class, things then stuff, 255 =
    unlabelled root/manifest.json                               the parameters; written last, so its presence
    means complete

Boxes, areas and masks describe what is visible. Thing ids run from 1, stuff ids from 101: the gap is
deliberate, as in COCO.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from focalnet_d2.utils.atomic_write import write_atomically

from ..annotations.run_lengths import compressed_rle
from .scene import UNLABELLED, Scene, draw_scene
from .shapes import SHAPES
from .styles import STUFF, Style, get_style

SPLITS = ("train", "val")
MANIFEST = "manifest.json"
FIRST_STUFF_ID = 101
IGNORE_LABEL = 255
MIN_VISIBLE_PIXELS = 24
_FORMAT_VERSION = 1


def generate_dataset(
    root: str | Path,
    *,
    num_train: int,
    num_val: int,
    image_size: tuple[int, int] = (128, 192),
    style: str = "day",
    classes: tuple[str, ...] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Makes a data set of drawn images with boxes, masks, panoptic and semantic labels.

    The same arguments give the same pixels and labels. Image i of a split depends on the seed, the split and
    i only, so a larger set starts with the images of a smaller one. The folder appears complete or not at
    all; an existing set made with the same arguments is kept as it is.

    Args:
        root: folder to make.
        num_train, num_val: images in the two splits.
        image_size: smallest and largest side; height and width are drawn separately from this range, pixels.
        style: one of `styles.STYLES`.
        classes: thing classes, names of `shapes.SHAPES`; default: those of the style.
        overwrite: replace a generated set that was made with other arguments.

    Returns:
        root.

    Raises:
        ValueError: an argument that cannot be used, or root holds another generated set and overwrite is off.
        FileExistsError: root exists and is no generated set.
    """
    root = Path(root)
    look = _chosen_style(style, classes)
    parameters = {
        "format": _FORMAT_VERSION,
        "num_train": int(num_train),
        "num_val": int(num_val),
        "image_size": [int(side) for side in image_size],
        "style": style,
        "classes": list(look.classes),
        "stuff": list(STUFF),
        "seed": int(seed),
    }
    _check_parameters(parameters)
    if _is_kept(root, parameters, overwrite):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        _write_splits(staging, parameters, look)
        _put_in_place(staging, root, parameters)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return root


def read_manifest(root: str | Path) -> dict | None:
    """The arguments that made the set in `root`, or None where there is no complete generated set."""
    path = Path(root) / MANIFEST
    return json.loads(path.read_text()) if path.is_file() else None


def _chosen_style(name: str, classes: tuple[str, ...] | None) -> Style:
    style = get_style(name)
    if classes is None:
        return style
    classes = tuple(classes)
    unknown = [name for name in classes if name not in SHAPES]
    if unknown or not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes={list(classes)} must be different names out of {', '.join(SHAPES)}.")
    return Style(**{**vars(style), "classes": classes})


def _check_parameters(parameters: dict) -> None:
    low, high = parameters["image_size"]
    if not 32 <= low <= high:
        raise ValueError(f"image_size=({low}, {high}) must be (smallest, largest) side with 32 <= smallest <= largest.")
    for key in ("num_train", "num_val"):
        if parameters[key] < 1:
            raise ValueError(f"{key}={parameters[key]} must be at least 1.")


def _is_kept(root: Path, parameters: dict, overwrite: bool) -> bool:
    """Whether root already holds exactly this set; refuses to touch what it should not replace."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = read_manifest(root)
    if found is None:
        raise FileExistsError(f"{root} exists and is not a generated data set; choose another folder or remove it.")
    if found == parameters:
        return True
    if not overwrite:
        changed = ", ".join(sorted(key for key in parameters if parameters[key] != found.get(key)))
        raise ValueError(
            f"{root} holds a generated data set made with other parameters ({changed}); remove it, "
            "choose another folder or pass overwrite=True."
        )
    return False


def _put_in_place(staging: Path, root: Path, parameters: dict) -> None:
    """Renames the finished folder; another process that was faster with the same set wins."""
    staging.chmod(0o755)
    if root.exists():
        if read_manifest(root) == parameters:
            return
        old = Path(tempfile.mkdtemp(prefix=f".{root.name}.old.", dir=root.parent))
        root.rename(old / root.name)
        staging.rename(root)
        shutil.rmtree(old, ignore_errors=True)
        return
    try:
        staging.rename(root)
    except OSError:
        if read_manifest(root) != parameters:
            raise


def _write_splits(root: Path, parameters: dict, style: Style) -> None:
    (root / "annotations").mkdir()
    for split_index, split in enumerate(SPLITS):
        writer = SplitWriter(root, split, style.classes)
        for index in range(parameters[f"num_{split}"]):
            sequence = np.random.SeedSequence([parameters["seed"], split_index, index])
            rng = np.random.Generator(np.random.PCG64(sequence))
            low, high = parameters["image_size"]
            height, width = (int(side) for side in rng.integers(low, high + 1, size=2))
            writer.add(draw_scene(rng, height, width, style))
        writer.finish()
    write_atomically(root / MANIFEST, json.dumps(parameters, indent=1) + "\n")


class SplitWriter:
    """Writes the images of one split and collects its two annotation files.

    Args:
        root: folder of the data set, with an `annotations` folder in it.
        split: "train" or "val".
        classes: thing classes; class i gets category id i + 1.
    """

    def __init__(self, root: Path, split: str, classes: tuple[str, ...]):
        self.root, self.split = root, split
        self.thing_ids = {name: i + 1 for i, name in enumerate(classes)}
        self.images: list[dict] = []
        self.instances: list[dict] = []
        self.panoptic: list[dict] = []
        for folder in (split, f"panoptic_{split}", f"semantic_{split}"):
            (root / folder).mkdir()

    def add(self, scene: Scene) -> None:
        """Writes one scene: image, panoptic and semantic PNG, and its annotations."""
        image_id = len(self.images) + 1
        file_name = f"{image_id:06d}.png"
        height, width = scene.labels.shape
        self.images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        ids, semantic, infos = self._segments(scene, image_id)
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        self.panoptic.append({"image_id": image_id, "file_name": file_name, "segments_info": infos})
        for folder, pixels in (
            (self.split, scene.image),
            (f"panoptic_{self.split}", rgb),
            (f"semantic_{self.split}", semantic),
        ):
            Image.fromarray(pixels).save(self.root / folder / file_name, compress_level=1)

    def _segments(self, scene: Scene, image_id: int) -> tuple[np.ndarray, np.ndarray, list[dict]]:
        """(H, W) panoptic ids, (H, W) uint8 semantic classes and the segments_info of a scene."""
        ids = np.zeros(scene.labels.shape, np.int64)
        semantic = np.full(scene.labels.shape, IGNORE_LABEL, np.uint8)
        infos: list[dict] = []
        for index in range(len(STUFF)):
            mask = (scene.stuff == index) & (scene.labels == 0)
            if mask.any():
                category = FIRST_STUFF_ID + index
                infos.append(_segment_info(category * 256, category, mask, is_crowd=False))
                ids[mask], semantic[mask] = category * 256, len(self.thing_ids) + index
        for segment in scene.segments:
            mask = scene.labels == segment.number
            if mask.sum() < MIN_VISIBLE_PIXELS:
                continue
            category = self.thing_ids[segment.class_name]
            info = _segment_info(category * 256 + segment.number, category, mask, segment.is_crowd)
            infos.append(info)
            ids[mask], semantic[mask] = info["id"], category - 1
            self.instances.append(self._instance(info, mask, image_id))
        assert (scene.stuff[(ids == 0) & (scene.labels == 0)] == UNLABELLED).all()
        return ids, semantic, infos

    def _instance(self, info: dict, mask: np.ndarray, image_id: int) -> dict:
        return {
            "id": len(self.instances) + 1,
            "image_id": image_id,
            "category_id": info["category_id"],
            "bbox": info["bbox"],
            "area": info["area"],
            "iscrowd": info["iscrowd"],
            "segmentation": uncompressed_rle(mask) if info["iscrowd"] else compressed_rle(mask),
        }

    def finish(self) -> None:
        """Writes the annotation files."""
        things = [{"id": i, "name": name, "supercategory": "thing"} for name, i in self.thing_ids.items()]
        stuff = [{"id": FIRST_STUFF_ID + i, "name": name, "supercategory": "stuff"} for i, name in enumerate(STUFF)]
        both = [{**entry, "isthing": int(entry["supercategory"] == "thing")} for entry in things + stuff]
        self._save("instances", {"images": self.images, "annotations": self.instances, "categories": things})
        self._save("panoptic", {"images": self.images, "annotations": self.panoptic, "categories": both})

    def _save(self, task: str, content: dict) -> None:
        path = self.root / "annotations" / f"{task}_{self.split}.json"
        write_atomically(path, json.dumps(content))


def _segment_info(segment_id: int, category_id: int, mask: np.ndarray, is_crowd: bool) -> dict:
    """segments_info entry; bbox is XYWH pixels around the visible pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "id": segment_id,
        "category_id": category_id,
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": int(is_crowd),
    }


def uncompressed_rle(mask: np.ndarray) -> dict:
    """COCO's run lengths as a list of numbers (column by column, zeros first), as COCO writes its crowds."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}
