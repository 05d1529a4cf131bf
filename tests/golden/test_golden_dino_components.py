"""The parts of DINO alone against the official numbers: `components.npz`."""

import re

import pytest
import torch

from dino.query_selection import get_proposal_logits
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION, deformable_attention
from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, generalized_box_iou, inverse_sigmoid
from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention
from focalnet_d2.layers.deformable_encoder import get_encoder_reference_points, get_valid_ratios
from focalnet_d2.layers.position_encoding import SinePositionEncoding, encode_reference_points
from focalnet_d2.set_prediction.losses import sigmoid_focal_loss
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.targets import Targets
from tests.golden.cases import (
    absolute_error,
    arrays,
    assert_within,
    device,
    dino_weight,
    l2_error,
    relative_error,
    tensor,
)

FLOAT64_IMPLEMENTATIONS = [one.name for one in DEFORMABLE_ATTENTION.available("cpu", torch.float64)]

FLOAT64, FLOAT32 = torch.float64, torch.float32


@pytest.fixture(scope="module")
def stored() -> dict:
    return arrays("dino", "components.npz")


def here(values, dtype=None):
    return tensor(values, dtype).to(device())


@pytest.fixture(scope="module")
def masks(stored) -> list:
    """Padding masks of the levels: (2, H, W), True outside the valid rectangle of each image."""
    made = []
    for (height, width), valid in zip(stored["levels"].tolist(), stored["valid_hw"].tolist()):
        mask = torch.ones(len(valid), height, width, dtype=torch.bool)
        for image, (h, w) in enumerate(valid):
            mask[image, :h, :w] = False
        made.append(mask.to(device()))
    return made


def shapes_of(masks) -> list[tuple[int, int]]:
    return [tuple(mask.shape[-2:]) for mask in masks]


def test_position_encodings(stored, masks):
    pairs = {}
    for key in stored:
        if match := re.fullmatch(r"pos_level(\d+)_TH(\d+)_TW(\d+)", key):
            level, height, width = (int(number) for number in match.groups())
            encoding = SinePositionEncoding(num_feats=128, temperature=height, temperature_width=width)
            ours = encoding(masks[level])
            pairs[key] = (ours[:, ::3] if level == 1 else ours, stored[key])  # level 1 is stored thinned
    assert len(pairs) == len([key for key in stored if key.startswith("pos_level")])
    assert_within(absolute_error, pairs, 1e-5)


def test_encoding_of_reference_points(stored):
    points = here(stored["sineembed_in"])
    pairs = {
        "boxes": (encode_reference_points(points), stored["sineembed_out4"]),
        "points": (encode_reference_points(points[..., :2]), stored["sineembed_out2"]),
    }
    assert_within(absolute_error, pairs, 1e-5)


def test_valid_ratios_and_reference_points_of_the_encoder(stored, masks):
    ratios = get_valid_ratios(masks)
    points = get_encoder_reference_points(shapes_of(masks), ratios)
    pairs = {
        "ratios": (ratios, stored["valid_ratios"]),
        "points": (points, stored["encoder_reference_points"]),
    }
    assert_within(absolute_error, pairs, 1e-6)


def test_proposals(stored, masks):
    logits, valid = get_proposal_logits(masks, FLOAT32)
    assert torch.equal(valid.cpu(), tensor(stored["proposals_out"]).isfinite().all(-1))
    memory = here(stored["proposals_memory_in"]).masked_fill(~valid[..., None], 0.0)
    finite = valid.cpu().numpy()
    pairs = {
        "logits": (logits.cpu().numpy()[finite], stored["proposals_out"][finite]),
        "memory": (memory, stored["proposals_memory_out"]),
    }
    assert_within(absolute_error, pairs, 1e-6)
    assert torch.isposinf(logits[~valid]).all()


def test_inverse_sigmoid(stored):
    assert absolute_error(inverse_sigmoid(here(stored["inverse_sigmoid_in"])), stored["inverse_sigmoid_out"]) <= 1e-6


def test_generalized_iou(stored):
    first, second = (box_cxcywh_to_xyxy(here(stored[f"giou_{x}"], FLOAT64)) for x in "ab")
    assert absolute_error(generalized_box_iou(first[:, None], second[None]), stored["giou"]) <= 1e-6


def test_focal_loss_and_its_gradient(stored):
    logits = here(stored["focal_logits"], FLOAT64).requires_grad_()
    loss = sigmoid_focal_loss(logits, here(stored["focal_targets"], FLOAT64)).sum() / 3  # boxes
    loss.backward()
    pairs = {"loss": (loss, stored["focal_loss"]), "gradient": (logits.grad, stored["focal_grad"])}
    assert_within(absolute_error, pairs, 1e-6)


@pytest.mark.parametrize("name", ["match_a", "match_b"])
@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=("float64", "float32"))
def test_assignments(stored, name, dtype):
    logits, boxes = (here(stored[f"{name}_{kind}"], dtype) for kind in ("logits", "boxes"))
    targets = [
        Targets(here(stored[f"{name}_tgt{i}_labels"]).long(), here(stored[f"{name}_tgt{i}_boxes"], dtype))
        for i in range(len(logits))
    ]
    for i, (queries, objects) in enumerate(HungarianMatcher()(logits, boxes, targets)):
        expected = stored[f"{name}_{i}"]
        assert sorted(zip(queries.tolist(), objects.tolist())) == sorted(zip(*expected.tolist()))


def level_shapes(stored) -> list[tuple[int, int]]:
    return [tuple(shape) for shape in stored["msda_shapes"].tolist()]


@pytest.mark.parametrize("implementation", FLOAT64_IMPLEMENTATIONS)
def test_deformable_attention(stored, implementation):
    """Some samples lie exactly on texel centres, on the border and far outside."""
    inputs = {name: here(stored[f"msda_{name}"]).requires_grad_() for name in ("value", "loc", "att")}
    output = deformable_attention(inputs["value"], level_shapes(stored), inputs["loc"], inputs["att"], implementation)
    output.backward(here(stored["msda_upstream"]))
    pairs = {f"grad_{name}": (value.grad, stored[f"msda_grad_{name}"]) for name, value in inputs.items()}
    assert_within(absolute_error, pairs | {"out": (output, stored["msda_out"])}, 1e-10)


@pytest.mark.parametrize("kind", ["mod2", "mod4"])
def test_deformable_attention_module(stored, kind):
    """With points (the first two numbers of the boxes) and with boxes as references, padding masked."""
    shapes = level_shapes(stored)
    module = MultiScaleDeformableAttention(64, num_levels=len(shapes), num_heads=8, num_points=4)
    names = {name: f"self_attn.{name}" for name in module.state_dict()}
    module.load_state_dict(
        {name: tensor(dino_weight(names[name], value.shape)) for name, value in module.state_dict().items()}
    )
    module = module.to(device(), FLOAT64)
    reference = stored["mod_ref"][..., : int(kind[-1])]
    inputs = {
        name: here(value).requires_grad_()
        for name, value in (("query", stored["mod_query"]), ("ref", reference), ("src", stored["mod_src"]))
    }
    output = module(inputs["query"], inputs["ref"], inputs["src"], shapes, here(stored["mod_pad"]))
    output.backward(here(stored["mod_upstream"]))
    pairs = {f"grad_{name}": (value.grad, stored[f"{kind}_grad_{name}"]) for name, value in inputs.items()}
    assert_within(absolute_error, pairs | {"out": (output, stored[f"{kind}_out"])}, 1e-10)
    weights = {
        "offsets": (module.sampling_offsets.weight.grad, stored[f"{kind}_grad_sampling_offsets_weight"]),
        "weights": (module.attention_weights.bias.grad, stored[f"{kind}_grad_attention_weights_bias"]),
    }
    assert_within(relative_error, weights, 1e-6)
    assert_within(l2_error, weights, 1e-6)
