"""Stable-DINO's class loss, matching cost and suppression alone against the official numbers: `components.npz`."""

import pytest
import torch

from focalnet_d2.export.decoding.query_boxes import decode
from focalnet_d2.export.result import Sizes
from focalnet_d2.set_prediction.criterion import SetCriterion
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.position import PositionModulation, PositionSupervision
from focalnet_d2.set_prediction.postprocessing import select_detections
from focalnet_d2.set_prediction.targets import Targets
from tests.golden.cases import absolute_error, arrays, assert_within, device, read_json, relative_error, tensor

FLOAT64, FLOAT32 = torch.float64, torch.float32
NUMBERS = read_json("stable_dino", "components.json")
both_precisions = pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=("float64", "float32"))


def each(kind: str):
    return pytest.mark.parametrize("name", [name for name in NUMBERS if name.startswith(kind)])


@pytest.fixture(scope="module")
def stored() -> dict:
    return arrays("stable_dino", "components.npz")


def predictions(stored: dict, name: str, dtype: torch.dtype) -> tuple[dict, list[Targets]]:
    """What a layer predicts and the objects of each image."""
    outputs = {f"pred_{kind}": tensor(stored[f"{name}_{kind}"], dtype).to(device()) for kind in ("logits", "boxes")}
    targets = [
        Targets(
            tensor(stored[f"{name}_tgt{i}_labels"]).long().to(device()),
            tensor(stored[f"{name}_tgt{i}_boxes"], dtype).to(device()),
        )
        for i in range(len(outputs["pred_logits"]))
    ]
    return outputs, targets


def supervision(settings: dict) -> PositionSupervision | None:
    if settings.get("use_ce_loss_type") == "none":
        return None
    return PositionSupervision(settings["ta_alpha"], settings["ta_beta"], settings.get("target_post_process", "none"))


@both_precisions
@each("loss")
def test_class_loss_and_its_gradient(stored, name, dtype):
    numbers, pairs, gradients = NUMBERS[name], {}, {}
    for variant, expected in numbers["variants"].items():
        outputs, targets = predictions(stored, name, dtype)
        indices = [tuple(tensor(stored[f"{name}_pairs{i}"]).long()) for i in range(len(targets))]
        criterion = SetCriterion(HungarianMatcher(), position_supervision=supervision(expected["settings"]))
        logits, boxes = (outputs[key].requires_grad_() for key in ("pred_logits", "pred_boxes"))
        (losses,) = criterion.compute_losses([outputs], targets, [indices], numbers["num_boxes"])
        losses["loss_class"].backward()
        assert boxes.grad is None or not boxes.grad.any()
        pairs[variant] = losses["loss_class"], expected["loss_class"]
        gradients[variant] = logits.grad, stored[f"{name}_{variant}_grad"]
    assert_within(relative_error, pairs, 1e-9 if dtype == FLOAT64 else 1e-5)
    assert_within(absolute_error, gradients, 1e-10 if dtype == FLOAT64 else 1e-5)


@both_precisions
@each("match")
def test_costs_and_assignments(stored, name, dtype):
    costs = {}
    for key, exponent in NUMBERS[name]["cec_beta"].items():
        for mode in ("official", "pairwise") if name == "match_single" and exponent > 0 else ("official",):
            outputs, targets = predictions(stored, name, dtype)
            modulation = PositionModulation(exponent, mode) if exponent > 0 else None
            matcher, seen = Recording(position_modulation=modulation), {}
            for i, (queries, objects) in enumerate(matcher(**outputs, targets=targets)):
                expected = stored[f"{name}_{key}_match{i}"]
                assert sorted(zip(queries.tolist(), objects.tolist())) == sorted(zip(*expected.tolist()))
                # The official cost of a box is 1 - GIoU, ours is its negative.
                seen[f"{key}_{mode}_{i}"] = matcher.costs[i] + 2, stored[f"{name}_{key}_cost{i}"]
            costs |= seen
    assert_within(absolute_error, costs, 1e-10 if dtype == FLOAT64 else 1e-5)


class Recording(HungarianMatcher):
    """Keeps the costs of each image."""

    def match_sets(self, predictions, targets):
        self.costs = []
        return super().match_sets(predictions, targets)

    def cost(self, *arguments):
        self.costs.append(super().cost(*arguments))
        return self.costs[-1]


@pytest.mark.parametrize("suppressed", [False, True], ids=("plain", "nms80"))
@each("nms")
def test_suppression_in_torch_and_in_the_runtime(stored, name, suppressed):
    numbers, kind = NUMBERS[name], "nms80" if suppressed else "plain"
    logits, boxes = (tensor(stored[f"{name}_{part}"], FLOAT32) for part in ("logits", "boxes"))
    size = tuple(numbers["orig_hw"])
    settings = dict(
        num_select=numbers["num_select"], clip_boxes=True, nms_threshold=numbers["threshold"] if suppressed else None
    )
    (found,) = select_detections(logits, boxes, [size], **settings)
    exported = decode(
        {"pred_logits": logits[0].numpy(), "pred_boxes": boxes[0].numpy()},
        settings,
        Sizes(padded=tuple(numbers["image_hw"]), image=tuple(numbers["image_hw"]), output=size),
    )
    for scores, labels, corners in (
        (found.scores, found.pred_classes, found.pred_boxes.tensor),
        (exported["scores"], exported["class_ids"], exported["boxes"]),
    ):
        assert labels.tolist() == stored[f"{name}_{kind}_labels"].tolist()
        assert absolute_error(scores, stored[f"{name}_{kind}_scores"]) <= 1e-6
        assert absolute_error(corners, stored[f"{name}_{kind}_boxes"]) <= 1e-3
