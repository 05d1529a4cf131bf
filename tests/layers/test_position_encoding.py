"""Sine position encoding: values of the official models, order of features, padding, types."""

import math

import pytest
import torch

from focalnet_d2.layers.position_encoding import SinePositionEncoding

FEATURES = [0, 1, 2, 128, 129, 255]


def no_padding(height: int, width: int, batch: int = 1):
    return torch.zeros(batch, height, width, dtype=torch.bool)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (10000, (-0.866025, -0.500001, -0.466871, -1.0, -1e-6, 1.0)),
        (20, (-0.866025, -0.500001, -0.754994, -1.0, -1e-6, 0.969672)),
    ],
    ids=("mask2former", "dino"),
)
def test_reference_values(temperature, expected):
    encoding = SinePositionEncoding(num_feats=128, temperature=temperature)(no_padding(3, 4))
    assert encoding.shape == (1, 256, 3, 4)
    torch.testing.assert_close(encoding[0, FEATURES, 1, 2], torch.tensor(expected), atol=2e-6, rtol=0)


def test_first_half_depends_on_rows_and_second_half_on_columns():
    encoding = SinePositionEncoding(num_feats=128, temperature=20)(no_padding(3, 4))[0]
    assert torch.equal(encoding[:128], encoding[:128, :, :1].expand(-1, -1, 4))
    assert torch.equal(encoding[128:], encoding[128:, :1].expand(-1, 3, -1))


@pytest.mark.parametrize("offset", [0.0, -0.5])
def test_value_by_hand(offset):
    """Coordinate c of n cells, counted from 1: (c + offset) / (n + 1e-6) of a full turn."""
    encoding = SinePositionEncoding(num_feats=4, temperature=100, offset=offset)(no_padding(5, 7))[0]
    turn = (3 + offset) / (7 + 1e-6) * 2 * math.pi
    expected = [math.sin(turn), math.cos(turn), math.sin(turn / 10), math.cos(turn / 10)]
    torch.testing.assert_close(encoding[4:, 0, 2], torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(5, 7), (1, 3), (40, 1)])
def test_a_row_and_a_column_make_a_map_without_padding(size):
    encoding, like = (
        SinePositionEncoding(num_feats=16, temperature=20, offset=-0.5),
        torch.zeros(1, dtype=torch.float64),
    )
    expected = encoding(no_padding(*size), torch.float64)
    torch.testing.assert_close(encoding.of_size(size, like), expected, rtol=0, atol=1e-6)


def test_padding_changes_nothing_inside():
    encoding = SinePositionEncoding(num_feats=16, temperature=20)
    mask = torch.ones(1, 9, 8, dtype=torch.bool)
    mask[:, :5, :6] = False
    torch.testing.assert_close(encoding(mask)[..., :5, :6], encoding(no_padding(5, 6)))


def test_images_of_a_batch_are_independent():
    encoding = SinePositionEncoding(num_feats=16, temperature=20)
    mask = no_padding(6, 6, batch=2)
    mask[1, 3:] = True
    torch.testing.assert_close(encoding(mask)[:1], encoding(mask[:1]))
    assert not torch.equal(encoding(mask)[0], encoding(mask)[1])


def test_fully_padded_map_is_finite():
    assert SinePositionEncoding(num_feats=16, temperature=20)(~no_padding(4, 4)).isfinite().all()


def test_height_and_width_may_have_temperatures_of_their_own():
    """Rows are those of the first temperature, columns those of the second, bit for bit; without it, of the first."""
    one, other = (SinePositionEncoding(num_feats=16, temperature=t, offset=-0.5) for t in (20.0, 10000.0))
    both = SinePositionEncoding(num_feats=16, temperature=20.0, temperature_width=10000.0, offset=-0.5)
    mask = no_padding(5, 7, batch=2)
    mask[1, 3:] = True
    assert torch.equal(both(mask)[:, :16], one(mask)[:, :16])
    assert torch.equal(both(mask)[:, 16:], other(mask)[:, 16:])
    assert not torch.equal(one(mask)[:, 16:], other(mask)[:, 16:])
    torch.testing.assert_close(both.of_size((5, 7), torch.zeros(1)), both(no_padding(5, 7)), rtol=0, atol=1e-6)
    same = SinePositionEncoding(num_feats=16, temperature=20.0, temperature_width=20.0, offset=-0.5)
    assert torch.equal(same(mask), one(mask))


def test_settings_can_be_read_back():
    encoding = SinePositionEncoding(num_feats=128, temperature=10000, offset=-0.5)
    assert (encoding.temperature, encoding.temperature_width, encoding.offset) == (10000, 10000, -0.5)
    assert SinePositionEncoding(temperature_width=20.0).temperature_width == 20
