"""ATSS: one anchor a cell, trained on the objects that its statistics give it (arXiv:1912.02424).

Written so that weights of mmdetection give mmdetection's detections: anchors without an offset of half a cell, box
changes bounded either way, images padded to a multiple of 32, scores below the threshold dropped before centreness
counts.

Shapes: B images, N anchors of all levels, K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import torch
from detectron2.layers import batched_nms
from detectron2.modeling import Backbone
from detectron2.structures import Boxes, Instances
from torch import Tensor

from focalnet_d2.layers.projection import by_stride

from ..base import MM_DIVISOR, PIXEL_MEAN, PIXEL_STD, ImageBatch, ImageModel, ImageSizes, Size, training_targets
from .assigner import cells_of_images, square_anchors
from .checkpoint import LAYOUTS
from .criterion import DELTAS, ATSSCriterion
from .exported import best_cells
from .head import ATSSHead, DensePredictions


class ATSSOutputs(TypedDict):
    """What the network puts out.

    Attributes:
        levels: predictions of each level, fine to coarse.
        anchors: (N_l, 4) xyxy pixels of each level.
        shapes: (h, w) of each level.
    """

    levels: list[DensePredictions]
    anchors: list[Tensor]
    shapes: list[Size]


class ATSSTargets(NamedTuple):
    """What the losses need to know.

    Attributes:
        instances: of each image, with `gt_boxes` and `gt_classes`.
        image_sizes: (h, w) of each image without padding.
    """

    instances: list[Instances]
    image_sizes: list[Size]


class ATSS(ImageModel):
    """Dense detector.

    Args:
        backbone: feature pyramid, all levels of one width, strides growing by 2.
        bbox_head: predictions of every cell.
        criterion: used in training only.
        num_classes: classes K.
        score_threshold: least class probability, before it is multiplied by the centreness.
        nms_threshold: IoU above which the worse of two boxes of one class goes.
        candidates_per_level: boxes a level that reach the suppression.
        max_detections: detections an image.
        pixel_mean, pixel_std: of RGB images in 0..255.
    """

    layouts = LAYOUTS
    tasks = ("bbox",)
    export_decoder = "dense_boxes"

    def __init__(
        self,
        backbone: Backbone,
        *,
        bbox_head: ATSSHead,
        criterion: ATSSCriterion,
        num_classes: int = 80,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.6,
        candidates_per_level: int = 1000,
        max_detections: int = 100,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        self.backbone = backbone
        self.strides = [shape.stride for _, shape in by_stride(backbone.output_shape())]
        self.bbox_head = bbox_head
        self.criterion = criterion
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.candidates_per_level = candidates_per_level
        self.max_detections = max_detections

    def preprocess(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageBatch:
        """Images, normalized and padded to a multiple of 32."""
        return self.normalize_and_pad(batched_inputs, MM_DIVISOR)

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> ATSSTargets:
        """`instances` of each image with `gt_boxes` and `gt_classes`; the criterion brings them to the device."""
        return ATSSTargets(training_targets(batched_inputs, "instances"), images.sizes.images)

    def note_divisors(self, batched_inputs: Sequence[Mapping[str, Any]]) -> None:
        """Anchors with an object and their centreness, which sizes and objects decide."""
        images = self.preprocess(batched_inputs)
        shapes = [(-(-h // s), -(-w // s)) for s in self.strides for h, w in [images.sizes.padded]]
        anchors = [square_anchors(*level, images.tensor) for level in zip(shapes, self.strides, strict=True)]
        targets = self.prepare_targets(batched_inputs, images)
        self.criterion.note_divisors(anchors, self._cells(shapes, targets), targets.instances)

    def predict(self, images: ImageBatch, targets: ATSSTargets | None = None) -> ATSSOutputs:
        """Predictions of every cell; the targets are not looked at."""
        features = list(self.backbone(images.tensor).values())  # (B, D, H_l, W_l) each, fine to coarse
        shapes = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        anchors = [square_anchors(*level, images.tensor) for level in zip(shapes, self.strides, strict=True)]
        return {"levels": self.bbox_head(features), "anchors": anchors, "shapes": shapes}

    def losses(self, outputs: ATSSOutputs, targets: ATSSTargets) -> dict[str, Tensor]:
        """Weighted losses by name, scalars; see `ATSSCriterion`.

        Raises:
            ValueError: a class index outside 0..num_classes - 1.
        """
        valid = self._cells(outputs["shapes"], targets)
        return self.criterion(outputs["levels"], outputs["anchors"], valid, targets.instances)

    def _cells(self, shapes: Sequence[Size], targets: ATSSTargets) -> list[Tensor]:
        """(B, N_l) bool of each level: the cells that belong to an image."""
        return [
            cells_of_images(shape, stride, targets.image_sizes, self.device)
            for shape, stride in zip(shapes, self.strides, strict=True)
        ]

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """The best cells of each level, a fixed number N of all levels: what `dense_boxes` decodes.

        `scores` (B, N, K) probabilities, `centerness` (B, N) in [0, 1], `boxes` (B, N, 4) XYXY pixels. A level with
        fewer cells is filled up with some whose scores are 0.
        """
        outputs = self.predict(images)
        levels = [
            best_cells(*level, self.candidates_per_level)
            for level in zip(outputs["levels"], outputs["anchors"], strict=True)
        ]
        boxes, scores, quality = (torch.cat(part, dim=1) for part in zip(*levels, strict=True))
        return {"scores": scores, "centerness": quality, "boxes": boxes}

    def export_settings(self) -> dict[str, Any]:
        """What `dense_boxes` decodes with."""
        return {
            "score_threshold": self.score_threshold,
            "nms_threshold": self.nms_threshold,
            "max_detections": self.max_detections,
        }

    def postprocess(self, outputs: ATSSOutputs, sizes: ImageSizes) -> list[dict[str, Instances]]:
        """`instances` of each image, see `detect`."""
        results = []
        for index, (image_size, size) in enumerate(zip(sizes.images, sizes.outputs, strict=True)):
            of_image = [DensePredictions(*(part[index] for part in level)) for level in outputs["levels"]]
            results.append({"instances": self.detect(of_image, outputs["anchors"], image_size, size)})
        return results

    def detect(
        self,
        predictions: Sequence[DensePredictions],
        anchors: Sequence[Tensor],
        image_size: tuple[int, int],
        size: tuple[int, int],
    ) -> Instances:
        """Detections of one image, best first.

        Args:
            predictions: of each level, without the axis of images.
            anchors: (N_l, 4) of each level.
            image_size: (h, w) that boxes are clipped to.
            size: (h, w) of the result.

        Returns:
            `pred_boxes` (XYXY pixels), `scores` (class times centerness), `pred_classes`.
        """
        levels = [self._candidates(*pair) for pair in zip(predictions, anchors, strict=True)]
        boxes, scores, quality = (torch.cat(part) for part in zip(*levels, strict=True))
        candidates = Boxes(boxes)
        candidates.clip(image_size)
        rows, classes = (scores > self.score_threshold).nonzero(as_tuple=True)
        scores = scores[rows, classes] * quality[rows]
        kept = batched_nms(candidates.tensor[rows], scores, classes, self.nms_threshold)[: self.max_detections]
        result = Instances(size)
        result.pred_boxes = candidates[rows[kept]]
        result.pred_boxes.scale(size[1] / image_size[1], size[0] / image_size[0])
        result.scores = scores[kept]
        result.pred_classes = classes[kept]
        return result

    def _candidates(self, level: DensePredictions, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best cells of a level: boxes (n, 4), class probabilities (n, K), centreness (n,) in [0, 1]."""
        scores, quality = level.logits.sigmoid(), level.centerness.sigmoid()
        best = (scores * quality[:, None]).amax(1)
        chosen = best.topk(min(self.candidates_per_level, len(best))).indices
        return DELTAS.apply_deltas(level.deltas[chosen], anchors[chosen]), scores[chosen], quality[chosen]
