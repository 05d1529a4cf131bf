"""Models run on resized and mirrored copies of each image, and what they find fused ("multi-scale" numbers of papers).

Copies are run one at a time: memory does not grow with their number.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from detectron2.utils.logger import log_first_n
from PIL import Image
from torch import Tensor, nn

from focalnet_d2.data.channels import ImageFormat, resize_channels
from focalnet_d2.data.image_reading import read_image

from .box_fusion import BoxFusion


class ImageCopy(NamedTuple):
    """What the model sees of an image.

    Args:
        inputs: the mapper dict with `image` (3, h, w) uint8 of the copy, `height` and `width` of the wanted result.
        mirrored: left and right are exchanged.
    """

    inputs: dict
    mirrored: bool


class TTA(nn.Module):
    """The copies of each image; a subclass fuses what the model finds in them.

    Args:
        model: takes mapper dicts and gives results at the `height` and `width` of its input dicts.
        short_sides: shorter side of each copy, in pixels.
        max_size: limit of the longer side, which takes precedence.
        flip: every copy is run mirrored as well.
        image_format: "RGB" or "BGR", whichever the model normalises; for images that are read here.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        short_sides: Sequence[int],
        max_size: int,
        flip: bool = True,
        image_format: ImageFormat = "RGB",
    ):
        super().__init__()
        self.model = model
        self.short_sides = tuple(short_sides)
        self.max_size = max_size
        self.flip = flip
        self.image_format = image_format

    @torch.no_grad()
    def forward(self, batched_inputs: Sequence[Mapping]) -> list[dict[str, Any]]:
        """Detectron2's interface: mapper dicts -> the result of `fuse` for each image.

        Args:
            batched_inputs: per image `image` (3, h, w) uint8, of which all copies are made and which should thus
                have the resolution of the file, or without it `file_name`; `height` and `width` of the wanted
                result (default: the image's own).

        Raises:
            ValueError: the model returns something that cannot be fused.
        """
        return [self.fuse(image) for image in batched_inputs]

    def fuse(self, image_dict: Mapping) -> dict[str, Any]:
        """The result of one image."""
        raise NotImplementedError

    def copies(self, image_dict: Mapping) -> Iterator[ImageCopy]:
        """Every size, then the same mirrored."""
        image = self._image(image_dict)
        height, width = image.shape[:2]
        given = {"height": height, "width": width, **image_dict}
        for short_side in self.short_sides:
            size = T.ResizeShortestEdge.get_output_shape(height, width, short_side, self.max_size)
            resized = _resized(image, size)
            copy = torch.from_numpy(np.array(resized.transpose(2, 0, 1), order="C"))
            yield ImageCopy({**given, "image": copy}, mirrored=False)
            if self.flip:
                yield ImageCopy({**given, "image": copy.flip(-1)}, mirrored=True)

    def _image(self, image_dict: Mapping) -> np.ndarray:
        """(h, w, 3) uint8, or (h, w, N) of other channels."""
        if "image" in image_dict:
            return image_dict["image"].permute(1, 2, 0).cpu().numpy()
        return read_image(image_dict["file_name"], self.image_format)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, C) -> (*size, C)."""
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return T.ResizeTransform(image.shape[0], image.shape[1], *size).apply_image(image)
    return resize_channels(image, size, Image.Resampling.BILINEAR)


class SemanticTTA(TTA):
    """Means of a model's class scores over the copies; arguments as of `TTA`.

    The model returns `sem_seg` scores (K, H, W).
    """

    def fuse(self, image_dict: Mapping) -> dict[str, Tensor]:
        """`sem_seg`: (K, height, width), mean scores.

        Raises:
            ValueError: the model returns no `sem_seg`, or classes instead of scores.
        """
        total, count = torch.zeros(()), 0
        for copy in self.copies(image_dict):
            scores = _scores(self.model([copy.inputs])[0])
            scores = scores.flip(-1) if copy.mirrored else scores
            total = total.add_(scores) if count else scores.clone()
            count += 1
        return {"sem_seg": total.div_(count)}


def _scores(result: Mapping) -> Tensor:
    """`sem_seg` of a model's result: (K, H, W)."""
    scores = result.get("sem_seg")
    if scores is None:
        raise ValueError(
            f"The model returns {', '.join(result) or 'nothing'} but no sem_seg, whose mean is to be taken: switch its "
            "semantic inference on."
        )
    if scores.dim() != 3 or not scores.is_floating_point():
        raise ValueError(
            f"sem_seg of shape {tuple(scores.shape)}, {scores.dtype}, holds classes, and classes have no mean: let the "
            "model return scores, whatever memory they take (dense_bytes of its semantic inference)."
        )
    return scores


class DetectionTTA(TTA):
    """Boxes that a model finds in the copies, fused; and for Detectron2's R-CNNs the masks in the fused boxes.

    The masks are means over the copies, as in Detectron2's `GeneralizedRCNNWithTTA`; they take a second run over the
    copies. Masks of other models are left out.

    Args:
        model: returns `instances` with `pred_boxes`, `scores` and `pred_classes`.
        fusion: makes one set of boxes of those found in the copies.
        top_k: detections an image.
        short_sides, max_size, flip, image_format: see `TTA`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        short_sides: Sequence[int],
        max_size: int,
        fusion: BoxFusion,
        top_k: int,
        flip: bool = True,
        image_format: ImageFormat = "RGB",
    ):
        super().__init__(model, short_sides=short_sides, max_size=max_size, flip=flip, image_format=image_format)
        self.fusion = fusion
        self.top_k = top_k

    def fuse(self, image_dict: Mapping) -> dict[str, Instances]:
        """`instances` at the wanted size, best first: `pred_boxes` XYXY pixels, `scores`, `pred_classes`, and masks.

        Raises:
            ValueError: the model returns no `instances`.
        """
        fused = self.fusion([self._boxes(copy) for copy in self.copies(image_dict)])
        fused = fused[fused.scores.argsort(descending=True, stable=True)[: self.top_k]]
        if isinstance(self.model, GeneralizedRCNN) and cast(Any, self.model).roi_heads.mask_on:
            fused = self._with_masks(fused, image_dict)
        return {"instances": fused}

    def _boxes(self, copy: ImageCopy) -> Instances:
        """What the model finds in a copy, without masks, where it is in the image."""
        if isinstance(self.model, GeneralizedRCNN):
            (detections,) = cast(Any, self.model).inference([copy.inputs], do_postprocess=False)
            detections = detector_postprocess(_without_masks(detections), copy.inputs["height"], copy.inputs["width"])
        else:
            detections = _instances(self.model([copy.inputs])[0])
            if detections.has("pred_masks"):
                log_first_n(logging.WARNING, "Test-time augmentation fuses boxes only; the masks are left out.")
            detections = _without_masks(detections)
        if copy.mirrored:
            detections.pred_boxes = _mirrored(detections)
        return detections

    def _with_masks(self, fused: Instances, image_dict: Mapping) -> Instances:
        """Adds `pred_masks` (N, height, width) bool; boxes that do not reach into the image are dropped."""
        total, count = 0.0, 0
        for copy in self.copies(image_dict):
            boxes = _mirrored(fused) if copy.mirrored else fused.pred_boxes.clone()
            height, width = copy.inputs["image"].shape[-2:]
            boxes.scale(width / fused.image_size[1], height / fused.image_size[0])
            given = Instances((height, width), pred_boxes=boxes, pred_classes=fused.pred_classes)
            (seen,) = cast(Any, self.model).inference([copy.inputs], [given], do_postprocess=False)
            masks = seen.pred_masks  # (N, 1, S, S), probabilities in the box
            total = total + (masks.flip(-1) if copy.mirrored else masks)
            count += 1
        fused.pred_masks = total / count
        return detector_postprocess(fused, *fused.image_size)


def _instances(result: Mapping) -> Instances:
    if "instances" not in result:
        raise ValueError(
            f"The model returns {', '.join(result) or 'nothing'} but no instances, whose boxes are to be fused: switch "
            "its instance inference on."
        )
    return result["instances"]


def _without_masks(detections: Instances) -> Instances:
    return Instances(
        detections.image_size,
        pred_boxes=detections.pred_boxes,
        scores=detections.scores,
        pred_classes=detections.pred_classes,
    )


def _mirrored(detections: Instances) -> Boxes:
    """The boxes of the mirrored image: (N, 4) XYXY pixels."""
    left, top, right, bottom = detections.pred_boxes.tensor.unbind(-1)
    width = detections.image_size[1]
    return Boxes(torch.stack([width - right, top, width - left, bottom], dim=-1))
