"""What passes through a detector or segmenter, under the names and thinned as in the golden arrays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from torch import Tensor, nn

from tests.golden.mm_cases import RCNNS, mapper_dicts


def evaluate(model: nn.Module, case: dict) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays, and the facts that `info` of the case counts."""
    calls: dict[str, list] = {}
    model.eval()
    handles = [module.register_forward_hook(_keeping(calls, name)) for name, module in _parts(model, case["model"])]
    generator = getattr(model, "proposal_generator", None)
    try:
        with torch.no_grad():
            results = model(mapper_dicts(case))
            if case["model"] == "upernet":
                model.auxiliary_head(calls["backbone"][0])
    finally:
        for handle in handles:
            handle.remove()
    arrays = {f"backbone{i}": x[:, ::4, ::3, ::3] for i, x in enumerate(calls["backbone"][0].values())}
    if case["model"] == "upernet":
        arrays |= dict(_of_segmenter(calls, results, few=case["num_classes"] < 20))
        return _as_arrays(arrays), {"network_calls": len(calls["decode"])}
    arrays |= {f"fpn{i}": x[:, ::8, ::3, ::3] for i, x in enumerate(calls["neck"][0].values())}
    arrays |= dict({"atss": _of_atss, "sparse_rcnn": _of_sparse_rcnn}.get(case["model"], _of_rcnn)(calls, results))
    for index, result in enumerate(results):
        arrays |= {f"{index}/{name}": value for name, value in detections(result["instances"]).items()}
    counted = {} if generator is None else {"num_proposals": [len(image) for image in calls["proposals"][0][0]]}
    return _as_arrays(arrays), counted


def _keeping(calls: dict[str, list], name: str):
    return lambda _module, _inputs, output: calls.setdefault(name, []).append(output)


def _parts(model: nn.Module, kind: str) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules whose outputs are looked at."""
    if kind == "upernet":
        yield from (("backbone", model.backbone), ("decode", model.decode_head), ("aux", model.auxiliary_head))
        return
    yield from (("backbone", model.backbone.bottom_up), ("neck", model.backbone))
    if kind in RCNNS:
        heads = model.roi_heads
        yield from (("rpn", model.proposal_generator.rpn_head), ("proposals", model.proposal_generator))
        yield from (("box", predictor) for predictor in _stages(heads.box_predictor))
        yield from (("mask", head.predictor) for head in _stages(heads.mask_head))
    elif kind == "atss":
        yield "head", model.bbox_head
    else:
        yield from (("stage", stage) for stage in model.head.stages)


def _stages(heads: nn.Module) -> list[Any]:
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def _of_segmenter(calls: dict, results: list[dict], few: bool) -> Iterator[tuple[str, Tensor]]:
    yield "decode_logits_first", calls["decode"][0][:, :: 1 if few else 3, ::3, ::3]
    yield "aux_logits_first", calls["aux"][0][:, :: 1 if few else 3]
    step = 5 if few else 15
    for index, result in enumerate(results):
        yield f"{index}/prob_every{step}", result["sem_seg"][:, ::step, ::step]
        yield f"{index}/argmax", result["sem_seg"].argmax(0)


def _of_rcnn(calls: dict, results: list[dict]) -> Iterator[tuple[str, Tensor]]:
    for level, (scores, deltas) in enumerate(zip(*calls["rpn"][0], strict=True)):
        yield f"rpn_cls{level}", scores[:, :, ::3, ::3]
        yield f"rpn_reg{level}", deltas[:, :, ::3, ::3]
    for index, image in enumerate(calls["proposals"][0][0]):
        scores = image.objectness_logits.sigmoid()[:, None]
        yield f"{index}/proposals_first60", torch.cat([image.proposal_boxes.tensor, scores], dim=1)[:60]
    for stage, (logits, deltas) in enumerate(calls["box"]):
        step = max(1, len(logits) // 40)
        yield f"box_cls_stage{stage}", logits[::step]
        yield f"box_reg_stage{stage}", deltas[::step]
    classes = torch.cat([result["instances"].pred_classes for result in results])
    for stage, logits in enumerate(calls["mask"]):
        own = logits[torch.arange(len(classes), device=classes.device), classes]  # (N, h, w)
        yield f"mask_logits_stage{stage}", own[:: max(1, len(own) // 16), ::3, ::3]


def _of_atss(calls: dict, results: list[dict]) -> Iterator[tuple[str, Tensor]]:
    for level, predictions in enumerate(calls["head"][0]):
        for name, values in zip(("cls", "reg", "ctr"), predictions, strict=True):
            yield f"head_{name}{level}", (values[..., None] if values.ndim == 2 else values)[:, ::5]


def _of_sparse_rcnn(calls: dict, results: list[dict]) -> Iterator[tuple[str, Tensor]]:
    for stage, (logits, deltas, features) in enumerate(calls["stage"]):
        yield f"logits_stage{stage}", logits[:, ::5]
        yield f"deltas_stage{stage}", deltas[:, ::5]
        yield f"feat_stage{stage}", features[:, ::5, ::4]


def detections(instances: Instances) -> dict[str, np.ndarray]:
    """Boxes, scores, classes and masks by falling score, equal ones by class."""
    scores, classes = instances.scores.cpu().numpy(), instances.pred_classes.cpu().numpy()
    order = np.lexsort((classes, -scores))
    found = {"boxes": instances.pred_boxes.tensor.cpu().numpy()[order], "scores": scores[order]}
    found["classes"] = classes[order]
    if instances.has("pred_masks"):
        found["masks"] = instances.pred_masks.cpu().numpy()[order]
    return found


def _as_arrays(values: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: x.detach().cpu().numpy() if isinstance(x, Tensor) else x for name, x in values.items()}


# Detections that change places


def in_order_of(ours: dict[str, np.ndarray], golden: dict[str, np.ndarray], near: float) -> dict[str, np.ndarray]:
    """Our detections of an image in the golden order, where places change only between nearly equal scores.

    Args:
        ours, golden: `boxes`, `scores`, `classes`, and `masks` of ours.
        near: how much scores of detections may differ that change places.
    """
    free, order = set(range(len(ours["scores"]))), []
    for box, score, label in zip(golden["boxes"], golden["scores"], golden["classes"], strict=True):
        alike = [i for i in free if ours["classes"][i] == label and abs(ours["scores"][i] - score) <= near]
        assert alike, f"no detection of class {label} has a score near {score:.6f}"
        order.append(min(alike, key=lambda i: np.abs(ours["boxes"][i] - box).max()))
        free.remove(order[-1])
    return {name: value[np.array(order, dtype=int)] for name, value in ours.items()}
