"""Models, inputs and recorded randomness of the golden Mask2Former cases."""

import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances
from torch import Tensor

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.checkpoint.layout import apply_table
from mask2former.model import Mask2Former
from mask2former.postprocessing import SegmentationInference
from tests.golden.cases import SHIPPED, arrays, device, focalnet_weight, read_json, tensor
from tests.golden.loading import load_state
from tests.mask2former.building import build_inference, build_mask2former

KIND = "mask2former"


def mask2former_cases(kind: str) -> list[dict]:
    """Entries of `mask2former/cases.json` of one kind."""
    return [case for case in read_json(KIND, "cases.json") if case["kind"] == kind]


def case_named(name: str) -> dict:
    return next(case for case in read_json(KIND, "cases.json") if case["name"] == name)


def shipped_case(name: str) -> dict:
    """A case of this repository, whatever folder the run looks at."""
    cases = json.loads((SHIPPED / KIND / "cases.json").read_text())
    return next(case for case in cases if case["name"] == name)


def stored(case: dict) -> dict[str, np.ndarray]:
    return arrays(KIND, case["npz"])


def official_state(case: dict) -> dict[str, Tensor]:
    """The whole official state dict by the fill rule."""
    shapes = manifest(case["manifest"])
    salt = case.get("config", {}).get("salt", "")
    state = {name: tensor(focalnet_weight(name, shape, salt)) for name, shape in shapes.items()}
    if "criterion.empty_weight" in state:
        state["criterion.empty_weight"] = torch.tensor([1.0] * case["config"]["num_classes"] + [0.1])
    return state


def manifest(file: str) -> dict[str, list[int]]:
    content = read_json(KIND, file)
    return content.get("model", content)


def inference_of(case: dict, tasks: str) -> SegmentationInference:
    config = case["config"]
    test = config["test"]
    return build_inference(
        tasks,
        thing_ids=tuple(config["thing_dataset_id_to_contiguous_id"].values()),
        thresholds=(test["object_mask_threshold"], test["overlap_threshold"]),
        top_k=test["detections_per_image"],
    )


def build(case: dict) -> Mask2Former:
    """An empty model of a case."""
    config = case["config"]
    return build_mask2former(
        FocalNet(**config["backbone"]),
        num_classes=config["num_classes"],
        num_queries=config["num_queries"],
        num_points=config["num_points"],
        layers=(config["encoder_layers"], config["decoder_layers"]),
        dims=(config["conv_dim"], config["mask_dim"]),
        decoder_dim=config.get("hidden_dim"),
        num_heads=config["nheads"],
        ffn_dims=(config["encoder_ffn_dim"], config["decoder_ffn_dim"]),
        inference=inference_of(case, "semantic panoptic instance"),
    )


@lru_cache(maxsize=2)
def loaded_model(name: str, dtype: torch.dtype) -> Mask2Former:
    """The case's model with its weights, in `dtype`; shared by the tests of one case, which reset its gradients."""
    case = case_named(name)
    model = build(case)
    report = load_state(model, official_state(case))
    assert not report.missing
    return model.to(device(), dtype).eval()


def official_names_of_parameters(case: dict, model: Mask2Former) -> dict[str, str]:
    """Official name -> our name, by the loader's own table."""
    state = {name: torch.empty(tuple(shape), device="meta") for name, shape in manifest(case["manifest"]).items()}
    layout = next(layout for layout in model.layouts if layout.recognize(list(state), model.state_dict()))
    origin = apply_table(layout.rules(model, list(state)), state).origin
    return {theirs: ours for ours, theirs in origin.items()}


def mapper_dicts(case: dict, targets: bool = False) -> list[dict]:
    """Model inputs: the images that the case describes, with their targets if asked for."""
    found, dicts = stored(case), []
    wanted = case.get("output_sizes", [None] * len(case["images"]))
    for index, size in enumerate(wanted):
        image = tensor(found[f"image{index}"])
        height, width = size or image.shape[-2:]
        dicts.append({"image": image, "height": height, "width": width})
        if targets:
            dicts[-1]["instances"] = recorded_targets(found, index, tuple(image.shape[-2:]))
    return dicts


def recorded_targets(found: dict, index: int, size: tuple[int, int]) -> Instances:
    labels = found[f"target{index}/labels"]
    bits = np.unpackbits(found[f"target{index}/masks_packed"], axis=1)
    instances = Instances(size)
    instances.gt_classes = tensor(labels).long()
    instances.gt_masks = BitMasks(tensor(bits[:, : size[0] * size[1]].astype(bool)).reshape(-1, *size))
    return instances


def recorded_points(case: dict) -> Callable[[int, int, Tensor], Tensor]:
    """Points as the official code drew them: a stored array for every shape."""
    found = stored(case)

    def draw(count: int, num_points: int, like: Tensor) -> Tensor:
        return tensor(found[f"rand/{count}x{num_points}x2"]).to(like)

    return draw
