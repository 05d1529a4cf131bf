"""Draws one generated image: stuff regions behind, things in front, and the labels of every pixel.

Shapes: H x W pixels. Colours are float32 in [0, 1], RGB. Everything random comes from one
    `numpy.random.Generator`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from .shapes import SHAPES
from .styles import STUFF, Style

UNLABELLED = -1


@dataclass(frozen=True)
class Segment:
    """One annotated thing, or a crowd of them; its pixels are `labels == number` of its scene."""

    number: int
    class_name: str
    is_crowd: bool


@dataclass(frozen=True)
class Scene:
    """One image with its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        stuff: (H, W) int16, index into `STUFF`, -1 = unlabelled border between two regions; also below
        things.
        labels: (H, W) int16, number of the thing in front, 0 = none.
        segments: the things with at least one pixel in `labels`, back to front.
    """

    image: np.ndarray
    stuff: np.ndarray
    labels: np.ndarray
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class _Thing:
    class_name: str
    x: float
    y: float
    radius: float
    turn: float
    stretch: float


def draw_scene(rng: np.random.Generator, height: int, width: int, style: Style) -> Scene:
    """A random scene of a style, height x width pixels."""
    canvas, stuff = _draw_stuff(rng, height, width, style)
    labels = np.zeros((height, width), np.int16)
    segments: list[Segment] = []
    kind = rng.random()
    if kind >= style.empty:
        if kind < style.empty + style.crowd:
            _add_crowd(rng, canvas, labels, segments, style)
        _add_things(rng, canvas, labels, segments, style)
    grain = rng.random((height, width, 1), np.float32) * 0.016 - 0.008
    image = np.clip((canvas + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
    return Scene(image, stuff, labels, tuple(segments))


# ---- stuff


def value_noise(rng: np.random.Generator, height: int, width: int, cell_y: float, cell_x: float) -> np.ndarray:
    """(H, W) smooth noise in [0, 1): random values on a grid of cell_y x cell_x pixels, interpolated."""
    rows, row_weight = _grid_positions(height, cell_y)
    columns, column_weight = _grid_positions(width, cell_x)
    grid = rng.random((int(rows[-1]) + 2, int(columns[-1]) + 2), np.float32)
    lines = grid[rows] + (grid[rows + 1] - grid[rows]) * row_weight[:, None]  # (H, grid columns)
    return lines[:, columns] + (lines[:, columns + 1] - lines[:, columns]) * column_weight


def _grid_positions(size: int, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid index and smooth weight of the next index, for each of `size` pixels."""
    position = np.arange(size, dtype=np.float64) / cell
    index = position.astype(np.int64)
    weight = position - index
    return index, (weight * weight * (3 - 2 * weight)).astype(np.float32)


def _draw_stuff(rng: np.random.Generator, height: int, width: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Two to four textured regions, one below the other: (H, W, 3) colours and (H, W) stuff labels."""
    count = int(rng.integers(1, 4))
    below = rng.permutation(len(STUFF) - 1)[:count] + 1  # any stuff but the sky
    shares = rng.random(count + 1) + 0.6
    horizons = np.cumsum(shares / shares.sum())[:-1] * height
    canvas = _texture(rng, "sky", height, width, style)
    labels = np.zeros((height, width), np.int16)
    rows = np.arange(height, dtype=np.float32)[:, None]
    for index, horizon in zip(below.tolist(), horizons.tolist(), strict=True):
        name = STUFF[index]
        cover = np.clip(rows - _horizon(rng, width, horizon, height, name) + 0.5, 0, 1)  # (H, W)
        canvas += (_texture(rng, name, height, width, style) - canvas) * cover[..., None]
        labels = np.where(cover >= 0.9, index, np.where(cover > 0.1, UNLABELLED, labels)).astype(np.int16)
    return canvas, labels


def _horizon(rng: np.random.Generator, width: int, middle: float, height: int, name: str) -> np.ndarray:
    """(W,) height of the upper border of a region, pixels from above: level for water, rough for rock."""
    swing = {"water": 0.004, "rock": 0.13, "grass": 0.07, "sand": 0.05}[name] * height
    slow = value_noise(rng, 1, width, 1, width / 3)[0] - 0.5
    fast = value_noise(rng, 1, width, 1, width / 14)[0] - 0.5
    return (middle + 2 * swing * slow + swing * (0.9 if name == "rock" else 0.2) * fast).astype(np.float32)


def _texture(rng: np.random.Generator, name: str, height: int, width: int, style: Style) -> np.ndarray:
    """(H, W, 3) colours of a stuff class: a gradient from far to near and its own pattern."""
    far, near = (np.array(color, np.float32) / 255 for color in style.stuff[name])
    tint = (rng.random(3, np.float32) - 0.5) * 0.06
    depth = np.linspace(0, 1, height, dtype=np.float64).astype(np.float32)[:, None, None]
    size = min(height, width)
    color = far + tint + (near - far) * depth
    if name == "sky":
        clouds = value_noise(rng, height, width, size / 7, size / 3) * 0.7
        clouds += value_noise(rng, height, width, size / 18, size / 10) * 0.3
        return color + np.clip(clouds - 0.52, 0, 1)[..., None] * (4 * style.grain)
    cells = {"rock": (14, 14), "water": (70, 8), "grass": (40, 90), "sand": (110, 40)}[name]
    fine = value_noise(rng, height, width, max(size / cells[0], 1), max(size / cells[1], 1))
    coarse = value_noise(rng, height, width, size / 4, size / 4)
    pattern = (fine - 0.5) * (1.6 if name in ("grass", "rock") else 1.0) + (coarse - 0.5) * 0.7
    return color + pattern[..., None] * style.grain


# ---- things


def _add_things(rng: np.random.Generator, canvas: np.ndarray, labels: np.ndarray, segments: list, style: Style) -> None:
    """Places things back to front; one that would hide another too much is moved, at last left out."""
    height, width = labels.shape
    wanted = int(rng.integers(style.objects[0], style.objects[1] + 1))
    areas = {segment.number: int((labels == segment.number).sum()) for segment in segments}
    for _ in range(wanted):
        for _ in range(6):
            thing = _random_thing(rng, height, width, style)
            window, distance = _distance_map(thing, height, width)
            mask = distance < 0
            if mask.sum() < 0.9 * thing.radius**2 or _hides_too_much(labels, window, mask, areas):
                continue
            number = len(segments) + 1
            areas[number] = int(mask.sum())
            labels[window][mask] = number
            _paint(rng, canvas, thing, style)
            segments.append(Segment(number, thing.class_name, False))
            break


def _add_crowd(rng: np.random.Generator, canvas: np.ndarray, labels: np.ndarray, segments: list, style: Style) -> None:
    """A group of small things of one class that share one crowd annotation."""
    height, width = labels.shape
    size = min(height, width)
    name = style.classes[int(rng.integers(len(style.classes)))]
    x, y = rng.uniform(0.25, 0.75) * width, rng.uniform(0.35, 0.75) * height
    for _ in range(int(rng.integers(8, 15))):
        member = _Thing(
            name,
            x + rng.uniform(-0.2, 0.2) * size,
            y + rng.uniform(-0.11, 0.11) * size,
            radius=rng.uniform(0.04, 0.055) * size,
            turn=math.radians(rng.uniform(-style.rotation, style.rotation)),
            stretch=1.0,
        )
        window, distance = _distance_map(member, height, width)
        labels[window][distance < 0] = 1
        _paint(rng, canvas, member, style)
    segments.append(Segment(1, name, True))


def _random_thing(rng: np.random.Generator, height: int, width: int, style: Style) -> _Thing:
    size = min(height, width)
    low, high = style.radius
    radius = low * (high / low) ** rng.random() * size  # as many small ones as large ones
    margin = 0.5 * radius
    return _Thing(
        class_name=style.classes[int(rng.integers(len(style.classes)))],
        x=rng.uniform(margin, width - margin),
        y=rng.uniform(margin, height - margin),
        radius=radius,
        turn=math.radians(rng.uniform(-style.rotation, style.rotation)),
        stretch=rng.uniform(0.85, 1.18),
    )


def _hides_too_much(labels: np.ndarray, window: tuple, mask: np.ndarray, areas: dict[int, int]) -> bool:
    """Whether some thing would keep less than half of its area visible.

    Args:
        mask: (h, w) pixels of the new thing in the window.
        areas: pixels of every thing when it was placed.
    """
    visible = np.bincount(labels.ravel())
    hidden = np.bincount(labels[window][mask], minlength=len(visible))
    touched = np.flatnonzero(hidden[1:]) + 1
    return any(visible[number] - hidden[number] < 0.5 * areas[number] for number in touched.tolist())


def _window(thing: _Thing, height: int, width: int, margin: float) -> tuple[slice, slice]:
    """Rows and columns within margin x radius of the thing's centre, inside the image."""
    reach = margin * thing.radius + 2
    rows = slice(max(int(thing.y - reach), 0), min(int(thing.y + reach) + 1, height))
    return rows, slice(max(int(thing.x - reach), 0), min(int(thing.x + reach) + 1, width))


def _local_frame(thing: _Thing, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the window's pixel centres in the thing's upright unit frame, two (h, w) arrays."""
    cosine, sine = math.cos(thing.turn) / thing.radius, math.sin(thing.turn) / thing.radius
    across = (np.arange(window[1].start, window[1].stop) + 0.5 - thing.x)[None]
    down = (np.arange(window[0].start, window[0].stop) + 0.5 - thing.y)[:, None]
    x = (across * cosine + down * sine) / thing.stretch
    y = (down * cosine - across * sine) * thing.stretch
    return x.astype(np.float32), y.astype(np.float32)


def _distance_map(thing: _Thing, height: int, width: int, margin: float = 1.35) -> tuple[tuple, np.ndarray]:
    """The window around a thing and the (h, w) signed distance to its outline there, pixels."""
    window = _window(thing, height, width, margin)
    x, y = _local_frame(thing, window)
    return window, SHAPES[thing.class_name](x, y) * np.float32(thing.radius)


def _paint(rng: np.random.Generator, canvas: np.ndarray, thing: _Thing, style: Style) -> None:
    """Blends the thing into the canvas: shadow or glow first, then its lit and patterned surface."""
    if style.glow:
        window, distance = _distance_map(thing, *canvas.shape[:2], margin=2.0)
    else:
        drop = 0.09 * thing.radius + 0.8
        shifted = replace(thing, x=thing.x + drop, y=thing.y + 1.4 * drop)
        window, distance = _distance_map(shifted, *canvas.shape[:2], margin=1.7)
    first, second = _pick_colors(rng, thing.class_name, style)
    soft = 0.7 * thing.radius if style.glow else 0.16 * thing.radius + 1.0
    halo = np.clip(0.5 - distance / (2 * soft), 0, 1)[..., None]
    canvas[window] *= 1 - (0.0 if style.glow else 0.38) * halo
    if style.glow:
        canvas[window] += (first - canvas[window]) * (0.3 * halo * halo)

    window, distance = _distance_map(thing, *canvas.shape[:2])
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    surface = _surface(rng, thing, _local_frame(thing, window), distance, first, second, style)
    canvas[window] += (surface - canvas[window]) * cover


def _pick_colors(rng: np.random.Generator, class_name: str, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Main and pattern colour of a thing, (3,) each."""
    own = rng.random() < style.own_color
    main = style.classes.index(class_name) if own else int(rng.integers(len(style.colors)))
    first = np.array(style.colors[main % len(style.colors)], np.float32) / 255
    first = np.clip(first + (rng.random(3, np.float32) - 0.5) * 0.16, 0.03, 1)
    second = first * 0.55 if rng.random() < 0.5 else first + (1 - first) * np.float32(0.6)
    return first, second


def _surface(
    rng: np.random.Generator,
    thing: _Thing,
    frame: tuple[np.ndarray, np.ndarray],
    distance: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    style: Style,
) -> np.ndarray:
    """(h, w, 3) colours of the thing: pattern, light from the upper left, a darker rim."""
    x, y = frame
    color = np.broadcast_to(first, (*x.shape, 3))
    if rng.random() >= style.plain:
        share = _pattern(rng, x, y, thing.radius)[..., None]
        color = first + (second - first) * share
    rim = np.clip(1 + distance / (0.3 * thing.radius), 0, 1)
    light = 1.06 - 0.10 * x - 0.16 * y - 0.24 * rim * rim
    shine = np.clip(1 - ((x + 0.3) * (x + 0.3) + (y + 0.38) * (y + 0.38)) * 7, 0, 1)
    return color * light[..., None] + (0.28 * shine * shine)[..., None]


def _pattern(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """(h, w) share of the pattern colour: stripes, checks or dots, with soft edges about one pixel wide."""
    kind, frequency = int(rng.integers(4)), rng.uniform(0.9, 1.6)
    sharpness = np.float32(radius / (2 * frequency))
    across, down = _zigzag(x * np.float32(frequency)) - 0.5, _zigzag(y * np.float32(frequency)) - 0.5
    if kind == 0:
        edge = across
    elif kind == 1:
        edge = down
    elif kind == 2:
        edge = across * down * 2
    else:
        edge = 0.14 - across * across - down * down
    return np.clip(edge * sharpness + 0.5, 0, 1)


def _zigzag(values: np.ndarray) -> np.ndarray:
    """A wave of period 1 between 0 and 1 made of straight lines."""
    return np.abs(values - np.floor(values) - 0.5) * 2
