"""Mask R-CNN and Cascade Mask R-CNN on a FocalNet with a feature pyramid (arXiv:1703.06870, 1906.09756).

Pyramid, heads and structures are Detectron2's. Converted mmdetection 2.11 weights shall give their own detections, and
training shall be what it was there, so where the two differ mmdetection decides:

- images are RGB, normalised, then padded with zeros to a multiple of 32 (the recipe's pyramid and constants here);
- anchors are centred on multiples of the stride (offset 0), RoIAlign is aligned with as many samples as a cell needs
  (sampling ratio 0), levels follow the FPN paper's rule in both: `configs/common/models/mask_rcnn.py`;
- deltas are bounded on both sides (`box_deltas`), the last stage's boxes are class-specific, background is last;
- matching: `matching`; anchors may be drawn if they lie over the image with its own padding (Mask R-CNN) or within
  the image (Cascade), and only those are matched;
- regions are pooled in float32 under autocast: box corners have no room in a half-precision mantissa;
- L1 and Smooth L1 (beta 1/9), numbers of proposals, thresholds: in the models' fragments;
- the anchors' losses are divided by the number of sampled anchors (`num_samples`), not by 256 an image.

Detectron2's way was kept where only rare cases differ: proposals and detections without area are dropped, fresh heads
start from Detectron2's values.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypedDict, cast

import torch
import torch.nn.functional as F
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, MaskRCNNConvUpsampleHead, StandardROIHeads
from detectron2.structures import Boxes, ImageList, Instances, pairwise_iou
from detectron2.utils.events import EventStorage, has_event_storage
from torch import Tensor, nn

from focalnet_d2.set_prediction.losses import object_weights
from focalnet_d2.set_prediction.targets import checked_labels
from focalnet_d2.utils.step_totals import share, total

from ..base import (
    MM_DIVISOR,
    PIXEL_MEAN,
    PIXEL_STD,
    ImageBatch,
    ImageModel,
    ImageSizes,
    check_pixel_statistics,
    training_targets,
)
from .checkpoint import LAYOUTS
from .exported import detect, stages
from .proposal_sampling import sample_proposals

MASK_THRESHOLD = 0.5  # of the probability that a pixel belongs to an object
COUNTED_PROPOSALS, COUNTED_MASKS = 1000, 100  # regions through every box head and every mask head in FLOP counts


class RCNNOutputs(TypedDict, total=False):
    """What Detectron2's heads give.

    Attributes:
        detections: of each image at the size of the network's input, in evaluation.
        losses: weighted scalars by name, in training.
    """

    detections: list[Instances]
    losses: dict[str, Tensor]


class MaskRCNN(ImageModel, GeneralizedRCNN):
    """Two-stage detector with masks.

    Args:
        backbone: FocalNet in Detectron2's `FPN`.
        proposal_generator: `RegionProposals`.
        roi_heads: `MaskRCNNHeads`, or `CascadeHeads` for `CascadeMaskRCNN`.
        num_classes: classes K.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Raises:
        ValueError: the heads are for another number of classes.
    """

    layouts = LAYOUTS
    tasks = ("bbox", "segm")
    export_decoder = "regions"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        proposal_generator: nn.Module,
        roi_heads: nn.Module,
        num_classes: int = 80,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        check_pixel_statistics(pixel_mean, pixel_std)
        GeneralizedRCNN.__init__(  # whose images are normalized by the same two numbers as an ImageModel's
            self,
            backbone=backbone,
            proposal_generator=proposal_generator,
            roi_heads=roi_heads,
            pixel_mean=list(pixel_mean),
            pixel_std=list(pixel_std),
        )
        if roi_heads.num_classes != num_classes:
            raise ValueError(
                f"num_classes is {num_classes}, but roi_heads.num_classes is {roi_heads.num_classes}: set num_classes "
                "alone, to which the recipe's heads are linked."
            )
        self.num_classes = num_classes

    def preprocess(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageBatch:
        """Images, normalized and padded to a multiple of the pyramid's coarsest stride."""
        return self.normalize_and_pad(batched_inputs, self.backbone.size_divisibility)

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> list[Instances]:
        """`instances` of each image with `gt_boxes`, `gt_classes` and `gt_masks`, on the model's device.

        Raises:
            ValueError: a class index outside 0..num_classes - 1, or no masks to train on.
        """
        instances = training_targets(batched_inputs, "instances")
        for objects in instances:
            checked_labels(objects, self.device, self.num_classes)
            if not objects.has("gt_masks"):
                raise ValueError(
                    "The mask heads need gt_masks: use BoxAndMaskMapper and a data set with segmentations."
                )
        return [objects.to(self.device) for objects in instances]

    def predict(self, images: ImageBatch, targets: list[Instances] | None = None) -> RCNNOutputs:
        """Proposals and what the heads make of them: losses where there are targets, detections else.

        Detectron2's modules compute their losses themselves, amid what they predict.
        """
        batch = ImageList(images.tensor, images.sizes.images)
        features = self.backbone(images.tensor)
        if targets is None:
            proposals, _ = self.proposal_generator(batch, features, None)
            detections, _ = self.roi_heads(batch, features, proposals, None)
            return {"detections": detections}
        with nullcontext() if has_event_storage() else EventStorage():  # Detectron2's heads note numbers in one
            proposals, proposal_losses = self.proposal_generator(batch, features, targets)
            _, head_losses = self.roi_heads(batch, features, proposals, targets)
        return {"losses": {**head_losses, **proposal_losses}}

    def losses(self, outputs: RCNNOutputs, targets: list[Instances]) -> dict[str, Tensor]:
        """Weighted losses by name, scalars, as `predict` found them."""
        return outputs.get("losses", {})

    def postprocess(self, outputs: RCNNOutputs, sizes: ImageSizes) -> list[dict[str, Instances]]:
        """`instances` of each image, scaled and its masks pasted at its output size."""
        return [
            {"instances": detector_postprocess(image, *size, MASK_THRESHOLD)}
            for image, size in zip(outputs.get("detections", []), sizes.outputs, strict=True)
        ]

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """`boxes` (B, D, 4), `scores` (B, D), `class_ids` (B, D) and `masks` (B, D, M, M); see `detect`."""
        return detect(self.backbone, self.proposal_generator, self.roi_heads, images)

    def export_settings(self) -> dict[str, Any]:
        """The probability from which on a pixel belongs to a mask; all else is in the graph."""
        return {"mask_threshold": MASK_THRESHOLD}

    def static_forward(self, images: ImageBatch) -> None:
        """Pyramid, proposals, each box head on 1000 regions, each mask head on 100: what mmdetection counts."""
        features = self.backbone(images.tensor)
        proposals, heads = self.proposal_generator, self.roi_heads
        proposals.rpn_head([features[name] for name in proposals.in_features])
        channels = features[proposals.in_features[0]].shape[1]
        boxes = torch.empty(COUNTED_PROPOSALS, channels, *heads.box_pooler.output_size)
        masks = torch.empty(COUNTED_MASKS, channels, *heads.mask_pooler.output_size)
        for head, predictor in zip(stages(heads.box_head), stages(heads.box_predictor), strict=True):
            predictor(head(boxes))
        for head in stages(heads.mask_head):
            head.layers(masks)


class CascadeMaskRCNN(MaskRCNN):
    """Mask R-CNN whose box and mask heads stand in three stages; `roi_heads` are `CascadeHeads`."""


class RegionProposals(RPN):
    """Detectron2's region proposal network, matching as mmdetection does.

    `anchor_boundary_thresh` is mmdetection's allowed border: 0 takes anchors within the image, a negative value those
    whose centres lie over the image with its own padding; all others are neither positive nor background.
    """

    def losses(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        gt_labels: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        gt_boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        """Detectron2's losses, divided by `num_samples` of the labels, where a batch has parts of those of the step.

        Of each level, anchors (N_l, 4), scores (B, N_l) and deltas (B, N_l, 4); of each image, (R,) labels and (R, 4)
        objects' boxes.
        """
        losses = super().losses(anchors, pred_objectness_logits, gt_labels, pred_anchor_deltas, gt_boxes)
        divided_by = self.batch_size_per_image * len(gt_labels)
        samples = total("sampled anchors", num_samples(gt_labels))
        return {name: loss * (divided_by / samples) for name, loss in losses.items()}

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each image: (R,) labels 1, 0, -1 of the anchors of all levels, and (R, 4) the objects' boxes."""
        all_anchors = Boxes.cat(anchors)
        labels, boxes = zip(*(self._label_and_sample(all_anchors, image) for image in gt_instances), strict=True)
        return list(labels), list(boxes)

    def _label_and_sample(self, anchors: Boxes, image: Instances) -> tuple[Tensor, Tensor]:
        allowed = self._allowed(anchors, image.image_size).nonzero()[:, 0]
        matches, match_labels = self.anchor_matcher(pairwise_iou(image.gt_boxes, anchors[allowed]))
        labels = torch.full_like(anchors.tensor[:, 0], -1, dtype=torch.int64)  # (R,)
        labels[allowed] = self._subsample_labels(match_labels)
        boxes = anchors.tensor.clone()  # where there is no object: anything, for it is not trained
        if len(image):
            boxes[allowed] = image.gt_boxes.tensor[matches]
        return labels, boxes

    def _allowed(self, anchors: Boxes, image_size: tuple[int, int]) -> Tensor:
        """(R,) bool: the anchors to be matched."""
        if self.anchor_boundary_thresh >= 0:
            return anchors.inside_box(image_size, self.anchor_boundary_thresh)
        height, width = (-(-side // MM_DIVISOR) * MM_DIVISOR for side in image_size)
        x, y = anchors.get_centers().unbind(-1)
        return (x < width) & (y < height)

    def predict_proposals(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        image_sizes: list[tuple[int, int]],
    ) -> list[Instances]:
        """Detectron2's proposals, from float32 scores, since suppression takes no others.

        Of each level, scores (B, N_l) and deltas (B, N_l, 4).
        """
        logits = [level.float() for level in pred_objectness_logits]
        return super().predict_proposals(anchors, logits, pred_anchor_deltas, image_sizes)


def num_samples(labels: Sequence[Tensor]) -> int:
    """Positive and background anchors of a batch, at least one of each in every image, as mmdetection counts them.

    Args:
        labels: (R,) of each image: 1 positive, 0 background, -1 neither.
    """
    of_images = torch.stack(list(labels))  # (B, R)
    return int(sum((of_images == value).sum(1).clamp(min=1).sum() for value in (0, 1)))


class RegionPooler(ROIPooler):
    """Detectron2's pooler, in float32."""

    def forward(self, x: list[Tensor], box_lists: list[Boxes]) -> Tensor:
        """L x (B, C, H, W) and B lists of boxes -> (boxes of all images, C, size, size)."""
        return super().forward([level.float() for level in x], box_lists)


class BoxPredictor(FastRCNNOutputLayers):
    """Detectron2's class scores and box deltas, in float32: half precision would tie scores and move boxes."""

    weight_of_class: Tensor | None = None  # (K,) factors of the class loss of regions that show each class

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C) -> class logits (N, K + 1), background last, and deltas (N, 4 K), class by class."""
        logits, deltas = super().forward(x)
        return logits.float(), deltas.float()

    def losses(self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]) -> dict[str, Tensor]:
        """Detectron2's means over the sampled proposals: logits (N, K + 1), deltas (N, 4 K); of a part, its share."""
        part = share((self, "samples"), len(predictions[0]))
        losses = super().losses(predictions, proposals)
        if self.weight_of_class is not None:
            classes = torch.cat([image.gt_classes for image in proposals])  # (N,)
            each = F.cross_entropy(predictions[0], classes, reduction="none")
            weighted = (each * object_weights(self.weight_of_class, classes)).sum() / max(len(classes), 1)
            losses["loss_cls"] = weighted * cast(dict, self.loss_weight).get("loss_cls", 1.0)
        return {name: loss * part for name, loss in losses.items()}


class MaskHead(MaskRCNNConvUpsampleHead):
    """Detectron2's mask head, in float32 from the logits on: pasting a mask takes the type of its values."""

    def layers(self, x: Tensor) -> Tensor:
        """(N, C, H, W) pooled maps -> (N, K, 2 H, 2 W) logits."""
        return super().layers(x).float()

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """(N, C, H, W) pooled maps -> in training the mean over N masks, of a part its share; else see Detectron2."""
        result = super().forward(x, instances)
        if not self.training:
            return result
        part = share((self, "masks"), len(x))
        return {name: loss * part for name, loss in result.items()}


class MaskRCNNHeads(StandardROIHeads):
    """Detectron2's box and mask heads, trained on mmdetection's choice of proposals."""

    def label_and_sample_proposals(self, proposals: list[Instances], targets: list[Instances]) -> list[Instances]:
        """See `sample_proposals`."""
        return [
            sample_proposals(
                image.proposal_boxes,
                objects,
                matcher=self.proposal_matcher,
                num_classes=self.num_classes,
                num_samples=self.batch_size_per_image,
                positive_fraction=self.positive_fraction,
            )
            for image, objects in zip(proposals, targets, strict=True)
        ]
