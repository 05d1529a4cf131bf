"""Exported graphs in the runtimes, beside the model in torch.

Shapes: B images, H x W pixels of the padded batch.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from focalnet_d2.export import openvino_graph
from focalnet_d2.export.describing import divisor_of
from focalnet_d2.export.graph import INPUTS, output_names, write_onnx
from focalnet_d2.export.result import Sizes
from focalnet_d2.export.sessions import openvino_core
from focalnet_d2.kernels.dispatch import portable_operators
from focalnet_d2.modeling.base import ImageModel

RUNTIMES = ("onnxruntime", "openvino")


class Exported:
    """A model, in evaluation mode, and its ONNX file in both runtimes, on one thread.

    Args:
        batch_size, size: images and (height, width) that it is traced with; the file takes others.
    """

    def __init__(self, model: ImageModel, folder: Path, *, batch_size: int = 2, size: tuple[int, int] = (64, 96)):
        self.model = model.eval()
        self.path = folder / "model.onnx"
        write_onnx(self.model, self.path, batch_size, size, dynamic=True, loops=True)
        self.names = output_names(self.model, batch_size, size)
        self.runs: dict[str, Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]] = {
            "onnxruntime": _in_onnxruntime(self.path),
            "openvino": _in_openvino(self.path, len(self.names)),
        }

    def tensors(self, runtime: str, images: Tensor, image_sizes: Tensor) -> dict[str, np.ndarray]:
        """What the file gives for (B, 3, H, W) and (B, 2), by name."""
        found = self.runs[runtime](dict(zip(INPUTS, (images.numpy(), image_sizes.numpy()), strict=True)))
        return dict(zip(self.names, found, strict=True))

    def expected_tensors(self, images: Tensor, image_sizes: Tensor) -> dict[str, np.ndarray]:
        """What the model gives for them in torch."""
        with torch.no_grad(), portable_operators():
            return {name: value.numpy() for name, value in self.model.export_forward(images, image_sizes).items()}

    def decoded(self, runtime: str, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Fields of the result of each image."""
        settings = self.model.export_settings()
        images, image_sizes = padded(batched_inputs, divisor_of(self.model))
        outputs = self.tensors(runtime, images, image_sizes)
        decode = import_module(f"focalnet_d2.export.decoding.{self.model.export_decoder}").decode
        results = []
        for index, (sample, size) in enumerate(zip(batched_inputs, image_sizes.tolist(), strict=True)):
            sizes = Sizes(
                padded=(images.shape[2], images.shape[3]),
                image=(size[0], size[1]),
                output=(sample.get("height", size[0]), sample.get("width", size[1])),
            )
            results.append(decode({name: values[index] for name, values in outputs.items()}, settings, sizes))
        return results


def padded(batched_inputs: Sequence[dict[str, Any]], divisor: int) -> tuple[Tensor, Tensor]:
    """Images in one batch (B, 3, H, W), noise right of and below them, and their sizes (B, 2)."""
    image_sizes = torch.tensor([sample["image"].shape[1:] for sample in batched_inputs])
    height, width = (-(-int(side) // divisor) * divisor for side in image_sizes.amax(0))
    images = torch.rand(len(batched_inputs), 3, height, width) * 255
    for padded_image, sample in zip(images, batched_inputs, strict=True):
        padded_image[:, : sample["image"].shape[1], : sample["image"].shape[2]] = sample["image"]
    return images, image_sizes


def noise(size: tuple[int, int], *, seed: int = 0, **fields: Any) -> dict[str, Any]:
    """A mapper dict with a random image of (height, width); `fields`: further ones."""
    draws = torch.Generator().manual_seed(seed)
    return {"image": torch.randint(256, (3, *size), generator=draws, dtype=torch.uint8), **fields}


def assert_same_detections(
    found: dict[str, Any], expected: Any, *, tolerance: float = 1e-3, equal_pixels: float = 0.999
) -> None:
    """Decoded `boxes`, `scores`, `class_ids` and `masks` are those of Detectron2's Instances, in any order of ties."""
    want = {
        "boxes": expected.pred_boxes.tensor.numpy(),
        "scores": expected.scores.numpy(),
        "class_ids": expected.pred_classes.numpy(),
    }
    assert len(found["scores"]) == len(want["scores"])
    assert (np.diff(found["scores"]) <= 0).all()
    remaining = list(range(len(want["scores"])))
    for index, (box, score, class_id) in enumerate(
        zip(found["boxes"], found["scores"], found["class_ids"], strict=True)
    ):
        same = [
            other
            for other in remaining
            if want["class_ids"][other] == class_id
            and abs(want["scores"][other] - score) <= tolerance
            and np.abs(want["boxes"][other] - box).max() <= tolerance
        ]
        assert same, f"{box} of class {class_id} with {score} is nowhere else"
        remaining.remove(same[0])
        if "masks" in found:
            assert (found["masks"][index] == expected.pred_masks[same[0]].numpy()).mean() >= equal_pixels


def _in_onnxruntime(path: Path) -> Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)


def _in_openvino(path: Path, outputs: int) -> Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]:
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino_core().compile_model(openvino_graph.convert(path), "CPU", settings)

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = compiled(inputs)
        return [np.array(found[index]) for index in range(outputs)]

    return run
