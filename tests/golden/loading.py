"""Official state dicts into our models, always through the project's own checkpoint loader."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from focalnet_d2.checkpoint import LoadReport, check_checkpoint, load_checkpoint


def load_state(model: nn.Module, state: dict[str, Tensor], container: str = "model", **options) -> LoadReport:
    """Write `{container: state}` to a file and load that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "official.pth"
        torch.save({container: state}, path)
        return load_checkpoint(model, path, **options)


def check_shapes(model: nn.Module, shapes: dict, **options) -> LoadReport:
    """Whether a file with these names and shapes would load; the model may be on the meta device."""
    state = {name: torch.empty(tuple(shape), device="meta") for name, shape in shapes.items()}
    return check_checkpoint(model, {"model": state}, **options)
