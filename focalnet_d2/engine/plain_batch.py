"""A mapper's batch as tensors and plain values, which a file may hold that loads without executing code, and back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks, RotatedBoxes
from torch import Tensor

from focalnet_d2.structures.packed_masks import PackedMasks


class _Kind(NamedTuple):
    """How values of a type are written, as what `to_plain` takes, and made again."""

    type: type
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


_KINDS = {
    "tuple": _Kind(tuple, list, tuple),
    "array": _Kind(np.ndarray, torch.from_numpy, Tensor.numpy),
    "instances": _Kind(
        Instances,
        lambda value: {"size": value.image_size, "fields": value.get_fields()},
        lambda content: Instances(content["size"], **content["fields"]),
    ),
    "boxes": _Kind(Boxes, lambda value: value.tensor, Boxes),
    "rotated_boxes": _Kind(RotatedBoxes, lambda value: value.tensor, RotatedBoxes),
    "bit_masks": _Kind(BitMasks, lambda value: value.tensor, BitMasks),
    "packed_masks": _Kind(
        PackedMasks,
        lambda value: {"packed": value.packed, "width": value.width},
        lambda content: PackedMasks(content["packed"], width=content["width"]),
    ),
    "polygons": _Kind(PolygonMasks, lambda value: value.polygons, PolygonMasks),
    "keypoints": _Kind(Keypoints, lambda value: value.tensor, Keypoints),
}


def to_plain(value: Any) -> Any:
    """Tensors of any shape, on the CPU, numbers, texts, lists, and for each other value {its kind: what it holds}.

    Raises:
        TypeError: there is no plain form of a value; it names the type.
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).contiguous()  # a copy: a view would bring all that it is a view of
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [to_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {"dict": {key: to_plain(entry) for key, entry in value.items()}}
    for name, kind in _KINDS.items():
        if isinstance(value, kind.type):
            return {name: to_plain(kind.write(value))}
    raise TypeError(f"a {type(value).__name__} cannot be kept in a file")


def from_plain(value: Any) -> Any:
    """What `to_plain` was given."""
    if isinstance(value, list):
        return [from_plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    ((name, content),) = value.items()
    if name == "dict":
        return {key: from_plain(entry) for key, entry in content.items()}
    return _KINDS[name].read(from_plain(content))
