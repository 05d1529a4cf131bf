"""What tells one generated world from another: classes, colours, sizes, numbers, textures."""

from dataclasses import dataclass

Colour = tuple[int, int, int]

STUFF = ("sky", "rock", "water", "grass", "sand")


@dataclass(frozen=True)
class Style:
    """One look of the generated images.

    Attributes:
        classes: thing classes, names of `shapes.SHAPES`.
        stuff: per stuff class two 8-bit RGB colours, far and near.
        colours: 8-bit RGB colours of the things; class i prefers colour i.
        own_color: share of the things that wear their class's preferred colour.
        plain: share of the things without a pattern.
        radius: smallest and largest radius, as a share of the image's shorter side.
        objects: smallest and largest number of things in an image that is not empty.
        rotation: largest turn from upright, degrees.
        grain: amplitude of the stuff textures, 1 = full range.
        glow: things shine instead of casting a shadow.
        empty, crowd: share of images without any thing, and with a crowd group.
    """

    classes: tuple[str, ...]
    stuff: dict[str, tuple[Colour, Colour]]
    colors: tuple[Colour, ...]
    own_color: float = 0.6
    plain: float = 0.45
    radius: tuple[float, float] = (0.075, 0.27)
    objects: tuple[int, int] = (1, 7)
    rotation: float = 35.0
    grain: float = 0.10
    glow: bool = False
    empty: float = 0.04
    crowd: float = 0.06


_BRIGHT = (
    (226, 62, 54),
    (246, 190, 40),
    (50, 108, 214),
    (240, 128, 40),
    (250, 232, 96),
    (176, 60, 176),
    (240, 240, 244),
    (236, 104, 160),
    (206, 32, 92),
    (60, 190, 190),
    (120, 72, 200),
    (70, 60, 66),
)

STYLES = {
    "day": Style(
        classes=("disk", "ring", "square", "triangle", "star", "cross", "moon", "pill"),
        stuff={
            "sky": ((92, 160, 226), (206, 230, 246)),
            "rock": ((142, 134, 146), (104, 94, 98)),
            "water": ((92, 170, 196), (30, 104, 150)),
            "grass": ((132, 178, 82), (64, 126, 52)),
            "sand": ((234, 214, 164), (206, 172, 112)),
        },
        colors=_BRIGHT,
    ),
    "night": Style(
        classes=("disk", "ring", "square", "triangle", "star", "cross", "moon", "pill"),
        stuff={
            "sky": ((18, 20, 52), (76, 58, 110)),
            "rock": ((58, 54, 78), (36, 32, 50)),
            "water": ((40, 62, 104), (16, 28, 62)),
            "grass": ((38, 70, 62), (18, 42, 40)),
            "sand": ((98, 86, 96), (66, 56, 70)),
        },
        colors=(
            (120, 220, 250),
            (250, 120, 190),
            (250, 210, 90),
            (140, 250, 160),
            (250, 250, 220),
            (250, 140, 80),
            (180, 150, 250),
            (240, 90, 90),
            (90, 170, 250),
            (250, 240, 130),
            (120, 250, 220),
            (230, 130, 250),
        ),
        own_color=0.3,
        radius=(0.06, 0.24),
        objects=(2, 8),
        rotation=60.0,
        grain=0.07,
        glow=True,
    ),
    "paper": Style(
        classes=("disk", "square", "star", "cross", "heart", "arrow", "bolt", "flower"),
        stuff={
            "sky": ((232, 224, 208), (244, 238, 226)),
            "rock": ((176, 160, 150), (164, 146, 136)),
            "water": ((150, 190, 196), (134, 176, 186)),
            "grass": ((176, 190, 140), (158, 176, 124)),
            "sand": ((226, 196, 150), (214, 180, 132)),
        },
        colors=(
            (58, 86, 122),
            (196, 82, 60),
            (92, 130, 84),
            (148, 90, 140),
            (204, 70, 92),
            (224, 150, 52),
            (66, 62, 70),
            (60, 140, 146),
        ),
        own_color=0.2,
        plain=0.25,
        radius=(0.085, 0.30),
        objects=(1, 6),
        rotation=90.0,
        grain=0.03,
    ),
}


def get_style(name: str) -> Style:
    """The style called `name`.

    Raises:
        ValueError: no such style.
    """
    if name not in STYLES:
        raise ValueError(f"There is no style {name!r} for generated images; choose one of {', '.join(STYLES)}.")
    return STYLES[name]
