"""Programs of torch.export, `NAME.pt2`, of one batch size and one image size."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .description import KEY, Description
from .formats import Traced
from .graph import trace
from .sessions import Arrays, Session

# Loops are those of suppression, whose bodies are checked, too.
_PORTABLE = ("aten.", "torchvision.roi_align", "while_loop", "<built-in function getitem")


def write(model: nn.Module, path: Path, traced: Traced, description: Description, *, half: bool = False) -> None:
    """Write a model as a program of torch.export, the description as an extra file in it.

    Raises:
        ValueError: the graph has a region of automatic precision or an operator that is not PyTorch's.
    """
    program = trace(model, traced.batch_size, traced.size, dynamic=traced.dynamic)
    check_portable(program, path)
    torch.export.save(program, path, extra_files={KEY: description.to_json()})


def open_written(path: Path, names: list[str]) -> Session:
    """The file in PyTorch."""
    return _ProgramSession(path)


def check_portable(program: torch.export.ExportedProgram, path: Path) -> None:
    """Raises ValueError, which names them, if a program has regions or operators that are not PyTorch's."""
    graphs = [module.graph for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]
    nodes = [node for graph in graphs for node in graph.nodes if node.op == "call_function"]
    own = sorted({str(node.target) for node in nodes if not str(node.target).startswith(_PORTABLE)})
    if own:
        raise ValueError(f"The graph of {path.name} has operators that are not of PyTorch or torchvision: {own}.")


class _ProgramSession:
    def __init__(self, path: Path):
        extra = {KEY: ""}
        self.program = torch.export.load(path, extra_files=extra).module()
        self.description = extra[KEY]

    def __call__(self, images: np.ndarray, image_sizes: np.ndarray) -> Arrays:
        with torch.no_grad():
            outputs = self.program(torch.from_numpy(images), torch.from_numpy(image_sizes))
        return {name: value.numpy() for name, value in outputs.items()}
