"""ONNX files: written by torch.onnx from an exported program, of operators of the standard alone."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .description import KEY
from .graph import INPUTS

logger = logging.getLogger(__name__)

OPSET = 20  # the first with the GridSample of today
LARGEST_FILE = 2**31 - 2**20  # bytes; protobuf holds less than 2 GiB


def write(program: torch.export.ExportedProgram, path: Path, *, names: Sequence[str], description: str) -> None:
    """Write a program as ONNX; weights that make it 2 GB or more go into `NAME.data` beside it.

    Args:
        names: of the outputs, in their order.
        description: what `Description.to_json` gives.

    Raises:
        ImportError: onnx or onnxscript is missing.
        ValueError: the graph has operators that are not of the standard.
    """
    try:
        import onnx_ir  # an optional extra
        import onnxscript  # noqa: F401 - what torch.onnx writes with
    except ImportError as error:
        raise ImportError("Export to ONNX needs onnx and onnxscript: pip install focalnet-d2[export]") from error
    exported = torch.onnx.export(
        program,
        input_names=list(INPUTS),
        output_names=list(names),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert exported is not None
    model: Any = exported.model
    _drop_notes(model)
    check_portable(model, path)
    model.metadata_props[KEY] = description
    model.producer_name = "focalnet-d2"
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    onnx_ir.save(model, path, external_data=f"{path.name}.data" if size >= LARGEST_FILE else None)


def _drop_notes(model: Any) -> None:
    """Leaves out what torch notes of each operator, most of all the lines of Python that it comes from."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def check_portable(model: Any, path: object) -> None:
    """Raises ValueError, which names them, if an `onnx_ir.Model` has functions or operators of its own."""
    own = {f"{node.domain}.{node.op_type}" for node in model.graph.all_nodes() if node.domain not in ("", "ai.onnx")}
    if own or model.functions:
        raise ValueError(f"The graph for {path} has operators that are not of the ONNX standard: {sorted(own)}.")
