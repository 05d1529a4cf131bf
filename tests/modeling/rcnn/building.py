"""Small R-CNNs for tests, made from the shipped fragments, and inputs with objects that have masks."""

import torch
from detectron2.config import instantiate
from detectron2.structures import BitMasks, Boxes, Instances

from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.modeling.rcnn.model import MaskRCNN

DETECTORS = ("mask_rcnn", "cascade_mask_rcnn")


def tiny_node(detector: str = "mask_rcnn", *, num_classes: int = 5):
    """The model node of the small recipe with 8 and 16 channels."""
    model = load_recipe(f"{detector}_focalnet_mini_coco").model
    model.num_classes = num_classes
    model.backbone.out_channels = 16
    model.backbone.bottom_up.update(embed_dim=8, depths=[1, 1, 1, 1], focal_levels=[1, 1, 1, 1])
    model.proposal_generator.anchor_generator.sizes = [[8], [16], [24], [32], [48]]
    heads = model.roi_heads
    for head in [heads.box_head] if detector == "mask_rcnn" else heads.box_head:
        head.fc_dims = [16] * len(head.fc_dims)
        head.conv_dims = [8] * len(head.conv_dims)
    for head in [heads.mask_head] if detector == "mask_rcnn" else heads.mask_head:
        head.conv_dims = [8, 8, 8, 8, 8]
    return model


def tiny_rcnn(detector: str = "mask_rcnn", *, seed: int = 0, num_classes: int = 5, **changes) -> MaskRCNN:
    """A network whose class scores differ enough for detections; `changes`: of the backbone."""
    torch.manual_seed(seed)
    node = tiny_node(detector, num_classes=num_classes)
    node.backbone.bottom_up.update(changes)
    model = instantiate(node)
    for name, parameter in model.named_parameters():
        if name.endswith(("cls_score.weight", "bbox_pred.weight", "predictor.weight")):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def rcnn_input(height: int = 64, width: int = 96, *, objects: int = 2, num_classes: int = 5, seed: int = 0) -> dict:
    """A mapper dict with a random image and objects that fill the left half of their boxes."""
    draws = torch.Generator().manual_seed(seed)
    corners = torch.rand(objects, 2, generator=draws) * 0.4
    sides = 0.25 + 0.3 * torch.rand(objects, 2, generator=draws)
    boxes = torch.cat([corners, corners + sides], dim=-1) * torch.tensor([width, height, width, height])
    masks = torch.zeros(objects, height, width, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.round().int().tolist(), strict=True):
        mask[top:bottom, left : (left + right) // 2] = True
    instances = Instances((height, width), gt_boxes=Boxes(boxes), gt_masks=BitMasks(masks))
    instances.gt_classes = torch.randint(num_classes, (objects,), generator=draws)
    image = torch.randint(256, (3, height, width), generator=draws, dtype=torch.uint8)
    return {"image": image, "height": height, "width": width, "file_name": f"{seed}.png", "instances": instances}
