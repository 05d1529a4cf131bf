"""Registers a generated data set under Detectron2's names."""

from pathlib import Path

from ..datasets.custom import datasets_root, register_coco_folder
from .writer import SPLITS, read_manifest


def register_generated(root: str | Path | None = None, prefix: str = "generated") -> tuple[str, ...]:
    """Registers `<prefix>_train` and `<prefix>_val`; safe to repeat, also with another root.

    Args:
        root: folder that `generate_dataset` made or will make; default: `generated` below
            $DETECTRON2_DATASETS.

    Returns:
        The two names.
    """
    root = Path(root) if root is not None else datasets_root() / "generated"
    manifest = read_manifest(root)
    metadata = {"thing_classes": manifest["classes"]} if manifest else {}
    names = tuple(f"{prefix}_{split}" for split in SPLITS)
    for name, split in zip(names, SPLITS, strict=True):
        json_file = root / "annotations" / f"instances_{split}.json"
        register_coco_folder(name, json_file, root / split, metadata=metadata)
    return names
