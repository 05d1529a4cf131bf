"""From a dataset dict with a label map to one mask for every class in the image."""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from detectron2.structures import Instances

from ..channels import ImageFormat
from ..label_maps import check_label_size, transform_labels
from ..panoptic_labels import label_runs, semantic_from_panoptic
from ..semantic_labels import read_record_labels, unknown_labels_message
from .base import ImageMapper, mask_targets
from .panoptic import read_segments


class SemanticMaskMapper(ImageMapper):
    """Targets: every class with at least one pixel after the transforms, in ascending order.

    Where the dataset dict has no sem_seg_file_name, the classes are those of its panoptic segments.

    Args:
        is_train, augmentations, image_format: see `ImageMapper`.
        num_classes: K; labels run from 0 to K - 1.
        ignore_label: label of pixels without a class.
    """

    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation],
        num_classes: int,
        image_format: ImageFormat = "RGB",
        ignore_label: int = 255,
    ):
        super().__init__(is_train, augmentations=augmentations, image_format=image_format)
        if 0 <= ignore_label < num_classes:
            raise ValueError(f"ignore_label={ignore_label} must not be one of the num_classes={num_classes} classes.")
        self.num_classes, self.ignore_label = num_classes, ignore_label

    def make_targets(
        self, dataset_dict: dict, transforms: T.Transform, file_size: tuple[int, int], image_size: tuple[int, int]
    ) -> Instances:
        """Instances of `mask_targets`; M may be 0.

        Raises:
            FileNotFoundError, ValueError: the label file is missing, damaged, of another size than the image, or
                holds a label that is no class.
        """
        labels = transform_labels(transforms, self.read_labels(dataset_dict, file_size))  # (H, W)
        found = np.unique(label_runs(labels)[0][0])
        present = found[(found >= 0) & (found < self.num_classes)]  # padding is -1, 255 or ignore_label
        return mask_targets(labels == present[:, None, None], present.tolist())

    def read_labels(self, dataset_dict: dict, file_size: tuple[int, int]) -> np.ndarray:
        """Labels of the file (H, W), each a class or ignore_label; raises as `make_targets` says.

        They are uint8 or int32, and in uint8 no class is 255, the value of padding.
        """
        if "sem_seg_file_name" not in dataset_dict:
            label_file = dataset_dict["pan_seg_file_name"]
            ids = read_segments(dataset_dict, file_size)
            labels = semantic_from_panoptic(ids, dataset_dict["segments_info"], self.ignore_label)
        else:
            label_file = dataset_dict["sem_seg_file_name"]
            labels = read_record_labels(dataset_dict)
            check_label_size(labels, file_size, label_file=label_file, image_file=dataset_dict["file_name"])
        found = np.unique(label_runs(labels)[0][0])
        outside = found[((found < 0) | (found >= self.num_classes)) & (found != self.ignore_label)]
        if outside.size:
            raise ValueError(unknown_labels_message(label_file, outside, self.num_classes, self.ignore_label))
        return labels if labels.dtype == np.uint8 and self.num_classes < 256 else labels.astype(np.int32)
