"""What an exported file says about itself: one JSON text in its metadata, from which the runtime makes results.

Numpy only: a machine without torch reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from focalnet_d2.data.channels import ChannelFormat, ImageFormat
from focalnet_d2.data.class_map import ClassMap

KEY = "focalnet_d2"  # of the metadata entry
SCHEMA = 1  # counted up when an older runtime could not read a newer file


@dataclass(frozen=True)
class Description:
    """An exported model: what goes in, how results are made of its tensors, and what they mean.

    Attributes:
        model: name of the model's class.
        decoder: module of `focalnet_d2/export/decoding/` that makes results of the tensors.
        settings: of the decoder.
        classes: in the order of the contiguous ids.
        steps: from an upright image to the network's, dicts with `name` and its arguments (see `preprocessing.py`).
        color_order: "RGB" or "BGR".
        divisor: height and width of a batch are multiples of it.
        threshold: objects with a lower score are left out, unless the user of the file says otherwise; one for all
            classes, or one for each.
        batch_size, size: images, and (height, width), of which the file takes no others; None where it takes any.
        tasks: of the model, the main one first.
        channels: of images that are not 8-bit RGB, the fields of a `ChannelFormat`; None for those that are.
        precision: of the weights: float32, float16 or int8.
        producer: name and version of what has written the file.
    """

    model: str
    decoder: str
    settings: Mapping[str, Any]
    classes: ClassMap
    steps: tuple[Mapping[str, Any], ...] = ()
    color_order: str = "RGB"
    divisor: int = 1
    threshold: float | tuple[float, ...] = 0.5
    batch_size: int | None = None
    size: tuple[int, int] | None = None
    tasks: tuple[str, ...] = ()
    precision: str = "float32"
    channels: Mapping[str, Any] | None = None
    producer: str = field(default="focalnet-d2")

    @property
    def image_format(self) -> ImageFormat:
        """What the network takes: an order of colors, or other channels."""
        return self.color_order if self.channels is None else ChannelFormat(**self.channels)

    def to_json(self) -> str:
        """The text that a file holds; `channels` only where there are some, which older runtimes do not know."""
        values = {name: value for name, value in asdict(self).items() if name != "classes"}
        if self.channels is None:
            del values["channels"]
        return json.dumps({"schema": SCHEMA, **values, "classes": self.classes.to_plain()}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, path: object) -> "Description":
        """The inverse of `to_json`.

        Args:
            text: None or "" where the file has none.
            path: of the file, for messages.

        Raises:
            ValueError: it is of no model of this library, or of a later version; names the file.
        """
        if not text:
            raise ValueError(
                f"{path} holds no description of a focalnet-d2 model: only files that `focalnet-d2 export` has written "
                "can be run here."
            )
        try:
            values = json.loads(text)
            schema = values.pop("schema")
            if schema != SCHEMA:
                raise ValueError(f"it has version {schema}, and this runtime reads version {SCHEMA}")
            classes = ClassMap.from_plain(values.pop("classes"))
            for name in ("steps", "tasks"):
                values[name] = tuple(values[name])
            if isinstance(values["threshold"], list):
                values["threshold"] = tuple(values["threshold"])
            values["size"] = None if values["size"] is None else tuple(values["size"])
            return cls(classes=classes, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"The description in {path} cannot be used ({error}): export the model again, or install the version "
                "of focalnet-d2 that wrote it."
            ) from error
