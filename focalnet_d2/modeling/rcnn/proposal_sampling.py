"""Which boxes are trained on which objects: the matching and sampling of the R-CNNs.

Follows mmdetection 2.11, from which Detectron2's `Matcher` and `ROIHeads` differ in three ways that change the result:
an object's best box is positive only from a smallest IoU on, and is then trained on that object even if it overlaps
another one more; and proposals are matched before the objects themselves join them, so that the best proposal is one.

Shapes: N boxes, M objects, K classes, S samples.
"""

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.sampling import subsample_labels
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor


class MaxIoUMatcher:
    """Every box belongs to the object that it overlaps most.

    Args:
        positive: IoU from which on a box is positive.
        negative: IoU below which it is background; in between it is neither.
        best_from: IoU from which on the best boxes of each object (all that are equally good) are positive for it,
            whatever else they overlap; of several objects the last one in the list takes the box. None: never.
    """

    def __init__(self, positive: float, negative: float, *, best_from: float | None = None):
        if not 0 < negative <= positive <= 1:
            raise ValueError(f"IoU thresholds need 0 < negative <= positive <= 1, got {negative} and {positive}.")
        self.positive, self.negative, self.best_from = positive, negative, best_from

    def __call__(self, iou: Tensor) -> tuple[Tensor, Tensor]:
        """(M, N) IoU -> (N,) object of each box, 0 without objects; (N,) 1 positive, 0 background, -1 neither."""
        objects, boxes = iou.shape
        if objects == 0:
            nothing = torch.zeros(boxes, dtype=torch.int64, device=iou.device)
            return nothing, nothing.clone()
        overlap, matches = iou.max(dim=0)  # (N,)
        labels = torch.full_like(matches, -1)
        labels[overlap < self.negative] = 0
        labels[overlap >= self.positive] = 1
        if self.best_from is not None and boxes:
            best = iou.max(dim=1, keepdim=True).values  # (M, 1)
            of_object, best_boxes = ((iou == best) & (best >= self.best_from)).nonzero(as_tuple=True)
            matches = matches.scatter_reduce(0, best_boxes, of_object, "amax", include_self=False)
            labels[best_boxes] = 1
        return matches, labels


class SharedMasks:
    """Masks of samples, of which many are of the same object: kept once for each object, (M, H, W) bool.

    Stands in for Detectron2's `BitMasks`, which would hold an image-sized mask for each sample.

    Args:
        masks: (M, H, W) of the objects.
        objects: (S,) object of each sample.
    """

    def __init__(self, masks: Tensor, objects: Tensor):
        self.masks, self.objects = masks, objects

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, item: Tensor | slice) -> "SharedMasks":
        return SharedMasks(self.masks, self.objects[item])

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """The part of each sample's mask within its box: (S, 4) XYXY pixels -> (S, mask_size, mask_size) bool."""
        rois = torch.cat([self.objects[:, None].to(boxes), boxes], dim=1)  # (S, 5)
        pool = ROIAlign((mask_size, mask_size), 1.0, 0, aligned=True)
        return pool(self.masks[:, None].float(), rois)[:, 0] >= 0.5


@torch.no_grad()
def sample_proposals(
    proposals: Boxes,
    targets: Instances,
    *,
    matcher: MaxIoUMatcher,
    num_classes: int,
    num_samples: int,
    positive_fraction: float,
) -> Instances:
    """A random part of an image's proposals and objects, with what to train each of them on.

    Args:
        proposals: N boxes, XYXY pixels.
        targets: M objects with gt_boxes, gt_classes and gt_masks.
        num_samples: samples an image, fewer if there are not as many boxes.
        positive_fraction: largest share of positives; background fills the rest.

    Returns:
        Instances with proposal_boxes, gt_classes (K for background), is_object (the box is an object's own); and, if
        there are objects, gt_boxes and gt_masks, which mean nothing for background.
    """
    matches, labels = matcher(pairwise_iou(targets.gt_boxes, proposals))
    object_indices = torch.arange(len(targets), device=matches.device)
    matches = torch.cat([object_indices, matches])  # (M + N,)
    labels = torch.cat([torch.ones_like(object_indices), labels])  # (M + N,)
    classes = torch.full_like(labels, num_classes)
    classes[labels == 1] = targets.gt_classes[matches[labels == 1]]
    classes[labels == -1] = -1
    chosen = torch.cat(subsample_labels(classes, num_samples, positive_fraction, num_classes))  # (S,)
    samples = Instances(targets.image_size)
    samples.proposal_boxes = Boxes.cat([targets.gt_boxes, proposals])[chosen]
    samples.gt_classes = classes[chosen]
    samples.is_object = chosen < len(targets)
    if len(targets):
        samples.gt_boxes = targets.gt_boxes[matches[chosen]]
        samples.gt_masks = SharedMasks(targets.gt_masks.tensor, matches[chosen])
    return samples
