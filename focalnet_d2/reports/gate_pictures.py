"""Pictures of FocalNet's gates and modulators: heat over a grey image, alone and side by side."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_COLORS = matplotlib.colormaps["inferno"]
_HEAT, _MARGIN, _BAR = 0.72, 12, 10  # share of the color; pixels
_INK, _PAPER = (30, 32, 38), (250, 250, 250)


def heat_picture(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A map laid over an image: dark where it is lowest, yellow where it is highest.

    Args:
        image: (H, W, 3) uint8 RGB; values: (H, W).

    Returns:
        (H, W, 3) uint8 RGB.
    """
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.zeros_like(values)
    heat = _COLORS(shares)[..., :3] * 255  # (H, W, 3)
    grey = image.astype(np.float32).mean(-1, keepdims=True)
    return np.clip(_HEAT * heat + (1 - _HEAT) * grey, 0, 255).round().astype(np.uint8)


def gate_sheet(title: str, image: np.ndarray, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """The image, and the heat of each map beside it with a scale from its lowest to its highest value.

    Args:
        image: (H, W, 3) uint8 RGB.
        maps: (H, W) by what is written above it.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    text_size = max(12, round(width / 18))
    font, line = ImageFont.load_default(size=text_size), round(text_size * 1.7)
    cells = {"image": image, **{name: heat_picture(image, values) for name, values in maps.items()}}
    size = (len(cells) * (width + _MARGIN) + _MARGIN, 2 * line + height + _BAR + line + 2 * _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, line / 2), title, fill=_INK, font=font, anchor="lm")
    for place, (name, picture) in enumerate(cells.items()):
        left, top = _MARGIN + place * (width + _MARGIN), 2 * line
        draw.text((left + width / 2, 1.5 * line), name, fill=_INK, font=font, anchor="mm")
        sheet.paste(Image.fromarray(picture), (left, top))
        if name in maps:
            _draw_scale(sheet, (left, top + height + _MARGIN // 2, width), maps[name], font)
    return np.asarray(sheet)


def _draw_scale(sheet: Image.Image, where: tuple[int, int, int], values: np.ndarray, font) -> None:
    """The colors from the lowest value of (H, W) to the highest, and both numbers."""
    left, top, width = where
    bar = (_COLORS(np.linspace(0, 1, width))[None, :, :3] * 255).round().astype(np.uint8)
    sheet.paste(Image.fromarray(np.repeat(bar, _BAR, axis=0)), (left, top))
    draw = ImageDraw.Draw(sheet)
    below = top + _BAR + font.size * 0.8
    draw.text((left, below), f"{values.min():.3g}", fill=_INK, font=font, anchor="lm")
    draw.text((left + width, below), f"{values.max():.3g}", fill=_INK, font=font, anchor="rm")
