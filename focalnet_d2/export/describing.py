"""The description of a model that is exported: from its recipe's test mapper, its classes and its own settings."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch
from detectron2.data import transforms as T
from torch import nn
from torchvision.transforms import CenterCrop, PILToTensor, Resize

from focalnet_d2.data.channels import ChannelFormat
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.version import __version__

from .description import Description
from .graph import channels_of
from .preprocessing import Step, apply_steps

_PROBES = ((37, 53), (61, 40), (48, 48))  # (height, width) of images that show whether the steps are the mapper's


class NotExportableError(ValueError):
    """A model, or what is done to its images, of which no file can be made."""


def describe(
    model: nn.Module, mapper: Any, classes: ClassMap, *, threshold: float | tuple[float, ...] = 0.5
) -> Description:
    """What the file of a model says about itself; it takes any number and size of images.

    Args:
        mapper: of test images, from `focalnet_d2.data.mappers`.
        threshold: lowest score of an object, of all classes or of each.

    Raises:
        NotExportableError: the model does not say how, or the mapper does what an exported file cannot describe.
    """
    exported = cast(Any, model)
    if not hasattr(model, "export_decoder"):
        raise NotExportableError(
            f"{type(model).__name__} cannot be exported: it needs export_decoder, export_outputs and export_settings, "
            "as focalnet_d2.modeling.base.ImageModel describes them."
        )
    channels = asdict(mapper.image_format) if isinstance(mapper.image_format, ChannelFormat) else None
    description = Description(
        model=type(model).__name__,
        decoder=exported.export_decoder,
        settings=exported.export_settings(),
        classes=classes,
        steps=tuple(steps_of(mapper)),
        color_order="RGB" if channels else str(mapper.image_format),
        channels=channels,
        divisor=divisor_of(model),
        threshold=threshold,
        tasks=tuple(exported.tasks),
        producer=f"focalnet-d2 {__version__}",
    )
    _check_steps(description.steps, mapper)
    return description


def divisor_of(model: nn.Module) -> int:
    """The number that a model pads heights and widths to a multiple of: the sides of a padded image of one pixel."""
    with torch.no_grad():
        padded = cast(Any, model).preprocess([{"image": torch.zeros(channels_of(model), 1, 1)}]).sizes.padded
    return int(max(padded))


def steps_of(mapper: Any) -> list[Step]:
    """What a test mapper does with an image, as `preprocessing.py` does it.

    Raises:
        NotExportableError: something else; names it.
    """
    if hasattr(mapper, "augmentations"):
        return [_step_of_augmentation(one) for one in mapper.augmentations.augs]
    transforms = getattr(getattr(mapper, "transform", None), "transforms", None)
    if transforms is None:
        raise _no_step(mapper)
    return [_step_of_transform(one) for one in transforms if not isinstance(one, PILToTensor)]


def _step_of_augmentation(augmentation: Any) -> Step:
    kind, settings = type(augmentation), vars(augmentation)
    if kind is T.ResizeShortestEdge and len(lengths := set(settings["short_edge_length"])) == 1:
        return {
            "name": "resize_shortest_edge",
            "short_side": int(lengths.pop()),
            "max_size": int(settings["max_size"]),
            "filter": int(settings["interp"]),
        }
    if kind is T.Resize:
        height, width = settings["shape"]
        return {"name": "resize", "height": int(height), "width": int(width), "filter": int(settings["interp"])}
    raise _no_step(augmentation)


def _step_of_transform(transform: Any) -> Step:
    if type(transform) is Resize and isinstance(transform.size, int) and transform.max_size is None:
        filters = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
        resampling = filters[transform.interpolation.value]
        return {"name": "resize_short_side", "short_side": transform.size, "filter": resampling}
    if type(transform) is CenterCrop and len(sides := set(cast(Sequence[int], transform.size))) == 1:
        return {"name": "center_crop", "side": int(sides.pop())}
    raise _no_step(transform)


def _check_steps(steps: tuple[Step, ...], mapper: Any) -> None:
    """Raises ValueError unless the steps give the mapper's pixels, bit for bit."""
    generator, channels = np.random.default_rng(0), mapper.image_format
    count, dtype = (len(channels.mean), channels.dtype) if isinstance(channels, ChannelFormat) else (3, "uint8")
    for height, width in _PROBES:
        image = generator.integers(0, 256, (height, width, count), np.uint8).astype(dtype)
        expected = mapper.image_tensor(image, "of a test").numpy().transpose(1, 2, 0)
        if not np.array_equal(apply_steps(image, steps, "of a test"), expected):
            raise ValueError(f"The steps {list(steps)} give other pixels than the test mapper {mapper}.")


def _no_step(what: Any) -> NotExportableError:
    return NotExportableError(
        f"The test images of this recipe are changed by {what!r}, which an exported file cannot describe: set "
        "dataloader.test.mapper.augmentations to one ResizeShortestEdge with one length, or to one Resize."
    )
