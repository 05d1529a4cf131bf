"""From dataset dicts to model inputs, one mapper per task."""

from .detection import DetectionMapper

__all__ = ["DetectionMapper"]
