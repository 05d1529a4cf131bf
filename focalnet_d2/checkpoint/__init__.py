"""Reading, checking, loading and saving checkpoints."""

from .loading import check_checkpoint, checkpoint_metadata, load_checkpoint
from .reading import Weights, read_checkpoint, select_weights
from .report import LoadReport
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
