"""The loops of the suppression keep their length open in every form of a graph."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from focalnet_d2.export.sessions import openvino_core
from focalnet_d2.modeling.rcnn.exported_suppression import pick_detections, unsuppressed


class Both(nn.Module):
    """Both computations, one after the other."""

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, K, 4) and (B, N, K) -> (B, N) kept boxes of the first class, (B, 6) scores and places."""
        kept = unsuppressed(boxes[:, :, 0], scores[:, :, 0] > 0, 0.5)
        picked, places = pick_detections(boxes, scores, 6, score_threshold=0.1, nms_threshold=0.5)
        return kept, picked, places


def _inputs(batch_size: int, chain: int) -> tuple[Tensor, Tensor]:
    """12 boxes of 2 classes, the first ones of which overlap in a chain; without a chain there are none."""
    left = torch.where(torch.arange(12) < chain, torch.arange(12), 10 * torch.arange(12)).float()
    boxes = torch.stack([left, torch.zeros(12), left + 4, torch.ones(12)], dim=1)  # (12, 4)
    scores = torch.linspace(0.9, 0.3, 12) * (chain > 0)
    return boxes[None, :, None].repeat(batch_size, 1, 2, 1), scores[None, :, None].repeat(batch_size, 1, 2)


def _in_onnx(path) -> dict:
    torch.onnx.export(
        Both(), _inputs(1, 2), path, dynamo=False, opset_version=20, input_names=["boxes", "scores"],
        dynamic_axes={"boxes": {0: "batch"}, "scores": {0: "batch"}},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    compiled = openvino_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def named(inputs: tuple[Tensor, Tensor]) -> dict[str, np.ndarray]:
        return {"boxes": inputs[0].numpy(), "scores": inputs[1].numpy()}

    return {
        "onnxruntime": lambda inputs: session.run(None, named(inputs)),
        "openvino": lambda inputs: list(compiled(named(inputs)).values()),
    }


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> dict:
    with torch.no_grad():
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(Both(), _inputs(2, 2), dynamic_shapes=({0: batch}, {0: batch}), strict=False)
        script = torch.jit.trace(Both(), _inputs(1, 2), check_trace=False)
    return {
        "program": lambda inputs: program.module()(*inputs),
        "script": lambda inputs: script(*inputs),
        **_in_onnx(str(tmp_path_factory.mktemp("loops") / "loops.onnx")),
    }


@torch.no_grad()
@pytest.mark.parametrize("form", ["program", "script", "onnxruntime", "openvino"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("chain", [0, 1, 2, 7, 12])
def test_a_graph_gives_what_the_function_gives(graphs, form, batch_size, chain):
    inputs = _inputs(batch_size, chain)
    for found, expected in zip(graphs[form](inputs), Both()(*inputs), strict=True):
        np.testing.assert_array_equal(np.asarray(found), expected.numpy())
