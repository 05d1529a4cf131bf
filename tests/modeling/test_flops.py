"""Multiply-adds: by hand for single layers, and against what the papers print for whole models."""

import pytest
import torch
from detectron2.config import instantiate
from torch import nn
from torch.nn import functional as F

from focalnet_d2.backbone.focalnet import FocalModulation, FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.kernels.deformable_attention import deformable_attention
from focalnet_d2.modeling.classifier.model import ImageClassifier
from focalnet_d2.modeling.flops import count_model, count_multiply_adds, shapes_only
from tests.recipes import meta_model, recipe_named


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 4, stride=4), (1, 3, 8, 12), 2 * 3 * 8 * 3 * 16),
        (nn.Conv2d(6, 6, 5, padding=2, groups=6), (1, 6, 7, 9), 7 * 9 * 6 * 25),  # depth-wise: one input channel
        (nn.Linear(5, 7), (2, 3, 5), 2 * 3 * 5 * 7),
        (nn.Sequential(nn.LayerNorm(5), nn.GELU()), (4, 5), 0),
    ],
)
def test_layers_by_hand(layer, shape, expected):
    assert count_multiply_adds(lambda: layer(torch.zeros(shape))) == expected


def test_focal_modulation_by_hand():
    """Two levels, kernels 3 and 5, 8 channels, 6 x 10 positions."""
    positions, dim = 6 * 10, 8
    to_query_context_gates = dim * (2 * dim + 3)
    depthwise = dim * (9 + 25)
    modulator = projection = dim * dim
    modulation = FocalModulation(dim, focal_window=3, focal_level=2)
    assert count_multiply_adds(lambda: modulation(torch.zeros(1, 6, 10, dim))) == positions * (
        to_query_context_gates + depthwise + modulator + projection
    )


@pytest.mark.parametrize("mask", [None, torch.zeros(1, 1, 6, 10, dtype=torch.bool)])
def test_attention_counts_both_products(mask):
    """One image, 2 heads, 6 queries, 10 keys, 4 channels of keys and values."""
    query, key = torch.zeros(1, 2, 6, 4), torch.zeros(1, 2, 10, 4)
    run = lambda: F.scaled_dot_product_attention(query, key, key, attn_mask=mask)  # noqa: E731
    assert count_multiply_adds(run) == 2 * (6 * 10 * 4) * 2
    with shapes_only():
        assert count_multiply_adds(run) == 2 * (6 * 10 * 4) * 2


def test_attention_module_in_evaluation_counts_its_layers_too():
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.zeros(1, 5, 8)
    layers, products = 5 * 8 * 8 * 4, 2 * 5 * 5 * 8
    with torch.no_grad():
        assert count_multiply_adds(lambda: attention(x, x, x, need_weights=False)) == layers + products


@pytest.mark.parametrize("compiled", ["0", "1"])
@pytest.mark.parametrize("gradients", [True, False])
def test_deformable_attention_counts_four_texels_a_point(gradients, compiled, monkeypatch):
    """3 queries, 2 heads of 4 channels, 2 levels, 5 points; with and without a compiler."""
    monkeypatch.setenv("FOCALNET_D2_COMPILE", compiled)
    arguments = torch.zeros(1, 4 * 6 + 2 * 3, 2, 4), [(4, 6), (2, 3)], torch.zeros(1, 3, 2, 2, 5, 2)
    value = arguments[0].requires_grad_(gradients)
    weights = torch.zeros(1, 3, 2, 2, 5)
    assert count_multiply_adds(lambda: deformable_attention(value, *arguments[1:], weights)) == 3 * 2 * 2 * 5 * 4 * 4


def test_counting_takes_neither_time_nor_memory():
    """A layer of 4 TB is built and run on a batch that no machine holds."""
    with shapes_only():
        layer = nn.Linear(1_000_000, 1_000_000, bias=False)
        assert count_multiply_adds(lambda: layer(torch.empty(10_000_000, 1_000_000))) == 10**19


@pytest.mark.parametrize(
    ("variant", "published"),
    [
        ("tiny_srf", 4.4), ("tiny_lrf", 4.5), ("small_srf", 8.6), ("small_lrf", 8.7), ("base_srf", 15.3),
        ("base_lrf", 15.4), ("tiny_iso", 1.1), ("small_iso", 4.3), ("base_iso", 16.9),
    ],
)  # fmt: skip
def test_classifiers_have_the_published_flops(variant, published):
    sizes = FOCALNET_VARIANTS[variant]
    last = "res2" if variant.endswith("iso") else "res5"
    counts = count_model(lambda: ImageClassifier(FocalNet(**{**sizes, "out_features": (last,)})), (224, 224))
    assert counts.multiply_adds / 1e9 == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(
    ("recipe", "size", "parameters", "published"),
    [
        ("mask_rcnn_focalnet_tiny_srf_1x", (800, 1280), 48_675_252, 267),
        ("cascade_mask_rcnn_focalnet_tiny_lrf_3x", (800, 1280), 87_104_514, 751),
        ("atss_focalnet_tiny_srf_3x", (800, 1280), 36_521_310, 215),
        ("sparse_rcnn_focalnet_tiny_lrf_3x", (800, 1280), 111_215_864, 178),
        ("upernet_focalnet_tiny_lrf", (512, 2048), 61_573_244, 949),
    ],
)
def test_detectors_have_the_published_sizes(recipe, size, parameters, published):
    counts = count_model(lambda: instantiate(recipe_named(recipe).model), size)
    assert counts.parameters == parameters
    assert counts.multiply_adds / 1e9 == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("recipe", ["dino_focalnet_mini_quickstart", "mask2former_focalnet_mini_quickstart"])
def test_models_of_the_heads_are_counted_through_predict(recipe):
    counts = count_model(lambda: instantiate(recipe_named(recipe).model), (64, 96))
    with torch.device("meta"):
        backbone = instantiate(recipe_named(recipe).model.backbone).eval()
    with shapes_only():
        backbone = backbone.to_empty(device="cpu")
        backbone_alone = count_multiply_adds(lambda: backbone(torch.zeros(1, 3, 64, 96)))
    assert counts.multiply_adds > 1.2 * backbone_alone
    assert counts.parameters == sum(parameter.numel() for parameter in meta_model(recipe).parameters())
