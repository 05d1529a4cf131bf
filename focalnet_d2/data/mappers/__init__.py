"""From dataset dicts to model inputs, one mapper per task."""

from .box_and_mask import BoxAndMaskMapper
from .classification import ClassificationMapper
from .detection import DetectionMapper
from .instance import InstanceMapper
from .panoptic import PanopticMapper
from .semantic_mask import SemanticMaskMapper
from .semantic_seg import SemanticSegMapper

__all__ = [
    "BoxAndMaskMapper",
    "ClassificationMapper",
    "DetectionMapper",
    "InstanceMapper",
    "PanopticMapper",
    "SemanticMaskMapper",
    "SemanticSegMapper",
]
