"""Static 8-bit integers: ranges of activations come from images of the user, of what bears it.

Convolutions and products with weights become 8-bit, but for those of `KEPT`; products of two activations and everything
else stay float32. OpenVINO's files come from the same ONNX graph, whose accuracy they keep.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from focalnet_d2.data.image_sources import InputImage
from focalnet_d2.data.pixels import READ_ERRORS
from focalnet_d2.inference.image_files import image_files

from . import onnx_format, openvino_format
from .checking import ANY
from .description import Description
from .exporting import Written, as_traced, checked, unfinished_files
from .formats import Traced, format_named
from .packages import optional, without_hint
from .preprocessing import batch_of, padded_size
from .runtime import network_pixels, read_image

LARGEST_NUMBER = 100  # of images that are looked at; more change little
QUANTIZED = ("Conv", "MatMul", "Gemm")  # of ONNX, where they have weights
_RESHAPING = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity")  # of ONNX, keep every value
# Of the names of parameters: where deformable attention looks and how it weighs, and what gives the final scores,
# boxes and masks.
KEPT = re.compile(
    r"sampling_offsets|attention_weights|class_embed|bbox_embed|mask_embed|ref_point_head|cls_score|bbox_pred|predictor"
    r"|objectness_logits|anchor_deltas|atss_|fc_cls|fc_reg|dynamic_layer|conv_seg|^head\.weight"
)


def export_quantized(
    model: nn.Module, path: Path, description: Description, images: Path, *, format: str, traced: Traced
) -> Written:
    """Write a model in 8-bit integers, as far as it bears them.

    Args:
        images: folder, pattern or file of images like those that the model will see; a hundred suffice.
        format: "onnx" or "openvino".

    Raises:
        FileNotFoundError: there is no image.
        ImportError: a package is missing; the message has the command that installs it.
        ValueError: another format, or a file that does not run; names the file.
    """
    if format not in ("onnx", "openvino"):
        raise ValueError(f"The format {format} has no 8-bit integers here: take onnx or openvino.")
    about = as_traced(description, traced, "int8")
    samples = list(calibration_inputs(images, about))
    with unfinished_files(path) as unfinished:
        source = unfinished.with_name("float.onnx")
        onnx_format.write(model, source, traced, about, loops=False)
        integers = unfinished.with_name("integers.onnx")
        quantize(model, source, integers, samples, format)
        if format == "onnx":
            onnx_format.save(optional("onnx").load(integers), unfinished, about)
        else:
            openvino_format.save_converted(integers, unfinished, about)
        integers.unlink(missing_ok=True)
        for file in unfinished.parent.glob("float.*"):
            file.unlink()
        return checked(path, unfinished, model, format_named(format), traced, about, ANY)


def calibration_inputs(images: Path, description: Description) -> Iterator[dict[str, np.ndarray]]:
    """`images` (B, 3, H, W) and `image_sizes` (B, 2) of single images, spread over the files that can be read.

    Raises:
        FileNotFoundError: there is no image.
        ValueError: none of them can be read.
    """
    files = image_files(images)
    step = max(1, len(files) // LARGEST_NUMBER)
    count = 0
    for file in files[::step][:LARGEST_NUMBER]:
        try:
            image: InputImage = read_image(file, "RGB", description.image_format)
        except READ_ERRORS:
            continue
        pixels = network_pixels(image, description)
        height, width = pixels.shape[:2]
        size = description.size or padded_size((height, width), description.divisor)
        batch, image_sizes = batch_of([pixels] * (description.batch_size or 1), size)
        count += 1
        yield {"images": batch, "image_sizes": image_sizes}
    if not count:
        raise ValueError(f"No image in {images} can be read: give a folder of images to calibrate with.")


class _Samples:
    """What onnxruntime asks for inputs, one after another."""

    def __init__(self, samples: Sequence[dict[str, np.ndarray]], names: set[str]):
        self._remaining = iter([{name: one[name] for name in one if name in names} for one in samples])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next inputs, None after the last."""
        return next(self._remaining, None)


def kept_nodes(model: nn.Module, file: Any) -> list[str]:
    """Names of the products and convolutions of an `onnx.ModelProto` whose weights are those of `KEPT` in the model."""
    kept = {name: value for name, value in model.named_parameters() if KEPT.search(name) and value.ndim >= 2}
    arrays = [value.detach().numpy() for value in kept.values()]
    fingerprints = {one.tobytes() for array in arrays for one in (array, array.T)}
    to_array = optional("onnx").numpy_helper.to_array
    weights = {one.name for one in file.graph.initializer if to_array(one).tobytes() in fingerprints}
    for node in file.graph.node:  # in the order of their computation; weights that are shared come through Identity
        if node.op_type in ("Identity", "Transpose") and node.input[0] in weights:
            weights.update(node.output)
    return [node.name for node in file.graph.node if node.op_type in QUANTIZED and weights.intersection(node.input)]


@without_hint("Please consider")  # to fold the graph first, which its tracer has done
def quantize(model: nn.Module, source: Path, path: Path, samples: Sequence[dict[str, np.ndarray]], format: str) -> None:
    """Write an ONNX file with QuantizeLinear and DequantizeLinear, from that of a model in float32.

    For OpenVINO, activations lie around 0 in int8, or from 0 on behind a ReLU: so it multiplies without another pass
    over each of them that subtracts their zero. What a product gives stays float32 where nothing multiplies it.

    Args:
        samples: `images` (B, 3, H, W) and `image_sizes` (B, 2) of each, as `calibration_inputs` gives them.
        format: whose runtime shall be fast, "onnx" or "openvino".
    """
    onnx, quantization = optional("onnx"), optional("onnxruntime.quantization")
    file, kinds = onnx.load(source), quantization.QuantType
    symmetric = format == "openvino"
    options: dict[str, Any] = {"MatMulConstBOnly": True, "ActivationSymmetric": symmetric}
    if symmetric:
        unsigned = {"quant_type": kinds.QUInt8, "symmetric": False}
        options["TensorQuantOverrides"] = {name: [dict(unsigned)] for name in non_negative_inputs(file)}
        options["OpTypesToExcludeOutputQuantization"] = list(QUANTIZED)
    quantization.quantize_static(
        str(source),
        str(path),
        _Samples(samples, {entry.name for entry in file.graph.input}),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTIZED),
        per_channel=True,
        activation_type=kinds.QInt8 if symmetric else kinds.QUInt8,
        weight_type=kinds.QInt8,
        nodes_to_exclude=kept_nodes(model, file),
        extra_options=options,
    )


def non_negative_inputs(file: Any) -> list[str]:
    """Names of the tensors behind a ReLU, which need no sign, that an `onnx.ModelProto` multiplies with weights."""
    found: set[str] = set()
    inputs = set()
    for node in file.graph.node:  # in the order of their computation
        if node.op_type == "Relu" or (node.op_type in _RESHAPING and node.input[0] in found):
            found.update(node.output)
        elif node.op_type in QUANTIZED and node.input[0] in found:
            inputs.add(node.input[0])
    return sorted(inputs)
