"""What evaluators take from a data set's metadata."""

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog

from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.class_metadata import metadata_classes


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


def panoptic_classes(metadata: Metadata) -> ClassMap:
    """The classes that the metadata of `loaded_metadata` describe.

    Raises:
        ValueError: names or category ids are missing, or do not fit each other.
    """
    if any(metadata.get(f"{kind}_dataset_id_to_contiguous_id") is None for kind in ("thing", "stuff")):
        raise ValueError(
            f"The data set {metadata.name} has no thing_dataset_id_to_contiguous_id or no "
            "stuff_dataset_id_to_contiguous_id: it is not registered as a panoptic one."
        )
    classes = metadata_classes(metadata)
    assert classes is not None  # `loaded_metadata` has looked for names
    return classes
