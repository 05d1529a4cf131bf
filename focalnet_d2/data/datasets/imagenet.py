"""Images in folders by class, as ImageNet-1K is unpacked; class ids are the places of the sorted folder names.

imagenet/{train,val}/<class>/*.{JPEG,jpg,jpeg,png}
image_folder/{train,val}/<class>/*                  own images, for small experiments
"""

from functools import partial
from pathlib import Path

from detectron2.data import MetadataCatalog

from focalnet_d2.utils.text import some_of

from ..class_map import class_map
from ..class_metadata import class_metadata
from .custom import datasets_root, replace_dataset

SUFFIXES = (".jpeg", ".jpg", ".png")
FOLDERS = ("imagenet", "image_folder")


def register_image_folder(name: str, root: str | Path, *, same_classes_as: str | Path | None = None) -> str:
    """Registers a folder that has a folder for every class. Reads nothing; a repeated name is replaced.

    Args:
        name: name for `DatasetCatalog`.
        root: folder of the class folders.
        same_classes_as: another such folder, of the training images, that must have the same classes if it exists.

    Returns:
        name.
    """
    loader = partial(load_image_folder, name, Path(root), None if same_classes_as is None else Path(same_classes_as))
    replace_dataset(name, loader, image_root=str(root), evaluator_type="classification")
    return name


def load_image_folder(name: str, root: Path, same_classes_as: Path | None = None) -> list[dict]:
    """Dataset dicts with file_name, image_id (class/file) and class_id; notes the class names in the metadata.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no class folders, a class without images, or other classes than `same_classes_as`.
    """
    classes = class_folders(root)
    if same_classes_as is not None and same_classes_as.is_dir():
        _check_same(classes, root, class_folders(same_classes_as), same_classes_as)
    records = []
    for class_id, class_name in enumerate(classes):
        files = sorted(path.name for path in (root / class_name).iterdir() if path.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"The class folder {root / class_name} has no images ({', '.join(SUFFIXES)}).")
        records += [
            {
                "file_name": str(root / class_name / file),
                "image_id": f"{class_name}/{file}",
                "class_id": class_id,
            }
            for file in files
        ]
    MetadataCatalog.get(name).set(**class_metadata(class_map(classes, classes), "classification"))
    return records


def class_folders(root: Path) -> list[str]:
    """Sorted names of the folders in a folder, hidden ones left out.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no folders.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"The image folder {root} does not exist.")
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise ValueError(f"The image folder {root} has no class folders: sort its images into one folder per class.")
    return classes


def _check_same(classes: list[str], root: Path, wanted: list[str], other: Path) -> None:
    lacking, foreign = (sorted(set(a) - set(b)) for a, b in ((wanted, classes), (classes, wanted)))
    if lacking or foreign:
        parts = [f"{what} {some_of(names, 5)}" for what, names in (("lacks", lacking), ("adds", foreign)) if names]
        raise ValueError(f"{root} has other class folders than {other}: it {' and '.join(parts)}.")


def register_image_folders() -> None:
    """Registers `imagenet_{train,val}` and `image_folder_{train,val}`; reads nothing."""
    for folder in FOLDERS:
        root = datasets_root() / folder
        register_image_folder(f"{folder}_train", root / "train")
        register_image_folder(f"{folder}_val", root / "val", same_classes_as=root / "train")
