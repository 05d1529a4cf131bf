"""From a panoptic dataset dict to one mask and class for every segment, things and stuff alike."""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from detectron2.structures import Instances

from ..channels import ImageFormat
from ..label_maps import check_label_size, transform_labels
from ..panoptic_labels import read_listed_ids, semantic_from_panoptic
from .base import ImageMapper, mask_targets


class PanopticMapper(ImageMapper):
    """Targets: every segment that is no crowd, in the order of segments_info.

    Args:
        is_train, augmentations, image_format: see `ImageMapper`.
        drop_empty: leave out segments that the crop removed. As published they stay as empty targets, are matched
            and counted.
    """

    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation],
        image_format: ImageFormat = "RGB",
        drop_empty: bool = False,
    ):
        super().__init__(is_train, augmentations=augmentations, image_format=image_format)
        self.drop_empty = drop_empty

    def make_targets(
        self, dataset_dict: dict, transforms: T.Transform, file_size: tuple[int, int], image_size: tuple[int, int]
    ) -> Instances:
        """Instances of `mask_targets`; M may be 0.

        Raises:
            FileNotFoundError, ValueError: the panoptic PNG is missing, damaged, of another size than the image, or
                has segments that segments_info does not list.
        """
        ids = read_segments(dataset_dict, file_size)
        segments = [segment for segment in dataset_dict["segments_info"] if not segment["iscrowd"]]
        numbered = [{"id": segment["id"], "category_id": number} for number, segment in enumerate(segments)]
        numbers = semantic_from_panoptic(ids, numbered, ignore_label=max(255, len(segments)))  # mostly one byte a pixel
        numbers = transform_labels(transforms, numbers)  # (H, W)
        kept = np.arange(len(segments), dtype=numbers.dtype)
        if self.drop_empty:
            kept = np.intersect1d(kept, numbers)
        masks = numbers == kept[:, None, None]  # (M, H, W)
        return mask_targets(masks, [segments[number]["category_id"] for number in kept])


def read_segments(dataset_dict: dict, file_size: tuple[int, int]) -> np.ndarray:
    """(H, W) int32 segment ids of an image, checked against its segments_info and the (h, w) of the image."""
    label_file = dataset_dict["pan_seg_file_name"]
    ids = read_listed_ids(label_file, dataset_dict["segments_info"], dataset_dict.get("renumbered_segments"))
    check_label_size(ids, file_size, label_file=label_file, image_file=dataset_dict["file_name"])
    return ids
