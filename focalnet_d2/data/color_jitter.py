"""Random brightness, contrast, saturation and hue, as SSD introduced them (arXiv:1512.02325).

Colours are (H, W, 3) uint8, RGB; with BGR the drawn changes have the same distribution. Hue, saturation and value
are OpenCV's for 8 bits: H in 0..179 (two degrees a step), S and V in 0..255. Unlike the published code, saturation
and hue share one round trip through HSV, which saves a rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform

HUES = 180


class SsdColorJitter(T.Augmentation):
    """Each of the four changes with probability one half; contrast comes before or after the colours, by a fair coin.

    Args:
        brightness: largest shift, of 255.
        contrast, saturation: range of the factors.
        hue: largest turn, in whole steps of two degrees.
    """

    def __init__(
        self,
        *,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: int = 18,
    ):
        super().__init__()
        self.brightness, self.hue = brightness, hue
        self.contrast, self.saturation = tuple(contrast), tuple(saturation)

    def get_transform(self, image: np.ndarray) -> "ColorTransform":
        """A change drawn for an image (H, W, 3)."""
        return ColorTransform(
            brightness=_half_the_time(np.random.uniform, -self.brightness, self.brightness, neutral=0.0),
            contrast=_half_the_time(np.random.uniform, *self.contrast, neutral=1.0),
            saturation=_half_the_time(np.random.uniform, *self.saturation, neutral=1.0),
            hue=_half_the_time(np.random.randint, -self.hue, self.hue + 1, neutral=0),
            contrast_first=np.random.uniform() < 0.5,
        )


def _half_the_time(draw: Callable, low: float, high: float, *, neutral: float) -> float:
    return draw(low, high) if np.random.uniform() < 0.5 else neutral


@dataclass(frozen=True)
class ColorTransform(Transform):
    """A fixed change of colours; boxes, masks and labels stay.

    Brightness first, then contrast, saturation and hue, or saturation, hue and contrast. Every step cuts off to
    0..255 and drops fractions.

    Attributes:
        brightness: added to every channel.
        contrast: factor of every channel.
        saturation: factor of S.
        hue: added to H, modulo 180.
        contrast_first: contrast before saturation and hue.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: int = 0
    contrast_first: bool = True

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> the same with other colors."""
        table = _to_8_bit(np.arange(256) + self.brightness)
        contrast = _to_8_bit(np.arange(256) * self.contrast)
        if self.saturation == 1 and self.hue == 0:
            return contrast[table][img]
        if self.contrast_first:
            return self._change_hsv(contrast[table][img])
        return contrast[self._change_hsv(table[img])]

    def _change_hsv(self, colors: np.ndarray) -> np.ndarray:
        hue, saturation, value = rgb_to_hsv(colors)
        hue = ((np.arange(HUES) + self.hue) % HUES).astype(np.uint8)[hue]
        return hsv_to_rgb(hue, _to_8_bit(np.arange(256) * self.saturation)[saturation], value)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """(N, 2) points, which stay where they are."""
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """(H, W) labels, which stay what they are."""
        return segmentation


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def rgb_to_hsv(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 RGB -> hue in 0..179, saturation and value in 0..255, each (H, W) uint8; grey has hue 0."""
    red, green, blue = np.ascontiguousarray(colors.transpose(2, 0, 1)).astype(np.float32)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    green_is_largest = value == green
    sector = np.where(green_is_largest, np.float32(60), np.float32(120))
    difference = np.where(green_is_largest, blue - red, red - green)
    red_is_largest = value == red
    sector[red_is_largest] = 0
    np.copyto(difference, green - blue, where=red_is_largest)
    hue = np.rint(sector + 30 * difference / np.maximum(chroma, 1))  # -30..150
    hue[hue < 0] += HUES
    saturation = np.rint(255 * chroma / np.maximum(value, 1))
    return hue.astype(np.uint8), saturation.astype(np.uint8), value.astype(np.uint8)


def hsv_to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Inverse of `rgb_to_hsv` up to rounding: three (H, W) uint8 -> (H, W, 3) uint8."""
    largest = value.astype(np.float32)
    chroma = largest * saturation.astype(np.float32) / 255
    colors = np.empty((*hue.shape, 3), np.uint8)
    for channel in range(3):
        colors[..., channel] = np.rint(largest - chroma * _SHARES_OF_CHROMA[channel][hue])
    return colors


def _shares_of_chroma() -> np.ndarray:
    """(3, 180) float32: by how much of the chroma red, green and blue stay below the value at each hue."""
    sixths = (np.array([[5], [3], [1]]) + np.arange(HUES) / (HUES // 6)) % 6
    return np.clip(np.minimum(sixths, 4 - sixths), 0, 1).astype(np.float32)


_SHARES_OF_CHROMA = _shares_of_chroma()
