"""From a registered COCO instances file to dataset dicts in Detectron2's format."""

from collections.abc import Sequence

from detectron2.data import Metadata, MetadataCatalog

from focalnet_d2.utils.text import some_of

from ..annotations.instances import read_instances
from ..class_map import ClassMap, class_map
from ..class_metadata import class_metadata
from ..instance_dicts import dataset_dicts
from ..packed.loading import PackedInstances, load_packed


def load_instances(json_file: str, image_root: str, name: str) -> Sequence[dict]:
    """Dataset dicts of a registered set, images in the order of their ids; equal to those of Detectron2's loader.

    Registers the class names of the file and the order of its category ids, which is the contiguous one. Those of a big
    file are `PackedRecords`, which make a dict when it is asked for; of others, a list.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be used, or it contradicts what was registered before.
    """
    content = load_packed(json_file)
    if content is None:
        content = read_instances(json_file)
    classes = class_map(list(content.class_names), list(content.class_names.values()))
    register_classes(MetadataCatalog.get(name), str(json_file), classes)
    if isinstance(content, PackedInstances):
        return content.records(image_root)
    return dataset_dicts(content, image_root, classes.contiguous)


def register_classes(metadata: Metadata, source: str, classes: ClassMap) -> None:
    """Sets the metadata of a list of things unless they were registered; then they must be the same.

    Args:
        source: the file that has these classes, for messages.

    Raises:
        ValueError: they differ.
    """
    ids, names = metadata.get("thing_dataset_id_to_contiguous_id"), metadata.get("thing_classes")
    if ids is not None and (outside := classes.contiguous.keys() - ids.keys()):
        listed = some_of(sorted(outside), 10)
        raise ValueError(f"{source} has category ids {listed} outside the registered list of {len(ids)} classes.")
    if names is not None and (other := set(classes.names) ^ set(names)):
        raise ValueError(f"{source} and the registered class list differ in {some_of(sorted(other), 10)}.")
    if ids not in (None, classes.contiguous) or names not in (None, classes.names):
        raise ValueError(
            f"{source} has the classes {some_of(classes.contiguous.items(), 5)} (category id, class), which are not "
            "those registered, or not in their order."
        )
    for key, value in class_metadata(classes, "instances").items():
        if metadata.get(key) is None:
            metadata.set(**{key: value})
