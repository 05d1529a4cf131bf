"""Rewrites an OpenVINO network for the speed of its CPU device; the results stay those of the network.

- Rows that are gathered in a loop and added with weights, as deformable attention does, become EmbeddingBagPackedSum,
  which has no copy of the rows. Its sizes must be known: those in a loop over chunks are.
- A product with float32 weights takes the kernels of oneDNN, not the slower ones of MLAS, when an activation follows:
  one that changes nothing is put where there is none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .packages import optional

_FUSED = {"Clamp", "Elu", "FakeQuantize", "Gelu", "HSwish", "PRelu", "Relu", "Sigmoid", "Swish", "Tanh"}


def convert(source: Path) -> Any:
    """The `openvino.Model` of an ONNX file, rewritten; it reads weights from the file while it lives."""
    network = optional("openvino").convert_model(str(source))
    rewrite(network)
    return network


def rewrite(network: Any) -> None:
    """Both changes, in an `openvino.Model`."""
    for operation in network.get_ops():
        if operation.get_type_name() in ("Loop", "TensorIterator"):
            add_rows_in_bags(operation.get_function())
    follow_products_by_activations(network)
    network.validate_nodes_and_infer_types()


def add_rows_in_bags(body: Any) -> None:
    """`shares (n, 1, k) @ Gather(table (r, d), rows) (n, k, d)` -> bags of rows, where n and k are known."""
    operators = optional("openvino.opset15")
    for product, shares, gathered in list(_sums_of_rows(body)):
        bags, of_bag, _ = gathered.get_output_partial_shape(0)
        shape = operators.constant(np.array([bags.get_length(), of_bag.get_length()]))
        gather = gathered.input_value(0).get_node()
        rows, weights = (operators.reshape(one, shape, False) for one in (gather.input_value(1), shares))
        sums = operators.embedding_bag_packed_sum(gather.input_value(0), rows, weights)  # (n, d)
        _replace(product, operators.unsqueeze(sums, operators.constant(np.array([1]))))  # (n, 1, d)
    body.validate_nodes_and_infer_types()


def _sums_of_rows(body: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Products as above, with their shares and the reshaped gathered rows."""
    for product in body.get_ordered_ops():
        if product.get_type_name() != "MatMul" or any(product.get_attributes().values()):  # one is transposed
            continue
        shares, gathered = product.input_value(0), product.input_value(1).get_node()
        if gathered.get_type_name() != "Reshape" or gathered.input_value(0).get_node().get_type_name() != "Gather":
            continue
        gather = gathered.input_value(0).get_node()
        ranks = [one.get_partial_shape().rank for one in (shares, gathered.output(0), gather.input_value(0))]
        if [rank.is_static and rank.get_length() for rank in ranks] != [3, 3, 2] or _number(gather.input_value(2)) != 0:
            continue
        one_row = shares.get_partial_shape()[1] == 1
        bags, of_bag, _ = gathered.get_output_partial_shape(0)
        if one_row and bags.is_static and of_bag.is_static and shares.get_partial_shape()[0] == bags:
            yield product, shares, gathered


def _number(output: Any) -> float | None:
    """The value of a constant of one number."""
    node = output.get_node()
    return float(node.data.reshape(-1)[0]) if node.get_type_name() == "Constant" and node.data.size == 1 else None


def follow_products_by_activations(network: Any) -> None:
    """A PRelu of slope 1, which keeps every value, behind products with float32 weights and their bias."""
    operators = optional("openvino.opset15")
    for product in network.get_ordered_ops():
        if product.get_type_name() != "MatMul" or not _is_weight(product.input_value(1)):
            continue
        last, followers = product, _followers(product)
        if len(followers) == 1 and _adds_constant(followers[0]):
            last, followers = followers[0], _followers(followers[0])
        if any(one.get_type_name() == "Result" for one in followers) or (
            len(followers) == 1 and followers[0].get_type_name() in _FUSED
        ):
            continue
        _replace(last, operators.prelu(last, operators.constant(np.ones(1, np.float32))))


def _is_weight(value: Any) -> bool:
    return value.get_node().get_type_name() == "Constant" and value.get_element_type().get_type_name() == "f32"


def _adds_constant(node: Any) -> bool:
    kinds = [value.get_node().get_type_name() for value in node.input_values()]
    return node.get_type_name() == "Add" and "Constant" in kinds


def _followers(node: Any) -> list[Any]:
    return [place.get_node() for place in node.output(0).get_target_inputs()]


def _replace(node: Any, other: Any) -> None:
    """Whoever takes the output of `node` takes that of `other`, which may itself take it."""
    for place in node.output(0).get_target_inputs():
        if place.get_node().get_friendly_name() != other.get_friendly_name():
            place.replace_source_output(other.output(0))
