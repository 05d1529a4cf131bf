"""ONNX files of operators of the standard alone, which say what they are."""

from pathlib import Path
from typing import Any

from torch import nn

from .description import KEY, Description
from .formats import Traced
from .graph import ONNX_OPSET, write_onnx
from .packages import optional
from .sessions import OnnxSession

LARGEST_FILE = 2**31 - 2**20  # bytes; protobuf holds less than 2 GiB
STANDARD = ("", "ai.onnx")  # names of the domain


def write(
    model: nn.Module,
    path: Path,
    traced: Traced,
    description: Description,
    *,
    half: bool = False,
    loops: bool = True,
) -> None:
    """Write a model as ONNX; weights that make it 2 GB or more go into `NAME.data` beside it.

    Args:
        half: store the weights in 16 bits; inputs, outputs and what would lose too much stay float32.
        loops: see `write_onnx`.

    Raises:
        ImportError: onnx is missing.
        ValueError: the graph has operators that are not of the standard.
    """
    onnx = optional("onnx")
    write_onnx(model, path, traced.batch_size, traced.size, dynamic=traced.dynamic, loops=loops)
    file = onnx.load(path)
    check_portable(file, path)
    for node in file.graph.node:
        node.ClearField("doc_string")  # lines of the Python that it comes from
    if half:
        halve_weights(file)
    save(file, path, description)


def save(file: Any, path: Path, description: Description) -> None:
    """Write an `onnx.ModelProto` with its description, the weights in `NAME.data` if one file cannot hold them."""
    onnx = optional("onnx")
    onnx.helper.set_model_props(file, {KEY: description.to_json()})
    file.producer_name = "focalnet-d2"
    large = file.ByteSize() >= LARGEST_FILE
    for old in path.parent.iterdir():  # what torch has written, large weights one by one
        old.unlink()
    onnx.save_model(file, path, save_as_external_data=large, all_tensors_to_one_file=True, location=f"{path.name}.data")
    onnx.checker.check_model(str(path), full_check=True)


def open_written(path: Path, names: list[str]) -> OnnxSession:
    """The file in onnxruntime, on one thread."""
    return OnnxSession(path, threads=1)


def check_portable(file: Any, path: Path) -> None:
    """Raises ValueError, which names them, if an `onnx.ModelProto` has operators of its own or of another opset."""
    own = {f"{node.domain}.{node.op_type}" for node in file.graph.node if node.domain not in STANDARD}
    if own or file.functions:
        raise ValueError(f"The graph of {path.name} has operators that are not of the ONNX standard: {sorted(own)}.")
    versions = {entry.version for entry in file.opset_import if entry.domain in STANDARD}
    if versions != {ONNX_OPSET}:
        raise ValueError(f"The graph of {path.name} is of the opsets {sorted(versions)}, not of {ONNX_OPSET}.")


def halve_weights(file: Any) -> None:
    """Store large float32 weights of an `onnx.ModelProto` as float16, each followed by a Cast back.

    What is computed stays float32, as in OpenVINO's files of 16 bits: runtimes fold the casts when they load the file,
    and those that compute in 16 bits may.
    """
    onnx = optional("onnx")
    weights = [one for one in file.graph.initializer if one.data_type == onnx.TensorProto.FLOAT and is_large(one)]
    casts = []
    for weight in weights:
        values = onnx.numpy_helper.to_array(weight)
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *file.graph.node]
    del file.graph.node[:]
    file.graph.node.extend(nodes)


def is_large(weight: Any) -> bool:
    """Whether an `onnx.TensorProto` is a matrix or a kernel, and not a bias, a scale or a table of few numbers."""
    count = 1
    for length in weight.dims:
        count *= length
    return len(weight.dims) >= 2 and count >= 1024
