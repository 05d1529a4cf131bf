"""Mask R-CNN, Cascade Mask R-CNN, ATSS, Sparse R-CNN and UPerNet against mmdetection and mmsegmentation."""

import re
from functools import lru_cache

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage

from tests.golden.cases import assert_within, relative_error
from tests.golden.mm_cases import (  # fmt: skip
    RCNNS,
    loaded_model,
    mapper_dicts,
    mm_cases,
    name_of,
    official_names_of_parameters,
    stored,
)
from tests.golden.mm_precision import SameDecisions, precision
from tests.golden.mm_results import evaluate, in_order_of

FLOAT64, FLOAT32 = torch.float64, torch.float32
# Of arrays, boxes and scores; in float32 mmdetection's own differ from its float64 ones by up to 4e-5.
TOLERANCE = {FLOAT64: 2e-7, FLOAT32: 1e-4}
LOSS_TOLERANCE = {FLOAT64: 2e-6, FLOAT32: 5e-5}
GRADIENT_TOLERANCE = {FLOAT64: 2e-5, FLOAT32: 2e-2}
PIXELS = 1e-3  # share of the pixels of masks and of class maps that may differ
NOT_ARRAYS = ("/masks_packed", "/mask_areas", "/argmax", "/classes", "/boxes", "/scores")

both_precisions = pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=("float64", "float32"))


def each(section: str):
    """Cases of a section; those with heads of the published sizes are slow."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=name_of(case), marks=[pytest.mark.slow] if "full" in case["name"] else [])
            for case in mm_cases(section)
        ],
    )


@lru_cache(maxsize=1)
def float64_run(name: str) -> tuple[tuple, SameDecisions]:
    """Results of the case in float64, and what it chose on the way."""
    case, decisions = next(case for case in mm_cases() if name_of(case) == name), SameDecisions()
    model = loaded_model(name, FLOAT64)
    with precision(FLOAT64), decisions.record(model):
        return _run(model, case), decisions


def run_as_golden(case: dict, dtype: torch.dtype) -> tuple:
    """Results of the case's model in `dtype`; in float32 with the choices of float64."""
    results, decisions = float64_run(name_of(case))
    if dtype == FLOAT64:
        return results
    model = loaded_model(name_of(case), dtype)
    with precision(dtype), decisions.replay(model):
        return _run(model, case)


def _run(model, case: dict) -> tuple:
    return evaluate(model, case) if case["kind"] == "eval" else training_step(model, case)


# Evaluation


@both_precisions  # varies first, so that float32 finds the float64 run
@each("eval")
def test_evaluation(case, dtype):
    golden = stored(case)
    ours, counted = run_as_golden(case, dtype)
    assert {name: case["info"][name] for name in counted} == counted
    pairs = {name: (ours[name], golden[name]) for name in golden if not name.endswith(NOT_ARRAYS)}
    assert_within(relative_error, pairs, TOLERANCE[dtype])
    for index in range(len(case["images"])):
        of_image = {name.partition("/")[2]: value for name, value in golden.items() if name.startswith(f"{index}/")}
        found = {name.partition("/")[2]: value for name, value in ours.items() if name.startswith(f"{index}/")}
        if "argmax" in of_image:
            assert (found["argmax"] != of_image["argmax"]).mean() <= PIXELS
        else:
            check_detections(found, of_image, dtype)


def check_detections(ours: dict, golden: dict, dtype: torch.dtype) -> None:
    """Of one image: the same classes in the same order, boxes, scores and masks."""
    ours = {name: ours[name] for name in ("boxes", "scores", "classes", "masks") if name in ours}
    assert len(ours["scores"]) == len(golden["scores"])
    if dtype == FLOAT32:
        ours = in_order_of(ours, golden, near=TOLERANCE[dtype])
    np.testing.assert_array_equal(ours["classes"], golden["classes"])
    pairs = {name: (ours[name], golden[name]) for name in ("boxes", "scores")}
    assert_within(relative_error, pairs, TOLERANCE[dtype])
    if "mask_areas" in golden:
        check_masks(ours["masks"].reshape(len(ours["masks"]), -1), golden["masks_packed"], golden["mask_areas"])


def check_masks(masks: np.ndarray, packed: np.ndarray, areas: np.ndarray) -> None:
    """(N, pixels) bool; the pixels of the first ones are stored, the areas of all."""
    assert len(masks) == len(areas)
    assert np.abs(masks.sum(1) - areas).sum() <= PIXELS * max(1, areas.sum())
    first = np.packbits(masks[: len(packed)], axis=1)
    assert np.unpackbits(first ^ packed).sum() <= PIXELS * max(1, areas[: len(packed)].sum())


# Training


def training_step(model, case: dict) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray], list[list[int]]]:
    """Losses, gradients by official names, and the positives and negatives of every draw of samples."""
    model.train()
    model.zero_grad()
    with EventStorage(), SampleCounts(model) as sampled:
        losses = model(mapper_dicts(case))
    sum(losses.values()).backward()
    parameters = dict(model.named_parameters())
    names = official_names_of_parameters(case, model)
    gradients = {
        theirs: np.zeros(1) if parameters[ours].grad is None else parameters[ours].grad.cpu().numpy()
        for theirs, ours in names.items()
        if ours in parameters
    }
    return losses, gradients, sampled.counts


class SampleCounts:
    """Counts positives and negatives of each image whenever an R-CNN has drawn samples."""

    def __init__(self, model):
        self.model, self.counts, self.undo = model, [], []

    def __enter__(self):
        if hasattr(self.model, "proposal_generator"):
            heads = self.model.roi_heads
            self._watch(self.model.proposal_generator, "label_and_sample_anchors", self._anchors)
            one = "_sample" if hasattr(heads, "_sample") else "label_and_sample_proposals"
            self._watch(heads, one, self._proposals)
        return self

    def __exit__(self, *_):
        for owner, method, before in reversed(self.undo):
            setattr(owner, method, before)

    def _watch(self, owner, method: str, count) -> None:
        before = getattr(owner, method)
        self.undo.append((owner, method, before))

        def watched(*arguments):
            result = before(*arguments)
            count(result)
            return result

        setattr(owner, method, watched)

    def _anchors(self, result) -> None:
        self.counts += [[int((labels == 1).sum()), int((labels == 0).sum())] for labels in result[0]]

    def _proposals(self, result) -> None:
        background = self.model.num_classes
        for image in result if isinstance(result, list) else [result]:
            positive = int((image.gt_classes != background).sum())
            self.counts.append([positive, len(image) - positive])


def official_loss_name(name: str, case: dict) -> str:
    """mmdetection's or mmsegmentation's name of one of our losses."""
    if case["model"] == "sparse_rcnn":
        base, _, stage = re.fullmatch(r"(loss_[a-z]+)(_(\d+))?", name).groups()
        stage = case["sizes"]["stages"] - 1 if stage is None else stage
        return f"stage{stage}_" + {"loss_class": "loss_cls", "loss_giou": "loss_iou"}.get(base, base)
    base, _, stage = name.partition("_stage")
    return (f"s{stage}." if stage else "") + _LOSSES.get(base, base)


_LOSSES = {
    "loss_rpn_loc": "loss_rpn_bbox",
    "loss_box_reg": "loss_bbox",
    "loss_class": "loss_cls",
    "loss_seg": "decode.loss_ce",
    "loss_seg_aux": "aux.loss_ce",
}


@both_precisions
@each("train")
def test_training_step(case, dtype):
    losses, gradients, sampled = run_as_golden(case, dtype)
    if case["model"] in RCNNS and "sampled" in case["info"]:
        assert sampled == case["info"]["sampled"]
    check_losses({official_loss_name(name, case): float(value.detach()) for name, value in losses.items()}, case, dtype)
    if not case.get("known_differences"):  # where a loss is known to be divided otherwise, so are the gradients
        check_gradients(gradients, case, dtype)


def check_losses(ours: dict[str, float], case: dict, dtype: torch.dtype) -> None:
    """`known_differences`: factors of the golden losses that a rule of mmdetection explains (see the README)."""
    factors = case.get("known_differences", {})
    golden = {name: value * factors.get(name, 1.0) for name, value in case["info"]["losses"].items()}
    assert {name for name in ours.keys() - golden.keys() if ours[name]} == set()
    off = {name: abs(ours[name] - value) / max(abs(value), 1e-3) for name, value in golden.items()}
    assert {name: error for name, error in off.items() if not error <= LOSS_TOLERANCE[dtype]} == {}


def check_gradients(gradients: dict[str, np.ndarray], case: dict, dtype: torch.dtype) -> None:
    """The length of every gradient, and stored parts of some; a case without them is compared by its losses alone."""
    limit, lengths = GRADIENT_TOLERANCE[dtype], case["info"].get("grad_norms", {})
    largest = max([length or 0.0 for length in lengths.values()], default=0.0)
    off = {}
    for name, length in lengths.items():
        ours, length = float(np.linalg.norm(gradients[name].astype(np.float64))), length or 0.0
        off[name] = abs(ours - length) / max(length, 1e-4 * largest, 1e-30)
    assert {name: error for name, error in off.items() if not error <= limit} == {}
    pairs = {}
    for key, golden in stored(case).items():
        flat = gradients[key.removeprefix("grad/")].ravel()
        pairs[key] = (flat[:: max(1, len(flat) // 300)], golden)
    if pairs:
        assert_within(relative_error, pairs, limit)
