"""From queries to detections."""

from collections.abc import Sequence
from typing import Any, cast

from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances
from torch import Tensor

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy


def select_detections(
    pred_logits: Tensor,
    pred_boxes: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    num_select: int,
    clip_boxes: bool = False,
    nms_threshold: float | None = None,
) -> list[Instances]:
    """The best pairs of query and class of each image, best first; no threshold.

    Args:
        pred_logits: (B, Q, K); pred_boxes: (B, Q, 4) cxcywh in [0, 1].
        image_sizes: (h, w) to scale the boxes to.
        num_select: detections an image.
        clip_boxes: cut boxes at the image's borders and drop empty ones, as detrex does and FocalNet-DINO does not.
        nms_threshold: IoU above which the worse of two boxes of one class goes, before boxes are cut; None keeps all.

    Returns:
        Per image `pred_boxes` (XYXY pixels), `scores`, `pred_classes`, `query_indices`.
    """
    num_classes = pred_logits.shape[-1]
    scores, pairs = pred_logits.sigmoid().flatten(1).topk(num_select, dim=1)  # (B, num_select)
    queries, classes = pairs // num_classes, pairs % num_classes
    boxes = box_cxcywh_to_xyxy(pred_boxes.gather(1, queries[..., None].expand(-1, -1, 4)))
    results = []
    for index, (height, width) in enumerate(image_sizes):
        result = Instances(
            (height, width),
            pred_boxes=Boxes(boxes[index] * boxes.new_tensor([width, height, width, height])),
            scores=scores[index],
            pred_classes=classes[index],
            query_indices=queries[index],
        )
        if nms_threshold is not None:
            kept = batched_nms(result.pred_boxes.tensor, result.scores, result.pred_classes, nms_threshold)
            result = result[cast(Any, kept)]
        if clip_boxes:
            result.pred_boxes.clip((height, width))
            result = result[result.pred_boxes.nonempty()]
        results.append(result)
    return results
