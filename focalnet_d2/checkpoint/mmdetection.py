"""What mmdetection files of all detectors have in common: the FocalNet, the feature pyramid, the classes."""

from collections.abc import Sequence

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from .focalnet import focalnet_rules
from .focalnet_architecture import focalnet_settings, mm_flags
from .layout import ArchitectureCheck, ClassRows, Layout, Rule, holds, rename

FOCALNET = "backbone.bottom_up."
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


def mmdetection_layout(
    *patterns: str, rules: Sequence[Rule], checks: Sequence[ArchitectureCheck], classes: ClassRows
) -> Layout:
    """The layout of a detector's files.

    Args:
        patterns: names by which such a file is known; each is in it.
        rules: the table of what is not the FocalNet.
        checks, classes: see `Layout`.
    """
    table = (*focalnet_rules("backbone.", FOCALNET), *rules)
    return Layout(
        "mmdetection",
        recognize=lambda names, state: holds(names, *patterns),
        rules=lambda model, names: table,
        checks=tuple(checks),
        settings=lambda model, state, metadata: focalnet_settings(state, FOCALNET, mm_flags),
        classes=classes,
        container="state_dict",
    )
