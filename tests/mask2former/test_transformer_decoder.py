"""The decoder: attention masks, order of the levels, independence of images, recomputation."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.layers.position_encoding import SinePositionEncoding
from mask2former.transformer_decoder import MaskedAttentionDecoder, attention_mask_from_predictions, predict_masks
from tests.mask2former.building import build_head, tiny_backbone

SIZES = [(2, 3), (4, 6), (8, 12)]


@pytest.fixture
def decoder() -> MaskedAttentionDecoder:
    torch.manual_seed(0)
    return build_head(tiny_backbone())[1].double()


def random_inputs(batch: int = 2):
    draws = torch.Generator().manual_seed(1)
    mask_features = torch.randn(batch, 32, 16, 24, generator=draws, dtype=torch.float64)
    return mask_features, [torch.randn(batch, 32, *size, generator=draws, dtype=torch.float64) for size in SIZES]


def test_masks_are_inner_products():
    embed, features = torch.tensor([[1.0, 2.0]]), torch.tensor([[[3.0, 4.0]], [[5.0, -6.0]]])
    assert predict_masks(embed, features).tolist() == [[[13.0, -8.0]]]


def test_blocked_where_the_mask_is_off():
    features = torch.tensor([[[[1.0, -1.0, 0.0]]]])  # (B, E, H, W) = (1, 1, 1, 3)
    blocked = attention_mask_from_predictions(torch.tensor([[[1.0], [-1.0]]]), features)
    assert blocked.tolist() == [[[False, True, False], [True, False, False]]]


def test_a_query_that_is_off_everywhere_looks_everywhere():
    blocked = attention_mask_from_predictions(torch.tensor([[[-1.0], [1.0]]]), torch.ones(1, 1, 2, 2))
    assert not blocked.any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_resizing_features_is_resizing_masks(height, width, seed):
    draws = torch.Generator().manual_seed(seed)
    embed = torch.randn(1, 3, 4, generator=draws, dtype=torch.float64)
    features = torch.randn(1, 4, 8, 12, generator=draws, dtype=torch.float64)
    how = dict(size=(height, width), mode="bilinear", align_corners=False)
    of_features = predict_masks(embed, F.interpolate(features, **how))
    torch.testing.assert_close(of_features, F.interpolate(predict_masks(embed, features), **how))


def test_one_prediction_before_and_one_after_every_layer(decoder):
    predictions = decoder(*random_inputs())
    assert len(predictions) == 1 + len(decoder.layers)
    assert all(one["pred_logits"].shape == (2, 12, 6) for one in predictions)
    assert all(one["mask_embed"].shape == (2, 12, 32) for one in predictions)
    assert torch.equal(predictions[0]["pred_logits"][0], predictions[0]["pred_logits"][1])  # of the queries alone


def test_levels_are_read_in_turn_coarse_to_fine(decoder):
    mask_features, maps = random_inputs()
    before = decoder(mask_features, maps)
    for level in range(3):
        changed = [feature + (index == level) for index, feature in enumerate(maps)]
        after = decoder(mask_features, changed)
        same = [torch.equal(a["mask_embed"], b["mask_embed"]) for a, b in zip(before, after, strict=True)]
        assert same == [index <= level for index in range(4)]


def test_blocked_cells_change_nothing(decoder):
    """With all masks on in the left half and off in the right, the first layer does not see what stands right."""
    torch.nn.init.zeros_(decoder.mask_embed.layers[-1].weight)
    torch.nn.init.ones_(decoder.mask_embed.layers[-1].bias)
    mask_features, maps = random_inputs()
    mask_features = torch.full_like(mask_features, -1.0)
    mask_features[..., :12] = 1.0
    right, left = maps[0].clone(), maps[0].clone()
    right[..., 2] += 5.0
    left[..., 0] += 5.0
    states = [decoder(mask_features, [coarse, *maps[1:]])[1]["pred_logits"] for coarse in (maps[0], right, left)]
    torch.testing.assert_close(states[0], states[1])
    assert not torch.allclose(states[0], states[2])


def test_a_batch_equals_its_images(decoder):
    mask_features, maps = random_inputs()
    together = decoder(mask_features, maps)[-1]
    for image in range(2):
        part = slice(image, image + 1)
        alone = decoder(mask_features[part], [level[part] for level in maps])[-1]
        torch.testing.assert_close(alone["mask_embed"], together["mask_embed"][part])
        torch.testing.assert_close(alone["pred_logits"], together["pred_logits"][part])


def total(predictions) -> torch.Tensor:
    return sum(one["pred_logits"].square().sum() + one["mask_embed"].square().sum() for one in predictions)


def test_gradient_reaches_every_parameter(decoder):
    total(decoder(*random_inputs())).backward()
    assert [name for name, parameter in decoder.named_parameters() if parameter.grad is None] == []


def test_recomputation_gives_the_same_gradients(decoder):
    gradients = []
    for recompute in (False, True):
        decoder.use_checkpoint = recompute
        decoder.zero_grad()
        total(decoder.train()(*random_inputs())).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in decoder.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_masks_for_attention_carry_no_gradient(decoder):
    mask_features, maps = random_inputs()
    mask_features.requires_grad_()
    predictions = decoder(mask_features, maps)
    assert torch.autograd.grad(total(predictions), mask_features, allow_unused=True) == (None,)


# A width of its own


def test_a_decoder_of_another_width_reads_projected_maps():
    """As one of the maps' width would read maps that went through the convolutions before."""
    torch.manual_seed(0)
    decoder = build_head(tiny_backbone(), decoder_dim=32, dims=(64, 32))[1].double()
    plain = build_head(tiny_backbone(), dims=(32, 32))[1].double()
    plain.load_state_dict({name: v for name, v in decoder.state_dict().items() if not name.startswith("input_proj.")})
    assert [tuple(conv.weight.shape) for conv in decoder.input_proj] == [(32, 64, 1, 1)] * 3
    mask_features, maps = random_inputs()
    maps = [torch.cat([x, x.flip(1).sin()], dim=1) for x in maps]  # 64 channels
    projected = [F.conv2d(x, c.weight, c.bias) for x, c in zip(maps, decoder.input_proj, strict=True)]
    predictions = decoder(mask_features, maps)
    for ours, expected in zip(predictions, plain(mask_features, projected), strict=True):
        torch.testing.assert_close(ours["pred_logits"], expected["pred_logits"])
        torch.testing.assert_close(ours["mask_embed"], expected["mask_embed"])
    sum(one["mask_embed"].square().sum() for one in predictions).backward()
    assert all(conv.weight.grad.abs().sum() > 0 and conv.bias.grad.abs().sum() > 0 for conv in decoder.input_proj)


def test_a_decoder_of_the_maps_width_has_no_projections(decoder):
    assert not [name for name in decoder.state_dict() if "input_proj" in name]


def test_position_features_that_do_not_fit_the_width_are_refused():
    position = SinePositionEncoding(num_feats=16)
    with pytest.raises(ValueError, match=r"decoder\.dim is 16.*set model\.decoder\.position_embedding\.num_feats=8"):
        MaskedAttentionDecoder(5, position_embedding=position, dim=16, in_dim=32)
