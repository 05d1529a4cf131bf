"""Regions of exported graphs are those of Detectron2's pooler."""

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.layers.region_pooling import assign_levels, pool

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)


def _pooler(sampling_ratio: int) -> ROIPooler:
    return ROIPooler(3, SCALES, sampling_ratio, "ROIAlignV2")


@given(seed=st.integers(0, 10**6), count=st.integers(1, 12), sampling_ratio=st.sampled_from([0, 2]))
@settings(max_examples=25)
def test_regions_of_all_levels(seed, count, sampling_ratio):
    draws = torch.Generator().manual_seed(seed)
    maps = [torch.randn(2, 2, int(1024 * scale), int(768 * scale), generator=draws) for scale in SCALES]
    corners = torch.rand(2, count, 2, generator=draws) * 300
    sides = torch.exp(torch.rand(2, count, 2, generator=draws) * 8 - 2)  # 0.1 to 400 pixels
    boxes = torch.cat([corners, corners + sides], dim=-1)
    pooler = _pooler(sampling_ratio)
    expected = pooler(maps, [Boxes(image) for image in boxes])
    torch.testing.assert_close(pool(pooler, maps, boxes), expected)


def test_the_side_of_a_box_decides_its_level():
    sides = torch.tensor([0.0, 1, 111, 112, 223, 224, 447, 448, 5000])
    boxes = torch.stack([torch.zeros_like(sides), torch.zeros_like(sides), sides, sides], dim=1)
    assert assign_levels(_pooler(0), boxes).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
