"""Heads of Cascade Mask R-CNN: each stage starts from the boxes of the one before (arXiv:1906.09756, figure 3 c).

As the FocalNet configurations of mmdetection have it; Detectron2's own cascade differs in every one of these points:

- every stage has class-specific boxes and a mask head of its own;
- a box goes on with the deltas of one class: in training the class it is trained on, for background and in evaluation
  the best one but background;
- every stage draws its own samples, with the objects added, which are dropped again before the next stage;
- stages weigh 1, 0.5, 0.25 in the loss, and no gradient is scaled;
- class logits are averaged over the stages before the softmax, Detectron2 averages behind it; masks are averaged as
  probabilities, boxes are the last stage's.

Shapes: B images, N boxes of all images, K classes, S stages.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import cast

import torch
from detectron2.modeling.roi_heads import select_foreground_proposals
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers, fast_rcnn_inference
from detectron2.modeling.roi_heads.mask_head import BaseMaskRCNNHead
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from ..box_deltas import BoxDeltas, refine_boxes
from .proposal_sampling import MaxIoUMatcher, sample_proposals


class CascadeHeads(nn.Module):
    """Detectron2's interface of RoI heads, in S stages; lists have an entry for each of them.

    Args:
        in_features: maps to pool from, fine to coarse.
        box_pooler, mask_pooler: `RegionPooler`, shared by the stages.
        box_head, box_predictor: from pooled maps to class logits and class-specific deltas.
        mask_head: from pooled maps to mask logits.
        proposal_matchers: which boxes of the stage are positive.
        stage_weights: weights of the stages' losses.
        num_classes: classes K.
        num_samples, positive_fraction: see `sample_proposals`.

    Raises:
        ValueError: lists of different lengths.
    """

    mask_on = True  # as Detectron2's heads say it

    def __init__(
        self,
        in_features: Sequence[str],
        *,
        box_pooler: nn.Module,
        box_head: Sequence[nn.Module],
        box_predictor: Sequence[FastRCNNOutputLayers],
        mask_pooler: nn.Module,
        mask_head: Sequence[BaseMaskRCNNHead],
        proposal_matchers: Sequence[MaxIoUMatcher],
        stage_weights: Sequence[float] = (1.0, 0.5, 0.25),
        num_classes: int = 80,
        num_samples: int = 512,
        positive_fraction: float = 0.25,
    ):
        super().__init__()
        lengths = [len(part) for part in (box_head, box_predictor, mask_head, proposal_matchers, stage_weights)]
        if len(set(lengths)) != 1:
            raise ValueError(
                "box_head, box_predictor, mask_head, proposal_matchers and stage_weights need an entry for each stage, "
                f"got {', '.join(map(str, lengths))}."
            )
        self.in_features = tuple(in_features)
        self.box_pooler, self.mask_pooler = box_pooler, mask_pooler
        self.box_head = nn.ModuleList(box_head)
        self.box_predictor = nn.ModuleList(box_predictor)
        self.mask_head = nn.ModuleList(mask_head)
        self.proposal_matchers = list(proposal_matchers)
        self.stage_weights = tuple(stage_weights)
        self.num_classes, self.num_samples, self.positive_fraction = num_classes, num_samples, positive_fraction

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Proposals -> weighted losses of all stages, scalars, in training, detections with masks in evaluation.

        The features are (B, C, H_l, W_l) by their names.
        """
        boxes = [image.proposal_boxes for image in proposals]
        if targets is not None:
            return proposals, self.losses([features[name] for name in self.in_features], boxes, targets)
        sizes = [image.image_size for image in proposals]
        detections = self.detect([features[name] for name in self.in_features], boxes, sizes)
        return self.forward_with_given_boxes(features, detections), {}

    def losses(self, features: list[Tensor], boxes: list[Boxes], targets: list[Instances]) -> dict[str, Tensor]:
        """`loss_cls_stage0`, `loss_box_reg_stage0`, `loss_mask_stage0` and so on, weighted.

        Args:
            features: L x (B, C, H_l, W_l).
            boxes: proposals of each image; targets: its objects.
        """
        losses = {}
        for stage, weight in enumerate(self.stage_weights):
            samples = [self._sample(stage, *image) for image in zip(boxes, targets, strict=True)]
            predictions = self._predict(stage, features, [image.proposal_boxes for image in samples])
            with get_event_storage().name_scope(f"stage{stage}"):
                found = self._predictor(stage).losses(predictions, samples)
                found |= self._mask_losses(stage, features, samples)
            losses |= {f"{name}_stage{stage}": weight * value for name, value in found.items()}
            boxes = self._next_boxes(stage, predictions, samples)
        return losses

    def detect(self, features: list[Tensor], boxes: list[Boxes], image_sizes: list[tuple[int, int]]) -> list[Instances]:
        """Detections of each image, best first: `pred_boxes` XYXY pixels of the input, `scores`, `pred_classes`.

        Args:
            features: L x (B, C, H_l, W_l).
            boxes: proposals of each image; image_sizes: (h, w) of each.
        """
        counts, last_stage, of_stages = [len(image) for image in boxes], len(self.box_predictor) - 1, []
        for stage in range(last_stage + 1):
            logits, deltas = self._predict(stage, features, boxes)
            of_stages.append(logits)  # (N, K + 1)
            if stage < last_stage:
                boxes = self._refine(stage, boxes, deltas, logits[:, :-1].argmax(dim=1), image_sizes)
        scores = (reduce(torch.add, of_stages) / len(of_stages)).softmax(dim=-1)
        predictor = self._predictor(last_stage)
        last = predictor.box2box_transform.apply_deltas(deltas, Boxes.cat(boxes).tensor)  # (N, 4 K)
        detections, _ = fast_rcnn_inference(
            list(last.split(counts)), list(scores.split(counts)), image_sizes,
            predictor.test_score_thresh, predictor.test_nms_thresh, predictor.test_topk_per_image,
        )  # fmt: skip
        return detections

    def forward_with_given_boxes(self, features: dict[str, Tensor], instances: list[Instances]) -> list[Instances]:
        """Adds `pred_masks` to detections: (detections, 1, size, size) probabilities within the box."""
        pooled = self.mask_pooler([features[name] for name in self.in_features], [i.pred_boxes for i in instances])
        classes = torch.cat([image.pred_classes for image in instances])  # (N,)
        rows = torch.arange(len(classes), device=classes.device)
        heads = cast(Iterable[BaseMaskRCNNHead], self.mask_head)
        of_stages = [head.layers(pooled)[rows, classes].sigmoid() for head in heads]  # S x (N, size, size)
        masks = (reduce(torch.add, of_stages) / len(of_stages))[:, None]
        for image, part in zip(instances, masks.split([len(image) for image in instances]), strict=True):
            image.pred_masks = part
        return instances

    def _sample(self, stage: int, boxes: Boxes, targets: Instances) -> Instances:
        return sample_proposals(
            boxes,
            targets,
            matcher=self.proposal_matchers[stage],
            num_classes=self.num_classes,
            num_samples=self.num_samples,
            positive_fraction=self.positive_fraction,
        )

    def _predictor(self, stage: int) -> FastRCNNOutputLayers:
        return cast(FastRCNNOutputLayers, self.box_predictor[stage])

    def _predict(self, stage: int, features: list[Tensor], boxes: list[Boxes]) -> tuple[Tensor, Tensor]:
        """Class logits (N, K + 1) and deltas (N, 4 K) of the boxes of all images."""
        return self.box_predictor[stage](self.box_head[stage](self.box_pooler(features, boxes)))

    def _mask_losses(self, stage: int, features: list[Tensor], samples: list[Instances]) -> dict[str, Tensor]:
        positives, _ = select_foreground_proposals(samples, self.num_classes)
        pooled = self.mask_pooler(features, [image.proposal_boxes for image in positives])
        return self.mask_head[stage](pooled, positives)

    @torch.no_grad()
    def _next_boxes(self, stage: int, predictions: tuple[Tensor, Tensor], samples: list[Instances]) -> list[Boxes]:
        """The samples after the stage, without those that are objects' own boxes."""
        logits, deltas = predictions
        classes = torch.cat([image.gt_classes for image in samples])  # (N,)
        classes = torch.where(classes == self.num_classes, logits[:, :-1].argmax(dim=1), classes)
        boxes, sizes = [image.proposal_boxes for image in samples], [image.image_size for image in samples]
        refined = self._refine(stage, boxes, deltas, classes, sizes)
        return [image[~sample.is_object] for image, sample in zip(refined, samples, strict=True)]

    def _refine(
        self,
        stage: int,
        boxes: list[Boxes],
        deltas: Tensor,
        classes: Tensor,
        image_sizes: list[tuple[int, int]],
    ) -> list[Boxes]:
        """Boxes of each image after a stage, by the deltas (N, 4 K) of their classes (N,)."""
        counts, transform = [len(image) for image in boxes], cast(BoxDeltas, self._predictor(stage).box2box_transform)
        images = zip(boxes, deltas.split(counts), classes.split(counts), image_sizes, strict=True)
        return [refine_boxes(*image[:3], transform, image[3]) for image in images]
