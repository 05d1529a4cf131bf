"""Parameters and multiply-adds of the models, from shapes alone: nothing is computed and no memory is taken.

One multiply-add counts once, as in the FLOPs columns of the papers. Counted are convolutions (depth-wise ones too),
linear layers, matrix products, both products of attention, and the sums of deformable attention. Not counted are norms,
activations, softmax, elementwise products (a FocalNet's gates and modulators), pooling, resizing, RoIAlign and whatever
follows the network, such as NMS.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from focalnet_d2.kernels import deformable_attention_cpp, deformable_attention_table, focal_context_cpp

from .base import ImageBatch, ImageModel

aten = torch.ops.aten


@dataclass(frozen=True)
class Counts:
    """Size of a model.

    Attributes:
        parameters: all of them, trained or not.
        multiply_adds: of one image.
    """

    parameters: int
    multiply_adds: int


def count_model(build: Callable[[], ImageModel], image_size: tuple[int, int]) -> Counts:
    """Counts the model that `build` makes, for one image of this (height, width).

    What runs is `ImageModel.static_forward`, so a two-stage detector's heads count as often as mmdetection counts them.
    """
    with torch.device("meta"):
        model = build().eval()
    with shapes_only():
        model = model.to_empty(device="cpu")  # some operations are not there on the meta device
        images = ImageBatch.without_padding(torch.empty(1, 3, *image_size))
        multiply_adds = count_multiply_adds(lambda: model.static_forward(images))
    return Counts(sum(parameter.numel() for parameter in model.parameters()), multiply_adds)


def shapes_only() -> FakeTensorMode:
    """A block in which tensors have a shape and no values; modules of tensors with values may be called, too."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def count_multiply_adds(run: Callable[[], object]) -> int:
    """Calls `run` and counts. Gradients are on, for without them `nn.MultiheadAttention` is one uncountable step."""
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with torch.enable_grad(), counter:
        run()
    return counter.get_total_flops() // 2


def _attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *args, **kwargs) -> int:
    return sdpa_flop_count(query, key, value)


def _deformable_attention_flops(value: Sequence[int], sides, locations, weights: Sequence[int], **kwargs) -> int:
    return 2 * 4 * math.prod(weights) * value[3]


def _focal_context_flops(context: Sequence[int], gates, kernels: Sequence[Sequence[int]], *args, **kwargs) -> int:
    return 2 * math.prod(context) * sum(math.prod(kernel[2:]) for kernel in kernels)


# What torch's counter leaves out.
_FORMULAS = {
    deformable_attention_cpp.OPERATOR: _deformable_attention_flops,
    deformable_attention_table.OPERATOR: _deformable_attention_flops,
    focal_context_cpp.OPERATOR: _focal_context_flops,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}
