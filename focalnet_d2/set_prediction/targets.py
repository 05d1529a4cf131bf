"""What the matching and the losses compare predictions with."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import torch
from detectron2.structures import Instances
from detectron2.utils import comm
from torch import Tensor

from focalnet_d2.layers.box_ops import box_xyxy_to_cxcywh
from focalnet_d2.utils.one_process import is_alone
from focalnet_d2.utils.step_totals import total


@dataclass
class Targets:
    """Objects of one image.

    Attributes:
        labels: (M,) class indices, counted from 0.
        boxes: (M, 4) cxcywh over the unpadded image, in [0, 1].
    """

    labels: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class MaskTargets:
    """Segments of one image.

    Attributes:
        labels: (M,) class indices, counted from 0.
        masks: (M, H, W) bool over the image as the model gets it.
    """

    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def prepare_targets(instances: Sequence[Instances], device: torch.device, num_classes: int) -> list[Targets]:
    """Ground truth of a batch: `gt_classes` (M,) and `gt_boxes` (M, 4), XYXY pixels of `image_size`, of each image.

    Raises:
        ValueError: a class index outside 0..num_classes - 1.
    """
    targets = []
    for image in instances:
        labels = checked_labels(image, device, num_classes)
        height, width = image.image_size
        boxes = box_xyxy_to_cxcywh(image.gt_boxes.tensor.to(device))
        targets.append(Targets(labels, boxes / boxes.new_tensor([width, height, width, height])))
    return targets


def prepare_mask_targets(instances: Sequence[Instances], device: torch.device, num_classes: int) -> list[MaskTargets]:
    """Ground truth of a batch: `gt_classes` (M,) and `gt_masks` (M, H, W), BitMasks of `image_size`, of each image.

    An image without objects needs no `gt_masks`.

    Raises:
        ValueError: a class index outside 0..num_classes - 1, or masks of another size than the image.
    """
    targets = []
    for image in instances:
        labels = checked_labels(image, device, num_classes)
        masks = torch.zeros(0, *image.image_size, dtype=torch.bool, device=device)
        if len(labels):
            masks = image.gt_masks.tensor.to(device)
        if tuple(masks.shape) != (len(labels), *image.image_size):
            raise ValueError(
                f"The gt_masks have the shape {tuple(masks.shape)}, expected {(len(labels), *image.image_size)}: one "
                "mask of the size of the augmented image for each of gt_classes."
            )
        targets.append(MaskTargets(labels, masks))
    return targets


def checked_labels(image: Instances, device: torch.device, num_classes: int) -> Tensor:
    """(M,) `gt_classes` of an image.

    Raises:
        ValueError: a class index outside 0..num_classes - 1.
    """
    labels = image.gt_classes.to(device)
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < num_classes):
        raise ValueError(
            f"The gt_classes are {sorted(set(labels.tolist()))}, outside the model's 0..{num_classes - 1}: "
            "set the recipe's num_classes to the number of classes of the data set."
        )
    return labels


def count_targets(targets: Sequence[Sized], device: torch.device) -> float:
    """Number of objects of the batch, or of the whole step, averaged over all processes, at least 1."""
    count = torch.tensor(float(note_targets(targets)), device=device)
    return max(mean_over_processes(count).item(), 1.0)


def note_targets(targets: Sequence[Sized]) -> int:
    """Number of objects of the batch, or of the whole step."""
    return total("objects", sum(len(image) for image in targets))


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a scalar () that every process has, without gradient; of a process alone its own."""
    total = value.detach().clone()
    if is_alone():
        return total
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(total)
    return total / comm.get_world_size()
