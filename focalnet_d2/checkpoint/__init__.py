"""Reading, checking, loading and saving checkpoints."""

from .loading import check_checkpoint, checkpoint_metadata, load_checkpoint
from .reading import read_checkpoint
from .report import LoadReport
from .selection import Weights, select_weights
from .writing import save_checkpoint, save_weights

__all__ = [
    "LoadReport",
    "Weights",
    "check_checkpoint",
    "checkpoint_metadata",
    "load_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
    "save_weights",
    "select_weights",
]
