"""The deformable encoder and what it needs to know about levels and padding."""

import pytest
import torch

from focalnet_d2.layers.deformable_encoder import (
    DeformableEncoder,
    flatten_levels,
    get_encoder_reference_points,
    get_valid_ratios,
)

SHAPES = [(4, 6), (2, 3)]


def make_masks(valid=((4, 6), (2, 3)), shapes=SHAPES):
    """One mask a level, True outside the valid rectangle."""
    masks = []
    for (height, width), (h, w) in zip(shapes, valid, strict=True):
        mask = torch.ones(1, height, width, dtype=torch.bool)
        mask[:, :h, :w] = False
        masks.append(mask)
    return masks


def make_encoder(**changes) -> DeformableEncoder:
    torch.manual_seed(0)
    settings = dict(num_layers=2, num_levels=2, num_heads=4, num_points=2, ffn_dim=32)
    encoder = DeformableEncoder(16, **{**settings, **changes})
    for layer in encoder.layers:
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.1)
        torch.nn.init.normal_(layer.self_attn.attention_weights.weight, std=0.1)
    return encoder


def tokens_and_position(batch: int = 1):
    count = sum(h * w for h, w in SHAPES)
    return torch.randn(batch, count, 16), torch.randn(batch, count, 16)


def test_levels_follow_each_other_row_by_row():
    first = torch.arange(12.0).view(1, 2, 2, 3)  # 2 channels of a 2 x 3 map
    second = torch.tensor([[[[100.0]], [[200.0]]]])
    tokens = flatten_levels([first, second])
    assert tokens.shape == (1, 7, 2)
    assert tokens[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 100]
    assert tokens[0, :, 1].tolist() == [6, 7, 8, 9, 10, 11, 200]


def test_valid_ratios_are_width_then_height():
    ratios = get_valid_ratios(make_masks(((3, 3), (1, 3))))
    torch.testing.assert_close(ratios, torch.tensor([[[0.5, 0.75], [1.0, 0.5]]]))


def test_reference_points_without_padding_are_cell_centers_of_every_level():
    points = get_encoder_reference_points(SHAPES, torch.ones(1, 2, 2))
    assert points.shape == (1, 30, 2, 2)
    torch.testing.assert_close(points[0, 0, 0], torch.tensor([0.5 / 6, 0.5 / 4]))
    torch.testing.assert_close(points[0, 7, 1], torch.tensor([1.5 / 6, 1.5 / 4]))  # second row, second column
    torch.testing.assert_close(points[0, 29, 0], torch.tensor([2.5 / 3, 1.5 / 2]))
    assert torch.equal(points[:, :, 0], points[:, :, 1])


def test_reference_points_with_padding_keep_their_share_of_the_image():
    """The centre of cell 0 of a level of which half is valid lies at twice the share, times each level's ratio."""
    points = get_encoder_reference_points(SHAPES, torch.tensor([[[0.5, 1.0], [2 / 3, 1.0]]]))
    torch.testing.assert_close(points[0, 0, 0], torch.tensor([0.5 / 6, 0.5 / 4]))
    torch.testing.assert_close(points[0, 0, 1], torch.tensor([0.5 / 3 * 2 / 3, 0.5 / 4]))


def test_without_layers_nothing_happens():
    tokens, position = tokens_and_position()
    encoder = make_encoder(num_layers=0)
    assert torch.equal(encoder(tokens, position, SHAPES, torch.ones(1, 2, 2)), tokens)


def test_batch_equals_single():
    encoder = make_encoder().eval()
    tokens, position = tokens_and_position(3)
    together = encoder(tokens, position, SHAPES, torch.ones(3, 2, 2))
    for b in range(3):
        one = slice(b, b + 1)
        alone = encoder(tokens[one], position[one], SHAPES, torch.ones(1, 2, 2))
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=1e-5)


def test_what_padding_holds_does_not_matter():
    encoder = make_encoder().eval()
    tokens, position = tokens_and_position()
    masks = make_masks(((3, 4), (2, 2)))
    flat = torch.cat([mask.flatten(1) for mask in masks], dim=1)
    noised = tokens.masked_fill(flat[..., None], 50.0)
    ratios = get_valid_ratios(masks)
    first, second = (encoder(x, position, SHAPES, ratios, flat)[~flat] for x in (tokens, noised))
    torch.testing.assert_close(first, second)


def test_position_guides_where_tokens_look_but_is_not_read():
    """With equal values everywhere, and all points inside, the output does not depend on the position."""
    encoder = make_encoder(num_layers=1).eval()
    attention = encoder.layers[0].self_attn
    torch.nn.init.zeros_(attention.sampling_offsets.weight)
    torch.nn.init.zeros_(attention.sampling_offsets.bias)
    tokens, position = tokens_and_position()
    constant = tokens[:, :1].expand_as(tokens)
    middle = torch.full((1, 30, 2, 2), 0.5)
    outputs = [encoder.layers[0](constant, place, middle, SHAPES, None) for place in (position, -position)]
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activation_checkpointing_changes_nothing(dropout):
    tokens, position = tokens_and_position()
    results = []
    for use_checkpoint in (False, True):
        encoder = make_encoder(use_checkpoint=use_checkpoint, dropout=dropout).train()
        torch.manual_seed(1)
        output = encoder(tokens, position, SHAPES, torch.ones(1, 2, 2))
        output.square().sum().backward()
        results.append((output, {n: p.grad for n, p in encoder.named_parameters()}))
    torch.testing.assert_close(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name])


def test_gradient_reaches_every_parameter():
    encoder = make_encoder()
    tokens, position = tokens_and_position()
    (encoder(tokens, position, SHAPES, torch.ones(1, 2, 2)) * torch.randn(1, 30, 16)).sum().backward()
    assert all(parameter.grad.any() for parameter in encoder.parameters())
