"""What mmdetection files of all detectors have in common beside the FocalNet: the feature pyramid, the classes."""

from collections.abc import Sequence

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from .layout import Rule, rename

_WB = "<weight|bias>"
_COCO_THINGS = tuple(category["name"] for category in COCO_CATEGORIES if category["isthing"])


def fpn_rules(levels: Sequence[int]) -> tuple[Rule, ...]:
    """The table of the pyramid's own levels, called by the logarithms of their strides in Detectron2's FPN."""
    return tuple(
        rename(f"neck.{theirs}_convs.{index}.conv.{_WB}", f"backbone.fpn_{ours}{level}.<>")
        for index, level in enumerate(levels)
        for theirs, ours in (("lateral", "lateral"), ("fpn", "output"))
    )


def coco_names(rows: int) -> Sequence[str] | None:
    """Class of each row of a COCO file, whose order is that of the category ids; other files are not known."""
    return _COCO_THINGS if rows == len(_COCO_THINGS) else None
