"""From dataset dicts to model inputs, one mapper per task."""

from .box_and_mask import BoxAndMaskMapper
from .classification import ClassificationMapper
from .detection import DetectionMapper
from .instance import InstanceMapper
from .label_map import LabelMapMapper
from .panoptic import PanopticMapper
from .semantic import SemanticMapper

__all__ = [
    "BoxAndMaskMapper",
    "ClassificationMapper",
    "DetectionMapper",
    "InstanceMapper",
    "LabelMapMapper",
    "PanopticMapper",
    "SemanticMapper",
]
