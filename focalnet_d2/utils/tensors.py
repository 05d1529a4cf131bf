"""The tensors in what networks and operators take and give."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, cast

from detectron2.structures import Instances
from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors, of any shapes, in nested containers, dataclasses and Detectron2's structures with a `tensor`."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from tensors_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)
    elif isinstance(value, Instances):
        yield from tensors_in(value.get_fields())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from tensors_in(vars(value))
    elif isinstance(getattr(value, "tensor", None), Tensor):
        yield cast(Any, value).tensor
