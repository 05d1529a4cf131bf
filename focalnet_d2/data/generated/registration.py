"""Registers a generated data set under Detectron2's names."""

from pathlib import Path

from ..datasets.custom import datasets_root, register_coco_folder, register_panoptic_split
from .writer import FIRST_STUFF_ID, SPLITS, read_manifest


def register_generated(root: str | Path | None = None, prefix: str = "generated") -> tuple[str, ...]:
    """Registers `<prefix>_{train,val}` and `<prefix>_{train,val}_panoptic`; safe to repeat, also with another
    root.

    Args:
        root: folder that `generate_dataset` made or will make; default: `generated` below
            $DETECTRON2_DATASETS.

    Returns:
        The names of the two sets of boxes and masks; the panoptic ones are these with "_panoptic".
    """
    root = Path(root) if root is not None else datasets_root() / "generated"
    manifest = read_manifest(root)
    metadata = {"thing_classes": manifest["classes"]} if manifest else {}
    categories = manifest and _categories(manifest)
    names = tuple(f"{prefix}_{split}" for split in SPLITS)
    for name, split in zip(names, SPLITS, strict=True):
        json_file = root / "annotations" / f"instances_{split}.json"
        register_coco_folder(name, json_file, root / split, metadata=metadata)
        register_panoptic_split(f"{name}_panoptic", root, split, categories=categories)
    return names


def _categories(manifest: dict) -> list[dict]:
    """Categories of the panoptic files, in the order of the contiguous ids."""
    things = [{"id": i + 1, "name": name, "isthing": 1} for i, name in enumerate(manifest["classes"])]
    stuff = [{"id": FIRST_STUFF_ID + i, "name": name, "isthing": 0} for i, name in enumerate(manifest["stuff"])]
    return things + stuff
