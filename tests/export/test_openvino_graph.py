"""The rewritten network gives what the converted one gives, in the operators that are fast."""

import numpy as np
import openvino
import pytest
import torch
from openvino import opset15 as operators
from torch import Tensor, nn

from focalnet_d2.export.onnx_loops import stack_results_of_loops
from focalnet_d2.export.openvino_graph import rewrite
from focalnet_d2.export.sessions import openvino_core
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION

SHAPES = ((7, 9), (4, 5), (2, 1), (1, 1))  # levels of one texel, too


class Attention(nn.Module):
    """Deformable attention as files have it."""

    def forward(self, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        """(B, N, M, D), (B, Q, M, L, P, 2), (B, Q, M, L, P) -> (B, Q, M*D)."""
        return DEFORMABLE_ATTENTION.named("gather").compute(value, SHAPES, locations, weights)


def _inputs(batch: int, queries: int) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(queries)
    value = torch.randn(batch, sum(h * w for h, w in SHAPES), 2, 4, generator=draws)
    locations = torch.rand(batch, queries, 2, 4, 3, 2, generator=draws) * 2 - 0.5  # many beside the image
    return value, locations, torch.rand(batch, queries, 2, 4, 3, generator=draws)


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    path = tmp_path_factory.mktemp("attention") / "attention.onnx"
    names = ["value", "locations", "weights"]
    axes = {name: {0: "batch"} if name == "value" else {0: "batch", 1: "queries"} for name in names}
    torch.onnx.export(
        Attention(), _inputs(1, 5), path, dynamo=False, opset_version=20, input_names=names, dynamic_axes=axes
    )
    stack_results_of_loops(path)
    return openvino.convert_model(str(path))


def _run(network, inputs: list) -> np.ndarray:
    compiled = openvino_core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(inputs)[0])


def _types(network) -> list[str]:
    types = []
    for operation in network.get_ops():
        types.append(operation.get_type_name())
        if types[-1] == "Loop":
            types += _types(operation.get_function())
    return types


@pytest.mark.parametrize(("batch", "queries"), [(1, 5), (2, 3), (1, 150), (3, 64)])
def test_deformable_attention_is_a_sum_of_bags(attention, batch, queries):
    network = attention.clone()
    rewrite(network)
    assert _types(network).count("EmbeddingBagPackedSum") == 1
    assert "MatMul" in _types(attention)
    assert "MatMul" not in _types(network)
    inputs = _inputs(batch, queries)
    names = ("value", "locations", "weights")
    found = _run(network, dict(zip(names, inputs, strict=True)))
    expected = DEFORMABLE_ATTENTION.named("grid_sample").compute(inputs[0], SHAPES, *inputs[1:])
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-6)


def _products(*, transposed: bool = False) -> openvino.Model:
    """Four products: with a bias, before a ReLU, with weights that are an input, and the last one."""
    draws = np.random.default_rng(0)
    x, other = (operators.parameter([-1, 8], np.float32) for _ in range(2))
    weights = [operators.constant(draws.standard_normal((8, 8)).astype(np.float32)) for _ in range(3)]
    bias = operators.constant(draws.standard_normal(8).astype(np.float32))
    y = operators.add(operators.matmul(x, weights[0], False, transposed), bias)
    y = operators.add(y, operators.relu(operators.matmul(y, weights[1], False, transposed)))
    y = operators.matmul(y, other, False, True)
    y = operators.matmul(operators.matmul(y, other, False, False), weights[2], False, transposed)
    return openvino.Model([y], [x, other])


@pytest.mark.parametrize("transposed", [False, True])
def test_products_with_weights_are_followed_by_an_activation(transposed):
    network = _products(transposed=transposed)
    inputs = [np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32) for _ in range(2)]
    expected = _run(network, inputs)
    rewrite(network)
    assert _types(network).count("PRelu") == 1
    (activation,) = [one for one in network.get_ops() if one.get_type_name() == "PRelu"]
    assert activation.input_value(0).get_node().get_type_name() == "Add"
    np.testing.assert_allclose(_run(network, inputs), expected, rtol=1e-5, atol=1e-5)
    inputs[0][0] = np.nan
    assert np.isnan(_run(network, inputs)[0]).all()


def _sum_of_rows(*, transpose: bool = False, shares: int = 1, axis: int = 0) -> openvino.Model:
    """`(3, shares, 4) @ (3, 4, 6)` in a loop's body, whose rows are gathered from (12, 6), or (6, 12) by columns."""
    rows, weights = operators.parameter([12], np.int32), operators.parameter([3, shares, 4], np.float32)
    table = operators.parameter([12, 6] if axis == 0 else [6, 12], np.float32)
    texels = operators.gather(table, rows, operators.constant(np.array(axis)))
    texels = operators.reshape(texels, operators.constant(np.array([3, 6, 4] if transpose else [3, 4, 6])), False)
    sums = operators.matmul(weights, texels, False, transpose)
    body = openvino.Model([sums], [table, rows, weights])
    outer = [operators.parameter(one.get_partial_shape(), one.get_element_type()) for one in body.inputs]
    loop = operators.tensor_iterator()
    loop.set_body(body)
    for inner, given in zip(body.get_parameters(), outer, strict=True):
        loop.set_invariant_input(inner, given.output(0))
    return openvino.Model([loop.get_iter_value(body.get_results()[0].output(0), -1)], outer)


@pytest.mark.parametrize(("change", "bags"), [({}, 1), ({"transpose": True}, 0), ({"shares": 2}, 0), ({"axis": 1}, 0)])
def test_only_single_sums_of_rows_become_bags(change, bags):
    network = _sum_of_rows(**change)
    draws = np.random.default_rng(2)
    inputs = [
        draws.standard_normal([int(side) for side in network.inputs[0].shape]).astype(np.float32),
        draws.integers(0, 6, 12).astype(np.int32),
        draws.standard_normal([int(side) for side in network.inputs[2].shape]).astype(np.float32),
    ]
    expected = _run(network, inputs)
    rewrite(network)
    (loop,) = [one for one in network.get_ops() if one.get_type_name() == "TensorIterator"]
    assert _types(loop.get_function()).count("EmbeddingBagPackedSum") == bags
    np.testing.assert_allclose(_run(network, inputs), expected, rtol=1e-5, atol=1e-5)
