"""Images of noise with random objects, as mapper dicts."""

import torch
from detectron2.structures import BitMasks, Boxes, Instances


def images_with_boxes(size: tuple[int, int], batch: int, objects: int, num_classes: int) -> list[dict]:
    """Boxes of a tenth to a half of the image's sides."""
    height, width = size
    inputs = []
    for _ in range(batch):
        sides = (torch.rand(objects, 2) * 0.4 + 0.1) * torch.tensor([width, height])
        corner = torch.rand(objects, 2) * (torch.tensor([width, height]) - sides)
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.cat([corner, corner + sides], dim=1))
        instances.gt_classes = torch.randint(num_classes, (objects,))
        inputs.append({"image": torch.randint(256, (3, height, width), dtype=torch.uint8), "instances": instances})
    return inputs


def image_with_discs(size: tuple[int, int], objects: int, num_classes: int) -> list[dict]:
    """One image whose objects are discs."""
    height, width = size
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    masks = []
    for y, x, r in torch.rand(objects, 3).tolist():
        radius = (0.05 + 0.2 * r) * min(size)
        masks.append((rows - y * height) ** 2 + (columns - x * width) ** 2 < radius**2)
    instances = Instances(size)
    instances.gt_classes, instances.gt_masks = torch.randint(num_classes, (objects,)), BitMasks(torch.stack(masks))
    return [{"image": torch.randint(256, (3, *size), dtype=torch.uint8), "instances": instances}]
