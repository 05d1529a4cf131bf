"""Sparse R-CNN's stages: the dynamic convolution as loops, what a stage reads, how boxes go from stage to stage."""

import pytest
import torch
from torch import nn

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy
from focalnet_d2.modeling.sparse_rcnn.dynamic_head import (
    DELTAS,
    REGION_SIZE,
    DynamicConv,
    DynamicHead,
    DynamicStage,
)

C, HIDDEN, Q = 4, 2, 3


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@torch.no_grad()
def test_dynamic_convolution_as_loops():
    """The first half of the parameters is a C x hidden matrix, the second hidden x C, both row by row."""
    layer = randomised(DynamicConv(C, hidden_dim=HIDDEN))
    feature, regions = torch.randn(2, C), torch.randn(2, C, REGION_SIZE, REGION_SIZE)
    found = layer(feature, regions)
    for r in range(2):
        numbers = layer.dynamic_layer(feature[r]).tolist()
        flat = []  # position by position, channels within
        for y in range(REGION_SIZE):
            for x in range(REGION_SIZE):
                pixel = regions[r, :, y, x].tolist()
                small = [sum(pixel[c] * numbers[c * HIDDEN + h] for c in range(C)) for h in range(HIDDEN)]
                small = layer.norm_in(torch.tensor(small)).relu().tolist()
                second = numbers[C * HIDDEN :]
                large = [sum(small[h] * second[h * C + c] for h in range(HIDDEN)) for c in range(C)]
                flat += layer.norm_out(torch.tensor(large)).relu().tolist()
        expected = layer.fc_norm(layer.fc_layer(torch.tensor(flat))).relu()
        torch.testing.assert_close(found[r], expected, atol=1e-4, rtol=1e-4)


def small_stage() -> DynamicStage:
    return randomised(DynamicStage(8, num_heads=2, ffn_dim=12, dynamic_dim=3, num_classes=5))


@torch.no_grad()
def test_a_stage_reads_its_own_region_and_all_features_of_its_image():
    stage, feature = small_stage(), torch.randn(2, Q, 8)
    regions = torch.randn(2 * Q, 8, REGION_SIZE, REGION_SIZE)
    before = stage(feature, regions)
    assert [tuple(part.shape) for part in before] == [(2, Q, 5), (2, Q, 4), (2, Q, 8)]
    changed = regions.clone()
    changed[1] += 1  # image 0, proposal 1
    moved = [(a != b).any(-1).tolist() for a, b in zip(before, stage(feature, changed), strict=True)]
    assert moved == [[[False, True, False], [False] * 3]] * 3
    other = feature.clone()
    other[0, 1] += torch.arange(8)
    for a, b in zip(before, stage(other, regions), strict=True):
        assert (a != b).any(-1).tolist() == [[True] * 3, [False] * 3]


@torch.no_grad()
def test_proposals_have_no_order():
    stage, feature = small_stage(), torch.randn(1, Q, 8)
    regions, order = torch.randn(Q, 8, REGION_SIZE, REGION_SIZE), torch.tensor([2, 0, 1])
    for a, b in zip(stage(feature, regions), stage(feature[:, order], regions[order]), strict=True):
        torch.testing.assert_close(a[:, order], b, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_every_step_adds_to_what_came_in_and_is_normed():
    """With branches that say nothing, what is left are the three norms one after the other."""
    stage, feature = small_stage(), torch.randn(1, Q, 8)
    for layer in (stage.attention.out_proj, stage.ffn.layers[1], stage.instance_interactive_conv.fc_norm):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    expected = stage.ffn_norm(stage.instance_interactive_conv_norm(stage.attention_norm(feature)))
    torch.testing.assert_close(stage(feature, torch.randn(Q, 8, 7, 7))[2], expected)


def small_head(num_stages: int = 2) -> DynamicHead:
    return DynamicHead(8, num_proposals=Q, num_stages=num_stages, num_heads=2, ffn_dim=12, dynamic_dim=3, num_classes=5)


def pyramid(images: int, height: int, width: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(images, 8, height // s, width // s) for s in (4, 8, 16, 32)]


SIZES = [(64, 96), (40, 60)]


@torch.no_grad()
def test_proposals_start_as_the_whole_unpadded_image_and_move_by_the_deltas():
    head = small_head()
    for stage in head.stages:
        nn.init.zeros_(stage.fc_reg.weight)
        stage.fc_reg.bias.copy_(torch.tensor([0.2, 0.0, -1.0, 0.5]))
    first, second = (output["pred_boxes"] for output in head(pyramid(2, 64, 96), SIZES))
    width, height = torch.tensor([-1.0, 0.5]).exp().tolist()
    expected = torch.tensor([0.5 + 0.2 / 2, 0.5, width, height])  # stds 0.5 0.5 1 1
    torch.testing.assert_close(first, expected.expand(2, Q, 4))
    expected = torch.tensor([0.6 + 0.1 * width, 0.5, width**2, height**2])  # wider than the image: not clipped
    torch.testing.assert_close(second, expected.expand(2, Q, 4))


@torch.no_grad()
def test_regions_are_those_of_the_boxes_in_pixels():
    head, asked = small_head(), []
    pool = head.pooler.forward
    head.pooler.forward = lambda features, boxes: asked.append(boxes) or pool(features, boxes)
    outputs = head(pyramid(2, 64, 96), SIZES)
    assert asked[0][0].tensor.tolist() == [[0, 0, 96, 64]] * Q
    assert asked[0][1].tensor.tolist() == [[0, 0, 60, 40]] * Q
    corners = box_cxcywh_to_xyxy(outputs[0]["pred_boxes"][1]) * torch.tensor([60, 40, 60, 40])
    torch.testing.assert_close(asked[1][1].tensor, corners, atol=1e-3, rtol=1e-4)


def test_no_gradient_goes_from_a_stage_through_the_boxes_of_the_one_before():
    head = small_head()
    first, second = head(pyramid(1, 64, 96), SIZES[:1])
    second["pred_boxes"].sum().backward(retain_graph=True)
    assert head.init_proposal_bboxes.weight.grad is None
    assert head.stages[0].fc_reg.weight.grad is None
    assert head.stages[0].ffn.layers[0].weight.grad.any()  # features are not cut
    first["pred_boxes"].sum().backward()
    assert head.init_proposal_bboxes.weight.grad.any()
    assert head.stages[0].fc_reg.weight.grad.any()


def test_deltas_have_the_units_of_the_paper():
    found = DELTAS.apply_deltas(torch.tensor([[1.0, 1.0, 0.0, 100.0]]), torch.tensor([[0.0, 0.0, 4.0, 8.0]]))
    torch.testing.assert_close(found, torch.tensor([[2.0, 8.0 - 250, 6.0, 8.0 + 250]]))


def test_fresh_values():
    head = small_head()
    assert head.init_proposal_bboxes.weight.tolist() == [[0.5, 0.5, 1.0, 1.0]] * Q
    assert head.stages[1].fc_cls.bias.sigmoid().tolist() == pytest.approx([0.01] * 5)
