"""The formats that a model is written in: one module for each, with `write(model, path, graph, description, ...)`.

onnx          NAME.onnx: onnxruntime, OpenVINO, TensorRT and others; weights above 2 GB in NAME.onnx.data
openvino      NAME.xml and NAME.bin
torchscript   NAME.torchscript: PyTorch without Python
pt2           NAME.pt2: torch.export, which compilers of PyTorch take
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .sessions import Session


class Traced(NamedTuple):
    """What a graph is traced with.

    Attributes:
        batch_size, size: images and (height, width) of the example.
        dynamic: the file takes any number and size of images, not only these.
    """

    batch_size: int
    size: tuple[int, int]
    dynamic: bool


class Format(NamedTuple):
    """One format.

    Attributes:
        ending: of its files.
        module: has `write(model, path, traced, description, half=)` and `open_written(path, names) -> Session`.
        dynamic: a file can take any number and size of images.
        half: weights can be of 16 bits.
    """

    ending: str
    module: str
    dynamic: bool = True
    half: bool = False

    @property
    def write(self) -> Callable[..., None]:
        """Writes a model."""
        return self._module.write

    def open_written(self, path: Path, names: list[str]) -> Session:
        """Loads what `write` has written, to check it."""
        return self._module.open_written(path, names)

    @property
    def _module(self) -> Any:
        return import_module(f"focalnet_d2.export.{self.module}")


FORMATS = {
    "onnx": Format(".onnx", "onnx_format", half=True),
    "openvino": Format(".xml", "openvino_format", half=True),
    "torchscript": Format(".torchscript", "torchscript_format"),
    "pt2": Format(".pt2", "pt2_format", dynamic=False),
}


def format_named(name: str) -> Format:
    """The format of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"There is no format {name!r}: take one of {', '.join(FORMATS)}.")
    return FORMATS[name]
