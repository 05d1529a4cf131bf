"""From dataset dicts to model inputs, one mapper per task."""

from .detection import DetectionMapper
from .instance import InstanceMapper
from .panoptic import PanopticMapper
from .semantic import SemanticMapper

__all__ = ["DetectionMapper", "InstanceMapper", "PanopticMapper", "SemanticMapper"]
