"""A Mask2Former whose decoder is narrower than its pixel decoder, against the official numbers of one that is not.

The official file then has `sem_seg_head.predictor.input_proj.0` to `2`, 1x1 convolutions with a bias. Here maps x of
the golden case are given as Q x with more channels, Q having orthonormal columns; the convolutions of the file undo
that (Q transposed) and add a bias, which the levels' embeddings lack in return. The predictions are those of the case.
"""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.checkpoint import check_checkpoint
from focalnet_d2.checkpoint.export import export_state
from tests.golden.cases import assert_within, device, keyed_normal, relative_error, tensor
from tests.golden.loading import load_state
from tests.golden.mask2former_cases import build, mask2former_cases, official_state, stored
from tests.golden.test_golden_mask2former import DTYPES, TOLERANCE, cases, prediction_pairs
from tests.mask2former.building import build_mask2former

HEAD = "sem_seg_head.predictor."
WIDER = 1.5
SAME_WIDTHS = [case for case in mask2former_cases("head") if case["config"]["hidden_dim"] == case["config"]["conv_dim"]]


@cache
def isometry(wide: int, dim: int, level: int) -> np.ndarray:
    """(wide, dim) with orthonormal columns."""
    return np.linalg.qr(keyed_normal(f"isometry {level}", (wide, dim)))[0]


def bias(dim: int, level: int) -> np.ndarray:
    return keyed_normal(f"bias {level}", (dim,)).astype(np.float32)


def wide_model(case: dict):
    """The case's model with a wider pixel decoder, empty."""
    config = case["config"]
    return build_mask2former(
        FocalNet(**config["backbone"]),
        num_classes=config["num_classes"],
        num_queries=config["num_queries"],
        layers=(config["encoder_layers"], config["decoder_layers"]),
        dims=(round(WIDER * config["conv_dim"]), config["mask_dim"]),
        decoder_dim=config["hidden_dim"],
        num_heads=config["nheads"],
        ffn_dims=(config["encoder_ffn_dim"], config["decoder_ffn_dim"]),
    )


def state_with_projections(case: dict, model) -> dict[str, Tensor]:
    """Official names: the decoder's weights are those of the case, the rest is the model's own."""
    state = dict(export_state(model, "Mask2Former").tensors)
    assert {name for name in state if ".input_proj." in name and name.startswith(HEAD)} == {
        f"{HEAD}input_proj.{level}.{kind}" for level in range(3) for kind in ("weight", "bias")
    }
    dim, wide = case["config"]["hidden_dim"], round(WIDER * case["config"]["conv_dim"])
    state |= {name: value for name, value in official_state(case).items() if name.startswith(HEAD)}
    embed = f"{HEAD}level_embed.weight"
    state[embed] = state[embed].double() - tensor(np.stack([bias(dim, level) for level in range(3)]))
    for level in range(3):
        state[f"{HEAD}input_proj.{level}.weight"] = tensor(isometry(wide, dim, level).T.copy())[..., None, None]
        state[f"{HEAD}input_proj.{level}.bias"] = tensor(bias(dim, level))
    return state


@cases("head")
@DTYPES
def test_projected_maps_give_the_predictions_of_the_case(case, dtype):
    if case not in SAME_WIDTHS:
        pytest.skip("The case's decoder has projections of its own.")
    found, model = stored(case), wide_model(case).to(dtype)
    report = load_state(model, state_with_projections(case, model))
    assert not report.missing
    assert set(report.skipped) == {"criterion.empty_weight"}
    mask_features = tensor(found["mask_features"], dtype).to(device())
    wide = round(WIDER * case["config"]["conv_dim"])
    maps = [found[f"multi_scale_{level}"] for level in range(3)]
    maps = [np.einsum("wd,bdxy->bwxy", isometry(wide, x.shape[1], level), x) for level, x in enumerate(maps)]
    decoder = model.to(device()).decoder
    with torch.no_grad():
        predictions = decoder(mask_features, [tensor(x, dtype).to(device()) for x in maps])
    # the stored maps are rounded to float32, which the layers carry on
    limit = max(TOLERANCE[dtype], 2e-6)
    assert_within(relative_error, prediction_pairs(predictions, mask_features, found), limit)


@pytest.mark.parametrize("case", SAME_WIDTHS, ids=lambda case: case["name"])
def test_neither_file_is_taken_by_the_other_model(case):
    with torch.device("meta"):
        narrow, wide = build(case), wide_model(case)
    files = {model: export_state(model, "Mask2Former").tensors for model in (narrow, wide)}
    for model, other in ((narrow, wide), (wide, narrow)):
        with pytest.raises(ValueError, match=r"pixel_decoder\.dim="):
            check_checkpoint(model, {"model": dict(files[other])})
