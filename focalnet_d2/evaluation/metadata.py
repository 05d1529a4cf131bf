"""What evaluators take from a data set's metadata."""

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog

from .panoptic_counts import PanopticClasses


def loaded_metadata(name: str) -> Metadata:
    """Metadata of a registered data set; one that reads its classes from its files is loaded for that.

    Raises:
        ValueError: no classes, because nothing of that name is registered or it has no list `stuff_classes`.
    """
    metadata = MetadataCatalog.get(name)
    if metadata.get("stuff_classes") is None and name in DatasetCatalog.list():
        DatasetCatalog.get(name)
    if metadata.get("stuff_classes") is None:
        raise ValueError(f"{name} has no stuff_classes: it is not registered as a panoptic or semantic data set.")
    return metadata


def panoptic_classes(metadata: Metadata) -> PanopticClasses:
    """The classes that the metadata of `loaded_metadata` describe.

    Raises:
        ValueError: names or category ids are missing, or do not fit each other.
    """
    names = metadata.stuff_classes
    things, stuff = (metadata.get(f"{kind}_dataset_id_to_contiguous_id") for kind in ("thing", "stuff"))
    if things is None or stuff is None:
        raise ValueError(
            f"The data set {metadata.name} has no thing_dataset_id_to_contiguous_id or no "
            "stuff_dataset_id_to_contiguous_id: it is not registered as a panoptic one."
        )
    index_of = {**things, **stuff}
    if sorted(index_of.values()) != list(range(len(names))):
        raise ValueError(
            f"The data set {metadata.name} has {len(names)} stuff_classes, but category ids for other classes: they "
            "must be one list for things and stuff."
        )
    return PanopticClasses(names, [index in things.values() for index in range(len(names))], index_of)
