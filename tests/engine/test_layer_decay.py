"""Rates of the backbone's layers fall with the distance from the heads."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.engine.layer_decay import layer_factors
from focalnet_d2.engine.optimizer import BackboneLrFactor, parameter_groups


class Detector(nn.Module):
    def __init__(self, depths):
        super().__init__()
        sizes = dict(focal_levels=[1] * len(depths), focal_windows=[3] * len(depths))
        names = ["res2", "res3", "res4", "res5"][: len(depths)]
        with torch.device("meta"):
            self.backbone = nn.ModuleDict({"bottom_up": FocalNet(4, depths=depths, out_features=names, **sizes)})
            self.backbone["lateral"] = nn.Linear(4, 4)
            self.head = nn.Linear(4, 4)


def rates(model, **options):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, lr=2.0, weight_decay=0.1, decay_rule="detectron2", **options)
    found = [(names[id(p)], group["lr"]) for group in groups for p in group["params"]]
    assert len(found) == len(names) == len(dict(found))  # every parameter once
    return dict(found)


@settings(max_examples=6)
@given(
    depths=st.lists(st.integers(1, 2), min_size=1, max_size=3),
    decay=st.floats(0.3, 0.99),
    slower=st.sampled_from([None, 0.1]),
)
def test_rates_rise_with_depth_by_one_factor_a_block(depths, decay, slower):
    model = Detector(depths)
    lr_factor = None if slower is None else BackboneLrFactor(factor=slower, prefix="backbone.bottom_up")
    found = rates(model, lr_factor=lr_factor, layer_decay=decay)
    assert found["head.weight"] == found["backbone.lateral.weight"] == 2.0
    top, blocks = 2.0 * (slower or 1.0), sum(depths)
    place, earlier = "backbone.bottom_up.", [found["backbone.bottom_up.patch_embed.proj.weight"]]
    assert earlier[0] == pytest.approx(top * decay ** (blocks + 1))
    for stage, depth in enumerate(depths):
        for block in range(depth):
            of_block = {
                rate for name, rate in found.items() if name.startswith(f"{place}layers.{stage}.blocks.{block}.")
            }
            (rate,) = of_block
            assert rate == pytest.approx(earlier[-1] / decay)
            earlier.append(rate)
        assert found[f"{place}norm{stage}.weight"] == earlier[-1]
        if stage + 1 < len(depths):
            assert found[f"{place}layers.{stage}.downsample.proj.weight"] == pytest.approx(earlier[-1] / decay)
    assert earlier[-1] == pytest.approx(top * decay)


def test_no_decay_is_bit_equal_to_none():
    model = Detector([1, 2])
    assert rates(model, layer_decay=1.0) == rates(model)
    assert layer_factors(model, 1) == {}


@pytest.mark.parametrize("decay", [0, -0.5, 1.1, float("nan")])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match=r"optimizer\.layer_decay is .*: it must be above 0 and at most 1"):
        layer_factors(Detector([1]), decay)


def test_a_model_without_layers_is_refused():
    with pytest.raises(ValueError, match="no FocalNet: set it to 1"):
        layer_factors(nn.Linear(2, 2), 0.5)
