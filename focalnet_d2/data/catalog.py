"""Loads registered data sets, or says in one sentence why one cannot be used."""

import difflib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import detectron2.data.datasets.coco
from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog

from focalnet_d2.utils.text import some_of

from . import record_choice
from .annotations.instances import read_instances
from .datasets.custom import datasets_root
from .datasets.instances import load_instances
from .named_files import missing_files, misspelled
from .packed.records import PackedRecords
from .record_choice import Records
from .semantic_labels import check_some_label
from .shards.files import exists


def get_detection_dataset_dicts(
    names: str | Sequence[str],
    *,
    filter_empty: bool = False,
    limit: int | None = None,
    image_ids: Sequence[int] | None = None,
) -> Records:
    """Dataset dicts with boxes of one or more registered data sets, one after the other, images in the order of
    their ids.

    Args:
        names: registered names.
        filter_empty: leave out images without any annotation that is not a crowd.
        limit: the first so many images that have such an annotation; for small experiments.
        image_ids: only these images.

    Returns:
        Detectron2's dataset dicts, category ids contiguous from 0; of one big file `PackedRecords`, else a list.

    Raises:
        FileNotFoundError: the annotation file, the image folder or the first image is missing.
        ValueError: an unknown name, annotations that cannot be used, different class lists, or no image left.
    """
    return _join(names, ("annotations",), "boxes", filter_empty=filter_empty, limit=limit, image_ids=image_ids)


def get_segmentation_dataset_dicts(
    names: str | Sequence[str],
    *,
    filter_empty: bool = False,
    limit: int | None = None,
    image_ids: Sequence[int | str] | None = None,
) -> Records:
    """As `get_detection_dataset_dicts` for data sets with masks: panoptic, semantic or COCO's instances.

    An image counts as empty if its segments or annotations are none or all crowds; images with nothing but a
    label map never do. Where a data set has no image ids, the names of the files without suffix take their place.

    Raises:
        FileNotFoundError: a label file or folder that the data set was registered with is missing, or as above.
        ValueError: an annotation without a mask, or as above.
    """
    kinds = ("segments_info", "sem_seg_file_name", "annotations")
    return _join(names, kinds, "masks", filter_empty=filter_empty, limit=limit, image_ids=image_ids)


def get_classification_dataset_dicts(names: str | Sequence[str]) -> Records:
    """Dataset dicts of one or more registered image folders, one after the other.

    Raises:
        FileNotFoundError: an image folder is missing.
        ValueError: an unknown name, class folders that cannot be used, or different class lists.
    """
    return _join(names, ("class_id",), "classes", filter_empty=False, limit=None, image_ids=None)


def _join(
    names: str | Sequence[str],
    kinds: tuple[str, ...],
    wanted: str,
    *,
    filter_empty: bool,
    limit: int | None,
    image_ids: Sequence | None,
) -> Records:
    """Dataset dicts of all names that have one of the kinds of ground truth, and the choice among their images."""
    names = [names] if isinstance(names, str) else list(names)
    parts = []
    for name in names:
        records = load_dataset(name)
        _check_kind(name, records, kinds, wanted)
        parts.append(_targets_for(name, records, wanted))
    dataset_dicts = record_choice.joined(parts)
    class_names = _common_classes(names)
    if image_ids is not None:
        dataset_dicts = _only_images(dataset_dicts, list(image_ids), names)
    if filter_empty or limit is not None:
        chosen = record_choice.places_with_targets(dataset_dicts)[:limit]
        dataset_dicts = record_choice.choose(dataset_dicts, chosen)
    if not len(dataset_dicts):
        filters = f"filter_empty={filter_empty}, limit={limit}, image_ids={image_ids and list(image_ids)}"
        raise ValueError(f"The data set {', '.join(names)} has no images left with {filters}.")
    if class_names:
        record_choice.print_class_histogram(dataset_dicts, class_names, ", ".join(names))
    return dataset_dicts


def _check_kind(name: str, records: Records, kinds: tuple[str, ...], wanted: str) -> None:
    if not (isinstance(records, PackedRecords) and "annotations" in kinds):
        for record in records:
            if not any(kind in record for kind in kinds):
                raise ValueError(f"The data set {name} has no {wanted}; its images have {', '.join(record)}.")
    if wanted == "masks" and (record := record_choice.first_without_mask(records)):
        raise ValueError(
            f"The data set {name} has an annotation without a mask on image {record['image_id']}, or with one that "
            "cannot be used, which then was said before; it can be used for boxes only. Crowds need a mask, too, for "
            "they are scored."
        )


def _targets_for(name: str, records: Records, wanted: str) -> Records:
    """The records with the annotations that count; stops where none is left, before something trains on nothing."""
    counting = record_choice.with_found_boxes(records) if wanted == "boxes" else records
    annotated = record_choice.first_annotated(records)
    if annotated and not record_choice.places_with_targets(counting):
        raise ValueError(
            f"The data set {name} has annotations, but no targets: all are crowds (iscrowd: 1) or have a box without a "
            f"pixel of the image, as on image {annotated['image_id']!r}; correct those that are to be found."
        )
    return counting


def load_dataset(name: str) -> Records:
    """Dataset dicts of one registered data set, checked; those of a big file are `PackedRecords`.

    Raises:
        FileNotFoundError, ValueError: as `get_detection_dataset_dicts` and `get_segmentation_dataset_dicts`.
    """
    if name not in DatasetCatalog.list():
        similar = difflib.get_close_matches(name, DatasetCatalog.list(), n=3)
        hint = f"similar names: {', '.join(similar)}; a" if similar else "a"
        raise ValueError(
            f"No data set is registered as {name!r}; {hint} set of your own is given by data=DIR, or registered by "
            "register_folder before the run starts (docs/datasets.md)."
        )
    metadata = MetadataCatalog.get(name)
    for key, what in _needed_paths(metadata).items():
        _check_present(name, what, metadata.get(key))
    dataset_dicts = _load(name, metadata)
    paths = record_choice.file_names(dataset_dicts)
    if missing := missing_files(paths):
        raise FileNotFoundError(
            _absent_message(name, "image", missing[0], f" ({len(missing)} of {len(paths)} are missing)")
        )
    check_some_label(name, _label_maps(dataset_dicts), metadata.get("ignore_label", 255))
    return dataset_dicts


def _needed_paths(metadata: Metadata) -> dict[str, str]:
    """Metadata keys of the files without which a data set cannot be loaded, and what they are."""
    if metadata.get("panoptic_json") is not None:  # instances and semantic PNGs only serve some of the metrics
        labels = {"panoptic_json": "panoptic annotation file", "panoptic_root": "folder of panoptic PNGs"}
    else:
        labels = {"json_file": "annotation file", "sem_seg_root": "folder of semantic PNGs"}
    return {**labels, "image_root": "image folder"}


def _load(name: str, metadata: Metadata) -> Records:
    """What the registered loader returns, each with an image id; its failures name the data set."""
    loader = _loader(name, metadata)
    try:
        dataset_dicts = loader()
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The data set {name} cannot be used: {_problem(error, metadata)}") from error
    if isinstance(dataset_dicts, PackedRecords):  # which have gone through our own rules
        return dataset_dicts
    for record in dataset_dicts:
        if not all(has_box(annotation) for annotation in record.get("annotations", [])):
            raise ValueError(
                f"The data set {name} has an annotation without a box of four numbers, on image {record['image_id']}."
            )
    return [_with_image_id(record) for record in dataset_dicts]


def _loader(name: str, metadata: Metadata) -> Callable[[], Records]:
    """The registered loader; ours for what Detectron2's `register_coco_instances` has registered."""
    registered = DatasetCatalog[name]
    if getattr(registered, "__module__", None) == detectron2.data.datasets.coco.__name__:
        return partial(load_instances, metadata.json_file, metadata.image_root, name)
    return registered


def _problem(error: Exception, metadata: Metadata) -> str:
    """What is wrong in one sentence; a bare error of somebody's loader is explained by our own look at the file."""
    if not isinstance(error, ValueError) and metadata.get("json_file") and metadata.get("panoptic_json") is None:
        try:
            read_instances(metadata.json_file)
        except ValueError as reason:
            return str(reason)
    return str(error) or repr(error)


def _label_maps(dataset_dicts: Records) -> list[dict]:
    """The images that have a label file and no other ground truth."""
    if isinstance(dataset_dicts, PackedRecords):
        return []
    kinds = ("segments_info", "annotations")
    maps = [record for record in dataset_dicts if "sem_seg_file_name" in record]
    return [record for record in maps if not any(kind in record for kind in kinds)]


def _with_image_id(dataset_dict: dict) -> dict:
    if "image_id" in dataset_dict:
        return dataset_dict
    return {"image_id": Path(dataset_dict["file_name"]).stem, **dataset_dict}


def _check_present(name: str, what: str, path: str | None) -> None:
    if path is not None and not exists(path):
        raise FileNotFoundError(_absent_message(name, what, path))


def _absent_message(name: str, what: str, path: str, count: str = "") -> str:
    root, absent = datasets_root(), f"The {what} {path} of the data set {name} does not exist{count}"
    if meant := misspelled(str(path)):
        return f"{absent}; there is {meant}: correct the name."
    if Path(path).is_absolute() and not Path(path).is_relative_to(root.absolute()):
        return f"{absent}: put it there, or correct the path or the list that names it."
    if "DETECTRON2_DATASETS" in os.environ:
        setting = f"DETECTRON2_DATASETS is {root}"
    else:
        setting = f"DETECTRON2_DATASETS is not set, so {root.absolute()} is used"
    generated = " (`focalnet-d2 generate` makes this one)" if name.startswith("generated_") else ""
    return (
        f"{absent}; {setting}: put the data there{generated} or set the variable to the folder that holds it before "
        "the program starts."
    )


def has_box(annotation: dict) -> bool:
    """Whether an annotation has a box of four numbers."""
    box = annotation.get("bbox")
    return isinstance(box, list | tuple) and len(box) == 4 and all(isinstance(v, int | float) for v in box)


def _few(values) -> str:
    """The first values, for a message."""
    return some_of(sorted(values, key=lambda value: (isinstance(value, str), value is None, value)), 10)


def _common_classes(names: list[str]) -> list[str] | None:
    """The names of things that all data sets share, None where they have none."""
    lists = {name: [MetadataCatalog.get(name).get(key) for key in ("thing_classes", "stuff_classes")] for name in names}
    first = lists[names[0]]
    for name, classes in lists.items():
        if classes != first:
            raise ValueError(f"The data sets {names[0]} and {name} have different class lists; they cannot be joined.")
    return first[0]


def _only_images(dataset_dicts: Records, image_ids: list, names: list[str]) -> Records:
    places = {key: place for place, key in enumerate(record_choice.image_ids(dataset_dicts))}
    if unknown := set(image_ids) - set(places):
        raise ValueError(f"The data set {', '.join(names)} has no images with the ids {_few(unknown)}.")
    return record_choice.choose(dataset_dicts, [places[image_id] for image_id in image_ids])
