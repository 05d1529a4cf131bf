"""Loops of ONNX graphs that stack what each step gives: torch writes them with sequences, unknown to OpenVINO."""

from pathlib import Path
from typing import Any


def stack_results_of_loops(path: Path) -> None:
    """Rewrite a file whose loops append a tensor to a list that `torch.stack` makes one tensor of.

    The operator Loop does that by itself; appended lists are slower in onnxruntime, and OpenVINO does not take them.
    Weights beside the file stay where they are.
    """
    import onnx  # an optional extra

    file = onnx.load(path, load_external_data=False)
    changed = [_stack_results(file.graph, node) for node in list(file.graph.node) if node.op_type == "Loop"]
    if any(changed):
        onnx.save(file, path)


def _stack_results(graph: Any, loop: Any) -> bool:
    """Rewrite one node with its body, unless it carries more or something else than such a list."""
    import onnx  # an optional extra

    body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
    appending = [node for node in body.node if node.op_type == "SequenceInsert"]
    if len(body.output) != 2 or not appending or appending[-1].output[0] != body.output[1].name:
        return False
    (insert,) = appending
    (stack,) = [node for node in graph.node if loop.output[0] in node.input]
    (empty,) = [node for node in graph.node if loop.input[2] in node.output]
    del body.input[2], body.output[1], loop.input[2]
    body.output.append(onnx.helper.make_tensor_value_info(insert.input[1], onnx.TensorProto.FLOAT, None))
    body.node.remove(insert)
    loop.output[0] = stack.output[0]
    graph.node.remove(stack)
    graph.node.remove(empty)
    return True
