"""Files of OpenVINO, `NAME.xml` and `NAME.bin`, converted from ONNX."""

from pathlib import Path

from torch import nn

from . import onnx_format, openvino_graph
from .description import KEY, Description
from .formats import Traced
from .packages import optional
from .sessions import OpenVinoSession


def write(model: nn.Module, path: Path, traced: Traced, description: Description, *, half: bool = False) -> None:
    """Write a model for OpenVINO.

    Args:
        half: store the weights in 16 bits, as OpenVINO's own tools do.

    Raises:
        ImportError: onnx or openvino is missing.
    """
    source = path.with_name("graph.onnx")  # not of a name that may be as long as names can be
    onnx_format.write(model, source, traced, description, loops=False)
    save_converted(source, path, description, half=half)
    for file in path.parent.glob(f"{source.name}*"):
        file.unlink()


def save_converted(source: Path, path: Path, description: Description, *, half: bool = False) -> None:
    """Write what an ONNX file has, with a description; afterwards nothing reads from that file."""
    network = openvino_graph.convert(source)
    network.set_rt_info(description.to_json(), [KEY])
    optional("openvino").save_model(network, str(path), compress_to_fp16=half)


def open_written(path: Path, names: list[str]) -> OpenVinoSession:
    """The file in OpenVINO, on one thread."""
    return OpenVinoSession(path, threads=1)
