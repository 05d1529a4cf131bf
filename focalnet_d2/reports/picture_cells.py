"""Pictures of labels as markup, with the classes that are in them."""

from collections.abc import Callable
from html import escape

from focalnet_d2.data.class_map import ClassEntry

from .label_pictures import LabelPicture

_SHOWN_CLASSES = 6  # below a picture


def picture_and_legend(draw: Callable[[], LabelPicture]) -> tuple[str, str]:
    """The picture, or a word about why it cannot be shown, and its classes with their colors.

    Args:
        draw: makes it.
    """
    try:
        picture = draw()
    except Exception:  # of many kinds: what is wrong with the files, check-data says
        return "<div class=none>cannot be drawn</div>", ""
    legend = "".join(
        f"<span>{color_chip(entry)}{escape(entry.name)}{f' x{count}' if count > 1 else ''}</span> "
        for entry, count in picture.classes[:_SHOWN_CLASSES]
    )
    if (more := len(picture.classes) - _SHOWN_CLASSES) > 0:
        legend += f"<span>and {more} more</span>"
    return f"<img alt='' src='data:image/jpeg;base64,{picture.jpeg}'>", legend


def color_chip(entry: ClassEntry) -> str:
    """The color of a class."""
    return f"<i style='background:rgb{entry.color}'></i>"
