"""The pixel decoder: order and sizes of its maps, mixed precision, and what each part sees."""

import pytest
import torch
from detectron2.layers import ShapeSpec

from focalnet_d2.layers.deformable_encoder import DeformableEncoder
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from mask2former.pixel_decoder import PixelDecoder
from tests.mask2former.building import build_head, tiny_backbone

SIZES = {"res2": (16, 24), "res3": (8, 12), "res4": (4, 6), "res5": (2, 3)}


def random_features(batch: int = 2, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    channels = {name: shape.channels for name, shape in tiny_backbone().output_shape().items()}
    return {name: torch.randn(batch, channels[name], *size, dtype=dtype) for name, size in SIZES.items()}


@pytest.fixture
def pixel_decoder() -> PixelDecoder:
    torch.manual_seed(0)
    return build_head(tiny_backbone())[0]


def test_maps_are_coarse_to_fine_and_mask_features_finest(pixel_decoder):
    mask_features, maps = pixel_decoder(random_features())
    assert mask_features.shape == (2, 32, 16, 24)
    assert [tuple(level.shape) for level in maps] == [(2, 32, 2, 3), (2, 32, 4, 6), (2, 32, 8, 12)]


@pytest.mark.parametrize("batch", [1, 2])
def test_maps_have_their_channels_last(pixel_decoder, batch):
    for level in pixel_decoder(random_features(batch))[1]:
        resized = torch.nn.functional.interpolate(level, scale_factor=2.0, mode="bilinear")  # asks for the layout
        assert resized.is_contiguous(memory_format=torch.channels_last)


def test_the_finest_map_reaches_the_mask_features_only(pixel_decoder):
    features = random_features()
    before = pixel_decoder(features)
    after = pixel_decoder({**features, "res2": features["res2"] + 1})
    assert not torch.allclose(before[0], after[0])
    assert all(torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))


@pytest.mark.parametrize("name", ["res3", "res4", "res5"])
def test_every_coarse_map_reaches_every_level(pixel_decoder, name):
    for layer in pixel_decoder.encoder.layers:  # at the start all weights and offsets are independent of the input
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.1)
    features = random_features()
    before = pixel_decoder(features)
    after = pixel_decoder({**features, name: features[name] + torch.randn_like(features[name])})
    assert all(not torch.allclose(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert not torch.allclose(before[0], after[0])


def test_mixed_precision_is_float32_for_float16_and_bfloat16_otherwise(pixel_decoder):
    features = random_features()
    plain = pixel_decoder(features)[0]
    with torch.autocast("cpu", torch.float16):
        half = pixel_decoder({name: feature.half().float() for name, feature in features.items()})[0]
    with torch.autocast("cpu", torch.bfloat16):
        brain, maps = pixel_decoder(features)
        assert torch.is_autocast_enabled("cpu")
    assert half.dtype == torch.float32
    assert {brain.dtype, *(level.dtype for level in maps)} == {torch.bfloat16}
    for mixed, share in ((half, 2e-3), (brain, 2e-2)):
        assert (mixed - plain).norm() < share * plain.norm()


def test_layout_in_memory_changes_nothing(pixel_decoder):
    features = random_features()
    last = {name: feature.to(memory_format=torch.channels_last) for name, feature in features.items()}
    mask_features, maps = pixel_decoder(features)
    torch.testing.assert_close((mask_features, maps), pixel_decoder(last))
    assert {level.stride(1) for level in (mask_features, *maps)} == {1}


def test_a_batch_equals_its_images(pixel_decoder):
    features = random_features(dtype=torch.float64)
    pixel_decoder.double()
    together = pixel_decoder(features)[0]
    alone = [pixel_decoder({name: value[i : i + 1] for name, value in features.items()})[0] for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_gradient_reaches_every_parameter(pixel_decoder):
    mask_features, maps = pixel_decoder(random_features())
    (mask_features.square().sum() + sum(level.square().sum() for level in maps)).backward()
    assert [name for name, parameter in pixel_decoder.named_parameters() if parameter.grad is None] == []


def test_another_number_of_maps_than_the_encoder_has_levels_is_refused():
    shapes = {name: ShapeSpec(channels=8, stride=stride) for name, stride in (("res2", 4), ("res3", 8))}
    with pytest.raises(ValueError, match="num_levels is 3"):
        PixelDecoder(
            shapes,
            position_embedding=SinePositionEncoding(16),
            encoder=DeformableEncoder(32, num_layers=1, num_levels=3),
            dim=32,
        )
