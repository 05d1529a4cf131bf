"""TorchScript: what PyTorch runs without Python; a tuple of tensors, whose names are in the description's file."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .description import KEY, Description
from .formats import Traced
from .graph import output_names, trace_script
from .sessions import Arrays, Session

OUTPUTS = "outputs.json"  # extra file: the names of the tensors in their order


def write(model: nn.Module, path: Path, traced: Traced, description: Description, *, half: bool = False) -> None:
    """Write a model as TorchScript, the description and the names of the outputs as extra files in it."""
    script = trace_script(model, traced.batch_size, traced.size)
    names = output_names(model, traced.batch_size, traced.size)
    torch.jit.save(
        script, path, _extra_files={KEY: description.to_json().encode(), OUTPUTS: json.dumps(names).encode()}
    )


def open_written(path: Path, names: list[str]) -> Session:
    """The file in PyTorch."""
    return _ScriptSession(path, names)


class _ScriptSession:
    def __init__(self, path: Path, names: list[str]):
        extra = {KEY: b""}
        self.script = torch.jit.load(path, _extra_files=extra)
        self.description = bytes(extra[KEY]).decode()
        self.names = names

    def __call__(self, images: np.ndarray, image_sizes: np.ndarray) -> Arrays:
        with torch.no_grad():
            outputs = self.script(torch.from_numpy(images), torch.from_numpy(image_sizes))
        return {name: value.numpy() for name, value in zip(self.names, outputs, strict=True)}
