"""Exported models in onnxruntime and OpenVINO, and deformable attention in them, beside the library itself in torch.

Everything runs on one thread and, but for 8-bit files, in float32. A model's time is from an image to its results: its
post-processing is the library's in torch, and that of the exported file's decoder. Weights are random.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.builders import deformable_attention, dino, mask2former
from benchmarks.measuring import as_library_runs
from benchmarks.work import Timed
from focalnet_d2.export import openvino_graph
from focalnet_d2.export.graph import INPUTS, ONNX_OPSET, output_names, write_onnx
from focalnet_d2.export.onnx_loops import stack_results_of_loops
from focalnet_d2.export.quantization import quantize
from focalnet_d2.export.result import Sizes
from focalnet_d2.export.sessions import openvino_core
from focalnet_d2.kernels import deformable_attention_gather
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
from focalnet_d2.kernels.malloc import keep_freed_memory

MODELS = {"dino": dino.make_model, "mask2former": mask2former.make_model}
FORMS = {  # implementation, queries at once
    "grid_sample": ("grid_sample", 0),
    "gather, all queries at once": ("gather", 1 << 30),
    "gather, 64 queries at once": ("gather", deformable_attention_gather.QUERIES_AT_ONCE),
}


class _Attention(nn.Module):
    def __init__(self, form: str, shapes: Sequence[tuple[int, int]]):
        super().__init__()
        self.compute, self.shapes = DEFORMABLE_ATTENTION.named(form).compute, shapes

    def forward(self, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        """(B, N, M, D), (B, Q, M, L, P, 2), (B, Q, M, L, P) -> (B, Q, M*D)."""
        return self.compute(value, self.shapes, locations, weights)


def build_attention(queries: int | None, *, size: tuple[int, int]) -> Timed:
    """Forms of deformable attention in each runtime beside the fastest implementation in torch; inputs are fixed."""
    inputs = deformable_attention.make_inputs(size, queries)
    value, shapes, locations, weights = inputs
    eager = DEFORMABLE_ATTENTION.choose("cpu", torch.float32).name
    runs = {"reference": partial(deformable_attention.forward, inputs, eager, torch.float32)}
    for name, (form, at_once) in FORMS.items():
        file = _write(_Attention(form, shapes), (value, locations, weights), at_once)
        arrays = [value.numpy(), locations.numpy(), weights.numpy()]
        runs[f"onnxruntime, {name}"] = partial(_in_onnxruntime(file, ["value", "locations", "weights"]), arrays)
        runs[f"OpenVINO, {name}"] = partial(_in_openvino(file), arrays)
    return Timed(runs, details={"torch": eager})


def build_model(kind: str, recipe: str, *, size: tuple[int, int]) -> Timed:
    """A recipe's model, traced for any size, beside the library; both return all logits of classes in order."""
    keep_freed_memory()
    model = MODELS[kind](recipe).eval()
    image = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    path = Path(tempfile.mkdtemp(dir=_files().name), "model.onnx")
    looping = path.with_name("looping.onnx")
    for file in (path, looping):  # images large enough for 900 queries
        write_onnx(model, file, 2, (256, 320), dynamic=True, loops=file == looping)
    decode = import_module(f"focalnet_d2.export.decoding.{model.export_decoder}").decode
    names, settings, sizes = output_names(model, 1, (256, 320)), model.export_settings(), Sizes(size, size, size)

    def library() -> list[Tensor]:
        with torch.no_grad(), as_library_runs("float32"):
            images = model.preprocess([{"image": image}])
            outputs = model.infer(images)
            model.postprocess(outputs, images.sizes)
        return [outputs["pred_logits"].flatten().sort().values]

    def exported(run: Callable[[list[np.ndarray]], list[Tensor]]) -> list[Tensor]:
        found = run([image[None].numpy().astype(np.float32), np.array([size])])
        outputs = {name: value[0].numpy() for name, value in zip(names, found, strict=True)}
        decode(outputs, settings, sizes)
        return [torch.from_numpy(outputs["pred_logits"]).flatten().sort().values]

    integers = path.with_name("integers.onnx")
    quantize(model, path, integers, _samples(image), "openvino")
    runs = {
        "onnxruntime": _in_onnxruntime(looping, list(INPUTS)),
        "OpenVINO": _in_openvino(path),
        "OpenVINO int8": _in_openvino(integers),
    }
    sessions = {name: partial(exported, run) for name, run in runs.items()}
    return Timed({"reference": library, **sessions}, about={"recipe": recipe})


def _samples(image: Tensor) -> list[dict[str, np.ndarray]]:
    """A small part of an image (3, H, W), to calibrate with: what the network finds does not count here."""
    part = image[None, :, :256, :320].numpy().astype(np.float32)
    return [{"images": part, "image_sizes": np.array([part.shape[2:]])}]


@cache
def _files() -> tempfile.TemporaryDirectory:
    """The files of this process, which go with it: runtimes read weights from them when they need them."""
    return tempfile.TemporaryDirectory()


def _write(module: nn.Module, inputs: tuple[Tensor, ...], queries_at_once: int) -> Path:
    """The ONNX file of a module of fixed shapes."""
    path = Path(tempfile.mkdtemp(dir=_files().name), "attention.onnx")
    before = deformable_attention_gather.QUERIES_AT_ONCE
    deformable_attention_gather.QUERIES_AT_ONCE = min(queries_at_once, inputs[1].shape[1]) or before
    try:
        options: dict[str, Any] = {"dynamo": False, "opset_version": ONNX_OPSET}
        torch.onnx.export(module, inputs, path, input_names=["value", "locations", "weights"], **options)
    finally:
        deformable_attention_gather.QUERIES_AT_ONCE = before
    stack_results_of_loops(path)
    return path


def _in_onnxruntime(path: Path, inputs: list[str]) -> Callable[[list[np.ndarray]], list[Tensor]]:
    """A function that runs a file on one thread."""
    import onnxruntime  # an optional extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(arrays: list[np.ndarray]) -> list[Tensor]:
        return [torch.from_numpy(one) for one in session.run(None, dict(zip(inputs, arrays, strict=True)))]

    return run


def _in_openvino(path: Path) -> Callable[[list[np.ndarray]], list[Tensor]]:
    """A function that runs what a file of OpenVINO from this ONNX file has, on one thread."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = openvino_core().compile_model(openvino_graph.convert(path), "CPU", settings).create_infer_request()

    def run(arrays: list[np.ndarray]) -> list[Tensor]:
        return [torch.from_numpy(np.array(one)) for one in request.infer(arrays).values()]

    return run
