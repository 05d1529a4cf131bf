"""Colours of the SSD jitter: values worked out by hand, ranges and odds, and HSV against matplotlib."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import rgb_to_hsv as hsv_of_matplotlib

from focalnet_d2.data.color_jitter import ColorTransform, SsdColorJitter, hsv_to_rgb, rgb_to_hsv

channel = st.integers(0, 255)


def changed(color, **change):
    return ColorTransform(**change).apply_image(np.array([[color]], np.uint8))[0, 0].tolist()


@pytest.mark.parametrize(
    ("color", "change", "expected"),
    [
        ((10, 200, 250), {}, [10, 200, 250]),
        ((10, 200, 250), {"brightness": 32.0}, [42, 232, 255]),
        ((10, 200, 250), {"brightness": -32.0}, [0, 168, 218]),
        ((10, 200, 250), {"contrast": 1.5}, [15, 255, 255]),
        ((10, 200, 251), {"contrast": 0.5}, [5, 100, 125]),  # 125.5 loses its fraction
        ((10, 200, 250), {"brightness": -20.0, "contrast": 1.5}, [0, 255, 255]),
        ((255, 0, 0), {"hue": 60}, [0, 255, 0]),
        ((255, 0, 0), {"hue": -60}, [0, 0, 255]),
        ((0, 0, 255), {"hue": 15}, [128, 0, 255]),
        ((200, 100, 100), {"saturation": 0.5}, [200, 150, 150]),  # S = 128 -> 64: 200 (1 - 64 / 255)
        ((200, 100, 100), {"saturation": 1.5}, [200, 49, 49]),  # S = 128 -> 192
        ((200, 10, 10), {"saturation": 1.5}, [200, 0, 0]),
        ((90, 90, 90), {"saturation": 1.5, "hue": 18}, [90, 90, 90]),
        ((200, 0, 0), {"contrast": 1.5, "saturation": 0.5}, [255, 128, 128]),  # S = 127: 255 (1 - 127 / 255)
        ((200, 0, 0), {"contrast": 1.5, "saturation": 0.5, "contrast_first": False}, [255, 150, 150]),
    ],
)
def test_changes_worked_out_by_hand(color, change, expected):
    assert changed(color, **change) == expected


@given(red=channel, green=channel, blue=channel)
def test_hsv_is_that_of_matplotlib_within_rounding(red, green, blue):
    hue, saturation, value = (part.item() for part in rgb_to_hsv(np.array([[[red, green, blue]]], np.uint8)))
    expected = hsv_of_matplotlib(np.array([red, green, blue]) / 255)
    distance = abs(hue - 180 * expected[0])
    assert min(distance, 180 - distance) <= 0.5 + 1e-4
    assert abs(saturation - 255 * expected[1]) <= 0.5 + 1e-4
    assert value == max(red, green, blue)
    assert 0 <= hue < 180


@given(hue=st.integers(0, 179), saturation=channel, value=channel)
def test_rgb_is_that_of_the_standard_library_within_rounding(hue, saturation, value):
    parts = (np.array([[part]], np.uint8) for part in (hue, saturation, value))
    expected = colorsys.hsv_to_rgb(hue / 180, saturation / 255, value / 255)
    np.testing.assert_allclose(hsv_to_rgb(*parts)[0, 0], 255 * np.array(expected), atol=0.5 + 1e-3)


def test_corners_of_the_color_cube():
    corners = np.array([[[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]], np.uint8)
    hue, saturation, value = rgb_to_hsv(corners)
    assert hue.tolist() == [[0, 120, 60, 90, 0, 150, 30, 0]]
    assert saturation.tolist() == [[0, 255, 255, 255, 255, 255, 255, 0]]
    assert value.tolist() == [[0, *[255] * 7]]
    assert np.array_equal(hsv_to_rgb(hue, saturation, value), corners)


def test_image_is_not_changed_in_place_and_geometry_stays():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    before = image.copy()
    transform = ColorTransform(brightness=5.0, contrast=1.2, saturation=0.7, hue=3)
    result = transform.apply_image(image)
    assert result.dtype == np.uint8
    assert result.shape == image.shape
    assert np.array_equal(image, before)
    assert np.array_equal(transform.apply_image(image[:, ::-1]), result[:, ::-1]), "any memory layout"
    assert np.array_equal(transform.apply_segmentation(image[..., 0]), image[..., 0])
    assert transform.apply_box(np.array([[1.0, 2, 3, 4]])).tolist() == [[1, 2, 3, 4]]


def drawn(count=4000, **ranges):
    jitter = SsdColorJitter(**ranges)
    return [jitter.get_transform(np.zeros((1, 1, 3), np.uint8)) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "neutral", "low", "high"),
    [("brightness", 0, -32, 32), ("contrast", 1, 0.5, 1.5), ("saturation", 1, 0.5, 1.5), ("hue", 0, -18, 18)],
)
def test_each_change_is_drawn_half_the_time_over_its_whole_range(name, neutral, low, high):
    values = np.array([getattr(transform, name) for transform in drawn()])
    changed = values[values != neutral]
    assert 0.45 < len(changed) / len(values) < 0.55
    assert low <= changed.min() <= low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) <= changed.max() <= high
    assert abs(changed.mean() - neutral) < 0.03 * (high - low)


def test_hues_are_all_whole_steps_and_the_order_is_a_fair_coin():
    transforms = drawn()
    assert {transform.hue for transform in transforms} == set(range(-18, 19))
    assert 0.45 < np.mean([transform.contrast_first for transform in transforms]) < 0.55


def test_changes_are_drawn_independently():
    neutral = {"brightness": 0, "contrast": 1, "saturation": 1, "hue": 0}
    applied = [[getattr(t, name) != value for name, value in neutral.items()] + [t.contrast_first] for t in drawn()]
    assert np.abs(np.corrcoef(np.array(applied, float).T) - np.eye(5)).max() < 0.07
