"""The tables of MODEL_ZOO.md: which recipes share one, at which input size, and how their results read in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from string import Formatter

from omegaconf import DictConfig, OmegaConf

_COCO = (800, 1280)
_RCNN_REMARK = "FLOPs with 1000 regions through every box head and 100 through every mask head, as mmdetection counts."
_UNPRINTED = "No printed FLOPs of these models are known."
_UP_TO_QUERIES = f"FLOPs up to the queries' embeddings, without masks at full size. {_UNPRINTED}"
_BOXES = "box AP {bbox/AP} (val2017, no test-time augmentation)"
_BOXES_ON_BOTH_SETS = (
    "box AP {bbox/AP} val2017 and {bbox/AP (test-dev)} test-dev; {bbox/AP (TTA)} and {bbox/AP (test-dev, TTA)} with "
    "test-time augmentation"
)
_BOXES_WITHOUT_TTA = "box AP {bbox/AP} val2017 and {bbox/AP (test-dev)} test-dev (no test-time augmentation)"
_BOXES_BY_OVERLAP = "box AP {bbox/AP} (AP50 {bbox/AP50}, AP75 {bbox/AP75}), val2017"
_BOXES_AND_MASKS = "box AP {bbox/AP}, mask AP {segm/AP} (val2017, no test-time augmentation)"
_PANOPTIC = "PQ {panoptic_seg/PQ}, AP {segm/AP} of masks, mIoU {sem_seg/mIoU} (val2017, no test-time augmentation)"
_SEMANTIC = "mIoU {sem_seg/mIoU} at one scale, mIoU {sem_seg/mIoU (TTA)} at several (validation)"
_ACCURACY = "top-1 {classification/top1} (validation, 224 pixels)"

_LABELS = {
    "bbox/AP": "box AP",
    "bbox/AP50": "AP50",
    "bbox/AP75": "AP75",
    "segm/AP": "mask AP",
    "panoptic_seg/PQ": "PQ",
    "sem_seg/mIoU": "mIoU",
    "classification/top1": "top-1",
}


@dataclass(frozen=True)
class Family:
    """Recipes that share a table.

    Attributes:
        title: heading of the table.
        pattern: what the recipes' names look like; the first family whose pattern fits has the recipe.
        size: (height, width) for which multiply-adds are counted, or the recipe's setting that holds the side of a
            square.
        remark: what else to know.
        results: wordings of a published result, with the names of its metrics in braces.
    """

    title: str
    pattern: str
    size: tuple[int, int] | str
    remark: str = ""
    results: tuple[str, ...] = ()

    def holds(self, recipe: str) -> bool:
        """Whether this is the recipe's family."""
        return family_of(recipe) is self

    def result(self, expected: Mapping[str, float]) -> str:
        """Published numbers in the wording that has exactly these metrics, "none" without numbers.

        Raises:
            ValueError: no wording has them.
        """
        if not expected:
            return "none"
        numbers = {metric: f"{value:.1f}" for metric, value in expected.items()}
        for wording in self.results:
            if {name for _, name, _, _ in Formatter().parse(wording) if name is not None} == set(expected):
                return wording.format_map(numbers)
        raise ValueError(f"The table '{self.title}' has no wording for {', '.join(expected)}: add one to its results.")


FAMILIES = (
    Family(
        "Small recipes for a CPU",
        "*_mini_*",
        (256, 256),
        "This project's own, for checks and demonstrations; not published networks.",
    ),
    Family("ImageNet classification", "classifier_*", "dataloader.test.mapper.transform.size", results=(_ACCURACY,)),
    Family("Mask R-CNN on COCO", "mask_rcnn_*", _COCO, _RCNN_REMARK, (_BOXES_AND_MASKS,)),
    Family("Cascade Mask R-CNN on COCO", "cascade_mask_rcnn_*", _COCO, _RCNN_REMARK, (_BOXES,)),
    Family("ATSS on COCO", "atss_*", _COCO, results=(_BOXES_BY_OVERLAP,)),
    Family("Sparse R-CNN on COCO", "sparse_rcnn_*", _COCO, "FLOPs with all 300 proposals.", (_BOXES_BY_OVERLAP,)),
    Family(
        "UPerNet on ADE20K",
        "upernet_*",
        (512, 2048),
        "FLOPs without the auxiliary head, which is for training.",
        (_SEMANTIC,),
    ),
    Family(
        "Mask2Former on ADE20K",
        "mask2former_*_ade20k_*",
        "dataloader.test.mapper.augmentations.0.short_edge_length",
        _UP_TO_QUERIES,
        (_SEMANTIC,),
    ),
    Family("Mask2Former on COCO", "mask2former_*_coco_*", _COCO, _UP_TO_QUERIES, (_PANOPTIC,)),
    Family(
        "DINO on COCO and Objects365",
        "dino_*",
        _COCO,
        f"FLOPs without denoising queries. {_UNPRINTED}",
        (_BOXES, _BOXES_ON_BOTH_SETS),
    ),
    Family(
        "Stable-DINO on COCO and Objects365",
        "stable_dino_*",
        _COCO,
        "FLOPs without denoising queries. With FocalNet only the huge one was published, without weights.",
        (_BOXES_WITHOUT_TTA,),
    ),
)


def family_of(recipe: str) -> Family | None:
    """The family of a recipe, None for a kind of model that has no table."""
    return next((family for family in FAMILIES if fnmatchcase(recipe, family.pattern)), None)


def short_result(expected: Mapping[str, float]) -> str:
    """Published numbers in a few words, without those of COCO's test server."""
    numbers = []
    for metric, value in expected.items():
        name, _, condition = metric.partition(" ")
        if "test-dev" not in condition:
            numbers.append(" ".join(filter(None, (_LABELS.get(name, name), condition, f"{value:.1f}"))))
    return ", ".join(numbers)


def counted_size(name: str, recipe: DictConfig) -> tuple[int, int]:
    """(height, width) for which a recipe's multiply-adds are counted.

    Raises:
        ValueError: the recipe has no family.
    """
    family = family_of(name)
    if family is None:
        raise ValueError(f"No family of focalnet_d2/model_zoo/families.py holds {name}: add one.")
    if isinstance(family.size, tuple):
        return family.size
    side = OmegaConf.select(recipe, family.size)
    return side, side
