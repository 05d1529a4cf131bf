"""ONNX files of operators of the standard alone, which say what they are."""

from pathlib import Path
from typing import Any

from torch import nn

from .description import KEY
from .graph import ONNX_OPSET, write_onnx

LARGEST_FILE = 2**31 - 2**20  # bytes; protobuf holds less than 2 GiB
MISSING = "Export to ONNX needs onnx: pip install focalnet-d2[export]"


def write(
    model: nn.Module, path: Path, *, batch_size: int, size: tuple[int, int], dynamic: bool, description: str
) -> None:
    """Write a model as ONNX; weights that make it 2 GB or more go into `NAME.data` beside it.

    Args:
        batch_size, size: images and (height, width) that it is traced with.
        dynamic: the file takes any number and size of images, not only these.
        description: what `Description.to_json` gives.

    Raises:
        ImportError: onnx is missing.
        ValueError: the graph has operators that are not of the standard.
    """
    try:
        import onnx  # an optional extra
    except ImportError as error:
        raise ImportError(MISSING, name="onnx") from error
    write_onnx(model, path, batch_size, size, dynamic=dynamic)
    file = onnx.load(path)
    check_portable(file, path)
    for node in file.graph.node:
        node.ClearField("doc_string")  # lines of the Python that it comes from
    onnx.helper.set_model_props(file, {KEY: description})
    file.producer_name = "focalnet-d2"
    save(file, path)


def save(file: Any, path: Path) -> None:
    """Write an `onnx.ModelProto`, with its weights in `NAME.data` if one file cannot hold them; and check it."""
    import onnx  # an optional extra

    data = f"{path.name}.data"
    large = file.ByteSize() >= LARGEST_FILE
    for old in path.parent.iterdir():  # also the weights that torch writes one by one
        old.unlink()
    onnx.save_model(file, path, save_as_external_data=large, all_tensors_to_one_file=True, location=data)
    onnx.checker.check_model(str(path), full_check=True)


def check_portable(file: Any, path: Path) -> None:
    """Raises ValueError, which names them, if an `onnx.ModelProto` has operators of its own or of another opset."""
    own = {f"{node.domain}.{node.op_type}" for node in file.graph.node if node.domain not in ("", "ai.onnx")}
    if own or file.functions:
        raise ValueError(f"The graph of {path.name} has operators that are not of the ONNX standard: {sorted(own)}.")
    versions = {entry.version for entry in file.opset_import if entry.domain in ("", "ai.onnx")}
    if versions != {ONNX_OPSET}:
        raise ValueError(f"The graph of {path.name} is of the opsets {sorted(versions)}, not of {ONNX_OPSET}.")
