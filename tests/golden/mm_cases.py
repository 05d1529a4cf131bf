"""Models, inputs and weights of the golden cases of mmdetection and mmsegmentation."""

from functools import lru_cache

import numpy as np
import torch
from detectron2.config import instantiate
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor, nn

from focalnet_d2.checkpoint.layout import apply_table
from focalnet_d2.config.lazy import load_recipe
from tests.golden.cases import arrays, device, focalnet_value, keyed_normal, read_json, tensor
from tests.golden.loading import load_state

RECIPES = {
    "mask_rcnn": "mask_rcnn_focalnet_tiny_lrf_3x",
    "cascade_mask_rcnn": "cascade_mask_rcnn_focalnet_tiny_lrf_3x",
    "atss": "atss_focalnet_tiny_lrf_3x",
    "sparse_rcnn": "sparse_rcnn_focalnet_tiny_lrf_3x",
    "upernet": "upernet_focalnet_tiny_lrf",
}
RCNNS = ("mask_rcnn", "cascade_mask_rcnn")


def mm_cases(section: str | None = None) -> list[dict]:
    """Entries of the `cases.json` of all models, all or those of a section ("eval", "train")."""
    found = [case for kind in RECIPES for case in read_json(kind, "cases.json")]
    return [case for case in found if section in (None, case["kind"])]


def name_of(case: dict) -> str:
    return f"{case['model']}-{case['name']}"


def stored(case: dict) -> dict[str, np.ndarray]:
    return arrays(case["model"], case["npz"])


# Weights


def mm_weight(name: str, shape, case: dict) -> np.ndarray:
    """Value of a parameter or buffer of mmdetection or mmsegmentation."""
    draw = np.asarray(keyed_normal(case["salt"] + name, shape))
    if name.endswith("num_batches_tracked"):
        return np.zeros((), dtype=np.int64)
    if name.endswith("init_proposal_features.weight"):
        value = draw
    elif name.endswith("init_proposal_bboxes.weight"):
        value = 0.5 + 0.12 * np.clip(draw, -3, 3)  # cxcywh, shares of the image
    elif name.endswith((".running_var", ".scale")):
        value = 1 + 0.1 * draw
    else:
        value = focalnet_value(name, draw)
    for part, factor in case.get("factors", ()):
        value = value * factor if part in name else value
    for part, offset in case.get("offsets", ()):
        value = value + np.asarray(offset) if part in name else value
    return value.astype(np.float32)


def official_shapes(case: dict) -> dict[str, list[int]]:
    return read_json(case["model"], case["manifest"])


def build(case: dict) -> nn.Module:
    """An empty model: the shipped recipe with the sizes of the case."""
    model, kind = load_recipe(RECIPES[case["model"]]).model, case["model"]
    bottom_up = model.backbone if kind == "upernet" else model.backbone.bottom_up
    bottom_up.update({**case["backbone"], "drop_path_rate": 0.0})
    model.num_classes = case["num_classes"]
    _SIZES[kind](model, case["sizes"])
    if kind == "upernet":
        _set_windows(model, case.get("test_cfg", {}))
    else:
        model.backbone.out_channels = case["sizes"]["fpn"]
    return instantiate(model)


def _mask_rcnn_sizes(model, sizes: dict) -> None:
    model.roi_heads.box_head.fc_dims = [sizes["fc"]] * 2
    model.roi_heads.mask_head.conv_dims = [sizes["mask"]] * 5


def _cascade_sizes(model, sizes: dict) -> None:
    for head in model.roi_heads.box_head:
        head.conv_dims, head.fc_dims = [sizes["convs"]] * 4, [sizes["fc"]]
    for head in model.roi_heads.mask_head:
        head.conv_dims = [sizes["mask"]] * 5


def _atss_sizes(model, sizes: dict) -> None:
    model.bbox_head.num_convs = sizes["convs"]


def _sparse_rcnn_sizes(model, sizes: dict) -> None:
    model.num_select = sizes["proposals"]
    names = {"proposals": "num_proposals", "stages": "num_stages", "heads": "num_heads"}
    names |= {"ffn": "ffn_dim", "dynamic": "dynamic_dim"}
    model.head.update({ours: sizes[theirs] for theirs, ours in names.items()})


def _upernet_sizes(model, sizes: dict) -> None:
    model.decode_head.dim, model.auxiliary_head.dim = sizes["dim"], sizes["aux_dim"]
    model.decode_head.dropout = model.auxiliary_head.dropout = 0.0
    model.train_size = 0


_SIZES = {
    "mask_rcnn": _mask_rcnn_sizes,
    "cascade_mask_rcnn": _cascade_sizes,
    "atss": _atss_sizes,
    "sparse_rcnn": _sparse_rcnn_sizes,
    "upernet": _upernet_sizes,
}


def _set_windows(model, test_cfg: dict) -> None:
    """The recipe's `inference` as mmsegmentation's `test_cfg` has it; windows are squares."""
    model.inference.window = 0
    if test_cfg.get("mode") == "slide":
        (model.inference.window,), (model.inference.stride,) = set(test_cfg["crop_size"]), set(test_cfg["stride"])


@lru_cache(maxsize=2)
def loaded_model(name: str, dtype: torch.dtype) -> nn.Module:
    """The model of the case `name_of` with its weights, in `dtype`; shared by the tests of one case."""
    case = next(case for case in mm_cases() if name_of(case) == name)
    model = build(case)
    state = {name: tensor(mm_weight(name, shape, case)) for name, shape in official_shapes(case).items()}
    report = load_state(model, state, container="state_dict", complete=True)
    assert not report.missing
    return model.to(device(), dtype)


def official_names_of_parameters(case: dict, model: nn.Module) -> dict[str, str]:
    """Official name -> our name, by the loader's own table."""
    state = {name: torch.empty(tuple(shape), device="meta") for name, shape in official_shapes(case).items()}
    layout = next(layout for layout in model.layouts if layout.recognize(list(state), model.state_dict()))
    origin = apply_table(layout.rules(model, list(state)), state).origin
    return {theirs: ours for ours, theirs in origin.items()}


# Inputs


def picture(seed: int, height: int, width: int, cell: int) -> np.ndarray:
    """uint8 (3, h, w): blocks of random colors plus noise."""
    draws = np.random.RandomState(seed)
    blocks = draws.randint(30, 226, (3, -(-height // cell), -(-width // cell)))
    large = blocks.repeat(cell, 1).repeat(cell, 2)[:, :height, :width]
    return (large + draws.randint(-12, 13, (3, height, width))).astype(np.uint8)


def objects(seed: int, count: int, size: tuple[int, int], num_classes: int, smallest: int = 8) -> Instances:
    """Boxes of random places and sizes, and the ellipses in them as masks."""
    draws, (height, width) = np.random.RandomState(seed), size
    boxes = np.zeros((count, 4))
    for box in boxes:
        w, h = (smallest + draws.random_sample() ** 1.5 * (0.85 * side - smallest) for side in (width, height))
        x, y = draws.random_sample() * (width - w), draws.random_sample() * (height - h)
        box[:] = x, y, x + w, y + h
    boxes = boxes.astype(np.float32)
    classes = draws.randint(0, num_classes, count)
    y, x = np.mgrid[:height, :width] + 0.5
    masks = np.zeros((count, height, width), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(np.float64), strict=True):
        across, down = (x - (left + right) / 2) / ((right - left) / 2), (y - (top + bottom) / 2) / ((bottom - top) / 2)
        mask[:] = across**2 + down**2 <= 1
    return Instances(
        size, gt_boxes=Boxes(tensor(boxes)), gt_classes=tensor(classes).long(), gt_masks=BitMasks(tensor(masks))
    )


def label_map(seed: int, size: tuple[int, int], num_classes: int, cell: int) -> Tensor:
    """(h, w) classes in blocks, 15 % of which are ignored (255)."""
    draws, (height, width) = np.random.RandomState(seed), size
    blocks = draws.randint(0, num_classes, (-(-height // cell), -(-width // cell)))
    blocks[draws.random_sample(blocks.shape) < 0.15] = 255
    return tensor(blocks.repeat(cell, 0).repeat(cell, 1)[:height, :width]).long()


def mapper_dicts(case: dict) -> list[dict]:
    """Model inputs of the images of a case, with targets where it has some."""
    return [_mapper_dict(image, case) for image in case["images"]]


def _mapper_dict(image: dict, case: dict) -> dict:
    size = image["height"], image["width"]
    height, width = image.get("output", size)
    found = {"image": tensor(picture(image["seed"], *size, image["cell"])), "height": height, "width": width}
    if "labels" in image:
        found["sem_seg"] = label_map(size=size, num_classes=case["num_classes"], **image["labels"])
    if "objects" in image:
        found["instances"] = objects(size=size, num_classes=case["num_classes"], **image["objects"])
        if case["model"] not in RCNNS:
            found["instances"].remove("gt_masks")
    return found
