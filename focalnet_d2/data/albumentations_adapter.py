"""Pipelines of albumentations as augmentations: one pass moves the image and, as a mask, the numbers of its pixels.

Masks, panoptic ids and classes of pixels are then looked up by these numbers, so all of them agree with each other,
whatever the pipeline did, and what it moved in from outside, or erased from the mask, is no object. Boxes without masks
go through the pipeline as boxes.
"""

import random
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from detectron2.data import transforms as T
from torch.utils.data import get_worker_info

from .albumentations_pipeline import import_albumentations, read_pipeline
from .channel_transforms import EightBitsOnlyError
from .pixel_transform import PixelTransform

# They take what an augmentation here does not have, or do with values of masks what has no meaning for numbers.
_REFUSED = {"ConstrainedCoarseDropout", "CropNonEmptyMaskIfExists", "Lambda", "Morphological"}
_LOOK_AT_BOXES = {"AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "RandomSizedBBoxSafeCrop"}
_RESIZING = ("geometric.resize", "crops.transforms")  # modules whose transforms resize; all others warp
_BOX_LIMITS = ("min_area", "min_visibility", "min_width", "min_height", "max_accept_ratio")


class Albumentations(T.Augmentation):
    """A pipeline of albumentations, whose random numbers follow from numpy's global generator.

    Args:
        pipeline: a transform or composition of albumentations, the dict that its `to_dict` makes, or the file (JSON or
            YAML) that its `save` wrote. Of the settings for boxes its limits count; `keypoint_params` and
            `additional_targets` have no meaning here.

    Raises:
        ImportError: albumentations is not installed.
        FileNotFoundError, ValueError: the pipeline cannot be read, or has a transform that cannot be used here.
    """

    def __init__(self, pipeline: str | Mapping[str, Any] | object):
        super().__init__()
        described = isinstance(pipeline, str | Mapping)
        self.pipeline = _composed(read_pipeline(pipeline) if described else deepcopy(pipeline))
        names = {type(one).__name__ for one in _leaves(self.pipeline)}
        self._look_at_boxes = sorted(names & _LOOK_AT_BOXES)

    def __call__(self, aug_input: T.AugInput) -> PixelTransform:
        """Changes the image, (H, W, C), and boxes and labels of an input, where it has them.

        Raises:
            ValueError: the pipeline changes the type or the number of channels of the image, or looks at boxes that
                the input lacks.
            EightBitsOnlyError: the image has other values.
        """
        if aug_input.image.dtype != np.uint8:  # of float32, albumentations cuts off all above 1
            raise EightBitsOnlyError(
                f"albumentations changes images of 8 bits, not {aug_input.image.dtype}: leave it out."
            )
        drawn = self._draw(aug_input.image, getattr(aug_input, "boxes", None))
        aug_input.transform(drawn)
        return drawn

    def _draw(self, image: np.ndarray, boxes: np.ndarray | None) -> PixelTransform:
        if boxes is None and self._look_at_boxes:
            raise ValueError(f"{self._look_at_boxes[0]} looks at boxes, which a mapper of masks or classes has not")
        seed = np.random.randint(2**31)
        # Not set_random_seed: it gives all transforms equal generators, so that two flips happen together or not at all
        self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        known = np.zeros((0, 4)) if boxes is None else boxes
        inputs = {"image": image, "mask": _pixel_numbers(*image.shape[:2])}
        result = _run(self.pipeline, inputs | {"bboxes": known, "numbers": np.arange(len(known))})
        made = result["image"]
        _check_kind(made, image)
        moved = _boxes_by_number(len(known), np.asarray(result["numbers"], int), np.asarray(result["bboxes"]))
        return PixelTransform(made, _sources(result["mask"], image[..., 0].size), moved)


def _run(pipeline: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a pipeline makes of its inputs; raises ValueError where it fails."""
    if get_worker_info() is not None:
        import_albumentations("cv2").setNumThreads(0)  # a worker has one thread, and OpenCV's do not survive a fork
    try:
        return pipeline(**inputs)
    except MemoryError:
        raise
    except Exception as error:  # of many kinds: albumentations' own, OpenCV's, numpy's
        raise ValueError(f"albumentations: {' '.join(str(error).split()) or repr(error)}") from error


def _check_kind(made: Any, image: np.ndarray) -> None:
    """Raises ValueError where what a pipeline made of an image, (H, W, C), has other values or channels."""
    if not isinstance(made, np.ndarray) or made.dtype != image.dtype:
        kind = made.dtype if isinstance(made, np.ndarray) else type(made).__name__
        raise ValueError(
            f"the pipeline makes {kind} of {image.dtype} images; leave out Normalize, ToFloat and ToTensorV2: the "
            "model normalizes by itself"
        )
    if made.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"the pipeline makes an array of shape {made.shape} of {image.shape[2]} channels; leave out what changes "
            "their number, such as ToGray with num_output_channels=1"
        )


def _pixel_numbers(height: int, width: int) -> np.ndarray:
    """(H, W, 4) uint8, the bytes of the numbers 1 to H W: OpenCV moves no wide integers."""
    return np.arange(1, height * width + 1, dtype="<i4").view(np.uint8).reshape(height, width, 4)


def _sources(numbers: np.ndarray, count: int) -> np.ndarray:
    """(H', W', 4) bytes -> (H', W') places of pixels, of which there are `count`; `count` for what is no pixel."""
    places = np.ascontiguousarray(numbers).view("<u4")[..., 0].astype(np.intp) - 1
    places[(places < 0) | (places >= count)] = count
    return places


def _boxes_by_number(count: int, numbers: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(count, 4) XYXY around all boxes (N, 4) with the same number, which mirrored borders add; zeros for no box."""
    boxes = boxes.reshape(-1, 4).astype(np.float64)
    moved = np.tile([np.inf, np.inf, -np.inf, -np.inf], (count, 1))
    np.minimum.at(moved[:, :2], numbers, boxes[:, :2])
    np.maximum.at(moved[:, 2:], numbers, boxes[:, 2:])
    return np.where(np.isfinite(moved), moved, 0)


def _composed(pipeline: Any) -> Any:
    """The pipeline as one `Compose` with settings of ours for boxes and masks; it shares the transforms.

    Raises:
        ValueError: a transform that cannot be used.
    """
    A = import_albumentations()
    if not isinstance(pipeline, A.BasicTransform | A.BaseCompose):
        raise ValueError(f"pipeline={pipeline!r} is no transform or composition of albumentations.")
    known = pipeline.processors.get("bboxes") if isinstance(pipeline, A.BaseCompose) else None
    limits = {name: getattr(known.params, name) for name in _BOX_LIMITS} if known else {}
    whole = type(pipeline) is A.Compose
    boxes = A.BboxParams("pascal_voc", label_fields=["numbers"], clip=True, filter_invalid_bboxes=True, **limits)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Got processor for bboxes")  # a pipeline that only changes colors
        transforms = list(pipeline.transforms) if whole else [pipeline]
        composed = A.Compose(transforms, p=pipeline.p if whole else 1.0, bbox_params=boxes)
    for transform in _leaves(composed):
        _prepare(transform)
    return composed


def _prepare(transform: Any) -> None:
    """Has it take the nearest pixel of masks, and 0 for none; raises ValueError where it cannot be used."""
    name = type(transform).__name__
    changes_values = name in _REFUSED or getattr(transform, "mask_drop_value", None) is not None
    if changes_values or name.endswith("3D") or transform.targets_as_params:
        raise ValueError(
            f"{name} of albumentations cannot be used here: it needs more than an image, or changes the values of "
            "masks; take it out of the pipeline."
        )
    if getattr(transform, "fill_mask", None) is not None:
        transform.fill_mask = 0
    if hasattr(transform, "mask_interpolation"):
        resizes = type(transform).__module__.endswith(_RESIZING)
        # OpenCV resizes with NEAREST from the corner of a pixel, up to half a pixel off, and warps with nothing else.
        cv2 = import_albumentations("cv2")
        transform.mask_interpolation = cv2.INTER_NEAREST_EXACT if resizes else cv2.INTER_NEAREST


def _leaves(composition: Any) -> Iterator[Any]:
    """All transforms in a composition that are none themselves."""
    for transform in composition.transforms:
        if hasattr(transform, "transforms"):
            yield from _leaves(transform)
        else:
            yield transform
