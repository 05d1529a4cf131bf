"""The class list of a data set as Detectron2's metadata have it, and back."""

from typing import Any

from detectron2.data import Metadata

from .class_map import ClassMap, class_map

LABEL_DIVISOR = 1000
IGNORE_LABEL = 255

_TO_CONTIGUOUS = "{}_dataset_id_to_contiguous_id"


def class_metadata(classes: ClassMap, kind: str) -> dict[str, Any]:
    """Detectron2's metadata of a data set with these classes.

    Args:
        kind: "instances" and "classification" have things alone, "semantic" stuff alone, "panoptic" both.

    Returns:
        The names, colors and contiguous ids, `thing_classes`, `thing_colors` and `thing_dataset_id_to_contiguous_id`,
        and the same of stuff. Of a panoptic set both lists have all K classes, so that a contiguous id is an index of
        either, and the ids of things are the things alone, those of stuff all K.
    """
    things = kind in ("instances", "classification", "panoptic")
    stuff = kind in ("semantic", "panoptic")
    metadata: dict[str, Any] = {}
    for word in ["thing"] * things + ["stuff"] * stuff:
        metadata[f"{word}_classes"] = list(classes.names)
        metadata[f"{word}_colors"] = [list(color) for color in classes.colors]
        metadata[_TO_CONTIGUOUS.format(word)] = dict(classes.contiguous)
    if kind == "panoptic":
        ids = {entry.dataset_id: index for index, entry in enumerate(classes.classes) if entry.is_thing}
        metadata |= {_TO_CONTIGUOUS.format("thing"): ids, "label_divisor": LABEL_DIVISOR}
    return metadata | ({"ignore_label": IGNORE_LABEL} if stuff else {})


def metadata_classes(metadata: Metadata) -> ClassMap | None:
    """The class list that metadata describe, whoever wrote them; None where they name no classes.

    Where they say no ids, the contiguous ones are those of the files.

    Raises:
        ValueError: ids of other classes than the names, or names that are no class list.
    """
    if metadata.get("classes") is not None:  # of a set that was found in a folder
        return metadata.classes
    names = metadata.get("stuff_classes") or metadata.get("thing_classes")
    if names is None:
        return None
    things, stuff = (metadata.get(_TO_CONTIGUOUS.format(word)) for word in ("thing", "stuff"))
    contiguous = {**(things or {}), **(stuff or {})} or {index: index for index in range(len(names))}
    id_of = {index: key for key, index in contiguous.items()}
    if sorted(contiguous.values()) != list(range(len(names))):
        raise ValueError(
            f"The data set {metadata.name} has {len(names)} class names, but category ids for other classes: they must "
            "be one list for things and stuff."
        )
    only_things = metadata.get("stuff_classes") is None
    colors = metadata.get("stuff_colors") or metadata.get("thing_colors") or ()
    return class_map(
        [id_of[index] for index in range(len(names))],
        [str(name) for name in names],
        things=only_things or [index in (things or {}).values() for index in range(len(names))],
        colors=colors if len(colors) == len(names) else None,
    )
