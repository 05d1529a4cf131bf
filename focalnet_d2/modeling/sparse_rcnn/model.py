"""Sparse R-CNN: a fixed set of learned proposals, refined stage by stage (arXiv:2011.12450).

Written so that weights of mmdetection give mmdetection's detections: images padded to a multiple of 32, regions by
the FPN paper's level rule with 2 x 2 samples a position, box changes bounded either way, boxes not clipped.

Shapes: B images, Q proposals, K classes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from detectron2.modeling import Backbone
from detectron2.structures import Instances
from torch import Tensor

from focalnet_d2.layers.region_pooling import pool
from focalnet_d2.set_prediction.criterion import SetCriterion
from focalnet_d2.set_prediction.outputs import QueryOutputs
from focalnet_d2.set_prediction.postprocessing import select_detections
from focalnet_d2.set_prediction.targets import Targets, note_targets, prepare_targets

from ..base import MM_DIVISOR, PIXEL_MEAN, PIXEL_STD, ImageBatch, ImageModel, ImageSizes, image_limits, training_targets
from .checkpoint import LAYOUTS
from .dynamic_head import DynamicHead


class SparseRCNN(ImageModel):
    """Detector without anchors and without suppression.

    Args:
        backbone: feature pyramid, all levels of one width.
        head: learned proposals and their stages.
        criterion: used in training only.
        num_classes: classes K.
        num_select: detections an image.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Raises:
        ValueError: num_select above Q * K.
    """

    layouts = LAYOUTS
    tasks = ("bbox",)
    export_decoder = "query_boxes"

    def __init__(
        self,
        backbone: Backbone,
        *,
        head: DynamicHead,
        criterion: SetCriterion,
        num_classes: int = 80,
        num_select: int = 300,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        if num_select > head.num_proposals * num_classes:
            raise ValueError(
                f"num_select {num_select} is more than {head.num_proposals} proposals times {num_classes} classes: "
                "raise head.num_proposals or lower num_select."
            )
        self.backbone = backbone
        self.head = head
        self.criterion = criterion
        self.num_select = num_select

    def preprocess(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageBatch:
        """Images, normalized and padded to a multiple of 32."""
        return self.normalize_and_pad(batched_inputs, MM_DIVISOR)

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> list[Targets]:
        """Classes and boxes of the `instances` of each image.

        Raises:
            ValueError: a class index outside 0..num_classes - 1.
        """
        return prepare_targets(training_targets(batched_inputs, "instances"), self.device, self.num_classes)

    def note_divisors(self, batched_inputs: Sequence[Mapping[str, Any]]) -> None:
        """Objects of the images together."""
        note_targets(training_targets(batched_inputs, "instances"))

    def predict(self, images: ImageBatch, targets: Sequence[Targets] | None = None) -> QueryOutputs:
        """Predictions of every stage, boxes not clipped; the targets are not looked at."""
        features = list(self.backbone(images.tensor).values())  # (B, C, H_l, W_l) each, fine to coarse
        *earlier, last = self.head(features, images.sizes.images)
        return {"pred_logits": last["pred_logits"], "pred_boxes": last["pred_boxes"], "aux_outputs": earlier}

    def losses(self, outputs: QueryOutputs, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Weighted losses by name, scalars; see `SetCriterion`."""
        return self.criterion(outputs, targets)

    def postprocess(self, outputs: QueryOutputs, sizes: ImageSizes) -> list[dict[str, Instances]]:
        """`instances` of each image: the best `num_select` detections, scaled to its output size."""
        logits, boxes = outputs["pred_logits"].float(), outputs["pred_boxes"].float()
        detections = select_detections(logits, boxes, sizes.outputs, num_select=self.num_select)
        return [{"instances": image} for image in detections]

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """`pred_logits` (B, Q, K) and `pred_boxes` (B, Q, 4), cxcywh over the unpadded image."""
        features = list(self.backbone(images.tensor).values())  # (B, C, H_l, W_l) each, fine to coarse
        scale = image_limits(images.padding_mask)  # (B, 1, 4)
        last = self.head.refine(features, scale, partial(pool, self.head.pooler))[-1]
        return {"pred_logits": last["pred_logits"], "pred_boxes": last["pred_boxes"]}

    def export_settings(self) -> dict[str, Any]:
        """What `query_boxes` decodes with."""
        return {"num_select": self.num_select, "clip_boxes": False}

    def static_forward(self, images: ImageBatch) -> None:
        """Pyramid, then all stages on the proposals' features and regions of the size that the stages take."""
        self.backbone(images.tensor)
        proposals = self.head.init_proposal_features.weight[None]  # (1, Q, C)
        regions = torch.empty(
            *proposals.shape[1:], *cast(tuple[int, int], self.head.pooler.output_size)
        )  # (Q, C, S, S)
        for stage in self.head.stages:
            stage(proposals, regions)
