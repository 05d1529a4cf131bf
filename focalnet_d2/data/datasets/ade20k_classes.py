"""Classes of ADE20K's scene parsing benchmark: 150 in all, 100 of them things.

Source: names from Detectron2; the things are the instance classes of the benchmark's challenge of 2017, in which
instance class k (1 to 100) is the k-th of them.
"""

from detectron2.data.datasets.builtin_meta import ADE20K_SEM_SEG_CATEGORIES

ADE20K_CLASSES = tuple(ADE20K_SEM_SEG_CATEGORIES)  # also "window ": files that other tools made have it as well
# fmt: off
ADE20K_THING_IDS = (  # positions in ADE20K_CLASSES; the other 50 are stuff
    7, 8, 10, 12, 14, 15, 18, 19, 20, 22, 23, 24, 27, 30, 31, 32, 33, 35, 36, 37, 38, 39, 41, 42, 43, 44, 45, 47, 49,
    50, 53, 55, 56, 57, 58, 62, 64, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 76, 78, 80, 81, 82, 83, 85, 86, 87, 88, 89,
    90, 92, 93, 95, 97, 98, 102, 103, 104, 107, 108, 110, 111, 112, 115, 116, 118, 119, 120, 121, 123, 124, 125, 126,
    127, 129, 130, 132, 133, 134, 135, 136, 137, 138, 139, 142, 143, 144, 146, 147, 148, 149,
)
# fmt: on


def ade20k_categories() -> list[dict]:
    """The 150 categories of the panoptic files; the 100 with isthing are those of the instance files."""
    things = set(ADE20K_THING_IDS)
    return [{"id": i, "name": name, "isthing": int(i in things)} for i, name in enumerate(ADE20K_CLASSES)]
