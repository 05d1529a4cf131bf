"""Draws boxes and panoptic segments with labels, and grids that show predictions beside the truth."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

from focalnet_d2.utils.atomic_write import atomic_open

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

_MARGIN = 10  # pixels between the cells of a grid
_INK: Colour = (30, 32, 38)
_OPACITY = 0.6  # of the colour that a segment is filled with
_LABELLED_SHARE = 0.006  # of the image; smaller segments have no name written on them


def class_color(class_index: int) -> Colour:
    """A bright RGB colour per class; neighbours in the class list differ clearly."""
    hue = (class_index * 0.61803398875 + 0.02) % 1
    lightness = (0.5, 0.42, 0.58)[class_index // 5 % 3]
    return tuple(round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, 0.9))


def draw_detections(
    image: np.ndarray,
    instances: Instances,
    class_names: Sequence[str],
    score_threshold: float = 0.5,
    min_side: int = 360,
) -> np.ndarray:
    """Draws the boxes of predictions, or of targets where there are no scores.

    Args:
        image: (H, W, 3) uint8 RGB.
        instances: pred_boxes, pred_classes and scores, or gt_boxes and gt_classes; boxes in pixels of
        `image`.
        score_threshold: predictions below it are left out.
        min_side: a smaller image is enlarged until its shorter side has this length, pixels.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    boxes, classes, scores = _boxes_classes_scores(instances, score_threshold)
    canvas, scale = _enlarged(image, min_side)
    draw, font = ImageDraw.Draw(canvas, "RGBA"), _label_font(canvas)
    line = max(2, round(min(canvas.size) / 160))
    order = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")  # small ones on top
    for i in order.tolist():
        _draw_box(draw, boxes[i] * scale, class_color(classes[i]), line)
    taken: list[Box] = []
    for i in order.tolist():
        text = class_names[classes[i]] if scores is None else f"{class_names[classes[i]]} {scores[i] * 100:.0f}"
        taken.append(_draw_label(draw, boxes[i] * scale, text, class_color(classes[i]), font, taken))
    return np.asarray(canvas)


def draw_panoptic(
    image: np.ndarray,
    segment_ids: np.ndarray,
    segments_info: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    min_side: int = 360,
) -> np.ndarray:
    """Fills every segment with the colour of its class, outlines it, and writes the class on it.

    Args:
        image: (H, W, 3) uint8 RGB.
        segment_ids: (H, W) integers, 0 = no segment.
        segments_info: `id` and `category_id` (contiguous) of the segments; crowds have `iscrowd` 1.
        class_names: of things and stuff, by contiguous id.
        min_side: a smaller image is enlarged until its shorter side has this length, pixels.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    canvas, _ = _enlarged(image, min_side)
    ids = np.asarray(Image.fromarray(segment_ids.astype(np.int32)).resize(canvas.size, Image.Resampling.NEAREST))
    pixels = np.asarray(canvas).astype(np.float32)
    for segment in segments_info:
        inside = ids == segment["id"]
        color = np.asarray(class_color(segment["category_id"]), np.float32)
        pixels[inside] = (1 - _OPACITY) * pixels[inside] + _OPACITY * color
    pixels[_borders(ids)] = 255
    canvas = Image.fromarray(pixels.round().astype(np.uint8))
    draw, font = ImageDraw.Draw(canvas, "RGBA"), _label_font(canvas)
    for segment in segments_info:
        inside = ids == segment["id"]
        if inside.mean() >= _LABELLED_SHARE:
            depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            text = class_names[segment["category_id"]] + (" (crowd)" if segment.get("iscrowd") else "")
            draw.text((x, y), text, fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill=_INK)
    return np.asarray(canvas)


def _enlarged(image: np.ndarray, min_side: int) -> tuple[Image.Image, float]:
    """The image with a shorter side of `min_side` pixels at least, and the factor."""
    scale = max(1.0, min_side / min(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), scale


def _label_font(canvas: Image.Image) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=max(11, round(min(canvas.size) / 26)))


def _borders(ids: np.ndarray) -> np.ndarray:
    """Pixels whose neighbour to the right or below belongs to another segment: (H, W) -> (H, W) bool."""
    borders = np.zeros(ids.shape, bool)
    borders[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    borders[:-1] |= ids[:-1] != ids[1:]
    return borders


def _boxes_classes_scores(
    instances: Instances, score_threshold: float
) -> tuple[np.ndarray, list[int], list[float] | None]:
    """(M, 4) XYXY boxes, classes and, for predictions, scores."""
    if not instances.has("scores"):
        return instances.gt_boxes.tensor.cpu().numpy(), instances.gt_classes.tolist(), None
    kept = instances[instances.scores >= score_threshold]
    boxes = kept.pred_boxes.tensor.detach().float().cpu().numpy()
    return boxes, kept.pred_classes.tolist(), kept.scores.tolist()


def _draw_box(draw: ImageDraw.ImageDraw, box: np.ndarray, color: Colour, line: int) -> None:
    """One rectangle with a faint light border, so that it shows on any ground."""
    width, height = draw.im.size
    left, right = np.clip((box[0].round(), box[2].round() - 1), 0, width - 1).tolist()
    top, bottom = np.clip((box[1].round(), box[3].round() - 1), 0, height - 1).tolist()
    right, bottom = max(left, right), max(top, bottom)
    draw.rectangle((left, top, right, bottom), outline=(255, 255, 255, 110), width=line + 2)
    draw.rectangle((left, top, right, bottom), outline=color, width=line)


def _draw_label(draw: ImageDraw.ImageDraw, box: np.ndarray, text: str, color: Colour, font, taken: list[Box]) -> Box:
    """Writes a box's name at the first of six places around it that covers no earlier label; returns the place."""
    left, top, right, bottom = box.tolist()
    text_left, text_top, text_right, text_bottom = draw.textbbox((0, 0), text, font=font)
    width, height = text_right - text_left + 8, text_bottom - text_top + 6
    room_x, room_y = max(draw.im.size[0] - width, 0), max(draw.im.size[1] - height, 0)
    places = []
    for y in (top - height, bottom, top):
        for x in (left, right - width):
            x, y = min(max(x, 0), room_x), min(max(y, 0), room_y)
            places.append((round(x), round(y), round(x) + width, round(y) + height))
    place = next((p for p in places if not any(_overlap(p, other) for other in taken)), places[0])
    draw.rectangle(place, fill=(*color, 235))
    dark = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 140
    ink = _INK if dark else (255, 255, 255)
    draw.text((place[0] + 4 - text_left, place[1] + 3 - text_top), text, fill=ink, font=font)
    return place


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def comparison_grid(
    groups: Sequence[Sequence[np.ndarray]],
    path: str | Path,
    *,
    titles: Sequence[str] = ("ground truth", "prediction"),
    captions: Sequence[str] = (),
    groups_per_line: int = 2,
) -> Path:
    """Writes a picture of groups of images, such as the truth and a prediction.

    Args:
        groups: in each, one (H, W, 3) uint8 RGB image for every title; sizes may differ.
        path: image file to write, complete or not at all; its folder is made.
        titles: above the images of a group.
        captions: one below each group, or none at all.
        groups_per_line: groups beside each other.

    Returns:
        path.

    Raises:
        ValueError: no groups, or one with another number of images than there are titles.
    """
    if not groups:
        raise ValueError(f"There are no images to draw into {path}.")
    if any(len(group) != len(titles) for group in groups):
        raise ValueError(f"Every group needs {len(titles)} images, one for each of {list(titles)}.")
    columns = min(groups_per_line, len(groups))
    lines = [groups[start : start + columns] for start in range(0, len(groups), columns)]
    heights = [max(image.shape[0] for group in line for image in group) for line in lines]
    width = max(image.shape[1] for group in groups for image in group)
    group_width = len(titles) * (width + _MARGIN) + _MARGIN
    header = 2 * _MARGIN + round(width / 18)
    footer = 2 * _MARGIN + round(width / 30) if captions else _MARGIN
    size = (columns * group_width + _MARGIN, header + sum(heights) + len(lines) * footer)
    sheet = Image.new("RGB", size, (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(12, round(width / 20)))
    small = ImageFont.load_default(size=max(12, round(width / 30)))
    top, shown = header, iter(captions)
    for line, height in zip(lines, heights, strict=True):
        for position, image in enumerate(image for group in line for image in group):
            group, place = divmod(position, len(titles))
            x = _MARGIN + group * group_width + place * (width + _MARGIN)
            if top == header:
                draw.text((x + width / 2, header / 2), titles[place], fill=_INK, font=font, anchor="mm")
            corner = (x + (width - image.shape[1]) // 2, top + (height - image.shape[0]) // 2)
            sheet.paste(Image.fromarray(image), corner)
        for group, caption in zip(range(len(line)), shown):
            place = (2 * _MARGIN + group * group_width, top + height + footer / 2 - _MARGIN / 2)
            draw.text(place, caption, fill=_INK, font=small, anchor="lm")
        top += height + footer
    path = Path(path)
    with atomic_open(path, sync=False) as file:
        sheet.save(file, Image.registered_extensions()[path.suffix.lower()])
    return path
