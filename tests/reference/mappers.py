"""Reference implementations of the mappers, in the plain steps of the published code.

Each transform is applied to the whole image before the next; every object is transformed and drawn at full size by
itself; every segment of a panoptic PNG is looked for in the whole map of ids. Random numbers and results are those of
the library's mappers. Where the published code differs in both, it is the library's way that is written out: label maps
are moved as bytes (published: as floats, half a pixel off), and colors are changed by the library's color jitter.
"""

import copy

import numpy as np
import pycocotools.mask as mask_codec
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import read_image
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from PIL import Image

from focalnet_d2.data.geometry import Geometry
from focalnet_d2.data.transforms import DetrAugmentation


def one_by_one(augmentation: T.Augmentation) -> T.Augmentation:
    """The augmentation without applying several transforms at once."""
    if isinstance(augmentation, DetrAugmentation):
        apart = copy.copy(augmentation)
        apart.resized, apart.cropped = one_by_one(augmentation.resized), one_by_one(augmentation.cropped)
        return apart
    if isinstance(augmentation, Geometry | T.AugmentationList):
        return T.AugmentationList([one_by_one(part) for part in augmentation.augs])
    return augmentation


class ReferenceMapper:
    """Reads, augments and makes a tensor; a subclass adds targets.

    Args:
        augmentations: those of the library's mapper.
    """

    def __init__(self, augmentations: list[T.Augmentation]):
        self.augmentations = T.AugmentationList([one_by_one(one) for one in augmentations])

    def __call__(self, record: dict) -> dict:
        record = copy.deepcopy(record)
        sample, transforms = self.augment(self.read(record))
        image_size = sample["image"].shape[1:]
        return sample | {"instances": self.targets(record, transforms, tuple(image_size))}

    def read(self, record: dict) -> np.ndarray:
        """(H, W, 3) uint8."""
        return read_image(record["file_name"], format="RGB")

    def augment(self, image: np.ndarray) -> tuple[dict, T.TransformList]:
        """The sample with its image, and what was done to it."""
        aug_input = T.AugInput(image)
        transforms = self.augmentations(aug_input)
        return {"image": torch.as_tensor(np.ascontiguousarray(aug_input.image.transpose(2, 0, 1)))}, transforms

    def targets(self, record: dict, transforms: T.TransformList, image_size: tuple[int, int]) -> Instances:
        """Targets of the augmented image."""
        raise NotImplementedError


class ReferenceDetectionMapper(ReferenceMapper):
    """Boxes, one at a time."""

    def targets(self, record, transforms, image_size):
        instances, boxes, classes = Instances(image_size), [], []
        for annotation in record["annotations"]:
            if not annotation.get("iscrowd", 0):
                box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
                box = transforms.apply_box(np.array([box]))[0].clip(min=0)
                boxes.append(np.minimum(box, [*image_size[::-1], *image_size[::-1]]))
                classes.append(annotation["category_id"])
        instances.gt_boxes = Boxes(torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32))
        instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
        return instances[instances.gt_boxes.nonempty(threshold=1e-5)]


class ReferenceInstanceMapper(ReferenceMapper):
    """Objects drawn at full size; the empty ones are left out."""

    def targets(self, record, transforms, image_size):
        masks, classes = [], []
        for annotation in record["annotations"]:
            if not annotation.get("iscrowd", 0):
                polygons = [np.reshape(polygon, (-1, 2)).astype(np.float64) for polygon in annotation["segmentation"]]
                moved = [transforms.apply_coords(polygon).ravel().tolist() for polygon in polygons]
                drawn = mask_codec.decode(mask_codec.frPyObjects(moved, *image_size))  # (H, W, polygons)
                masks.append(torch.as_tensor(drawn, dtype=torch.uint8).any(dim=2))
                classes.append(annotation["category_id"])
        instances = with_masks(masks, classes, image_size)
        return instances[instances.gt_masks.nonempty()]


class ReferencePanopticMapper(ReferenceMapper):
    """Segments, each compared with the whole map of ids."""

    def targets(self, record, transforms, image_size):
        colors = read_image(record["pan_seg_file_name"], "RGB")
        colors = transforms.apply_segmentation(colors).astype(np.int32)
        ids = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
        masks, classes = [], []
        for segment in record["segments_info"]:
            if not segment["iscrowd"]:
                masks.append(ids == segment["id"])
                classes.append(segment["category_id"])
        return with_masks([torch.from_numpy(np.ascontiguousarray(mask)) for mask in masks], classes, image_size)


class ReferenceSemanticMapper(ReferenceMapper):
    """Classes that occur, each compared with the whole label map."""

    def targets(self, record, transforms, image_size):
        labels = np.asarray(Image.open(record["sem_seg_file_name"]))
        labels = transforms.apply_segmentation(labels)
        classes = [label for label in np.unique(labels) if label != 255]
        masks = [torch.from_numpy(np.ascontiguousarray(labels == label)) for label in classes]
        return with_masks(masks, [int(label) for label in classes], image_size)


def with_masks(masks: list[torch.Tensor], classes: list[int], image_size: tuple[int, int]) -> Instances:
    """Instances of masks (H, W) and the boxes around them."""
    instances = Instances(image_size)
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    instances.gt_masks = BitMasks(torch.stack(masks) if masks else torch.zeros(0, *image_size, dtype=torch.bool))
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    return instances
