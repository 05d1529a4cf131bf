"""Parameters and multiply-adds of the models, from shapes alone: nothing is computed and no memory is taken.

One multiply-add counts once, as in the FLOPs columns of the papers. Counted are convolutions (depth-wise ones too),
linear layers, matrix products, both products of attention, and the sums of deformable attention. Not counted are norms,
activations, softmax, elementwise products (a FocalNet's gates and modulators), pooling, resizing, RoIAlign and whatever
follows the network, such as NMS.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from focalnet_d2.kernels import deformable_attention_cpp as compiled_deformable_attention
from focalnet_d2.kernels import deformable_attention_table as table_lookup
from focalnet_d2.kernels import focal_context_cpp as compiled_focal_context

from .atss.model import ATSS
from .rcnn.model import MaskRCNN
from .sparse_rcnn.model import SparseRCNN
from .upernet.model import UPerNet

PROPOSALS, MASKS = 1000, 100  # regions through every box head and every mask head, as mmdetection counts

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


def count_model(build: Callable[[], nn.Module], image_size: tuple[int, int]) -> Counts:
    """Counts the model that `build` makes, for one image of this (height, width).

    The heads of a two-stage detector count as often as mmdetection's counter lets them run, see `run_network`.
    """
    with torch.device("meta"):
        model = build().eval()
    with shapes_only():
        model = model.to_empty(device="cpu")  # some operations are not there on the meta device
        images = torch.empty(1, 3, *image_size)
        multiply_adds = count_multiply_adds(lambda: run_network(model, images))
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
    compiled_deformable_attention.OPERATOR: _deformable_attention_flops,
    table_lookup.OPERATOR: _deformable_attention_flops,
    compiled_focal_context.OPERATOR: _focal_context_flops,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}


@singledispatch
def run_network(model: nn.Module, images: Tensor) -> None:
    """Runs what lies between normalised images (B, 3, H, W) and predictions.

    By default that is `model.predict`, with a mask that says that nothing is padding if it asks for one.
    """
    arguments = {}
    if "padding_mask" in inspect.signature(model.predict).parameters:
        arguments["padding_mask"] = torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool)
    model.predict(images, **arguments)


@run_network.register
def _run_mask_rcnn(model: MaskRCNN, images: Tensor) -> None:
    """Pyramid, proposals, then each stage's box head on 1000 regions and mask head on 100."""
    features = model.backbone(images)
    proposals, heads = model.proposal_generator, model.roi_heads
    proposals.rpn_head([features[name] for name in proposals.in_features])
    channels = features[proposals.in_features[0]].shape[1]
    boxes = torch.empty(PROPOSALS, channels, *heads.box_pooler.output_size)
    masks = torch.empty(MASKS, channels, *heads.mask_pooler.output_size)
    for head, predictor in zip(_stages(heads.box_head), _stages(heads.box_predictor), strict=True):
        predictor(head(boxes))
    for head in _stages(heads.mask_head):
        head.layers(masks)


@run_network.register
def _run_atss(model: ATSS, images: Tensor) -> None:
    model.bbox_head(list(model.backbone(images).values()))


@run_network.register
def _run_sparse_rcnn(model: SparseRCNN, images: Tensor) -> None:
    """Pyramid, then all stages on the proposals' features and regions of the size that the stages take."""
    model.backbone(images)
    proposals = model.head.init_proposal_features.weight[None]  # (1, Q, C)
    regions = torch.empty(*proposals.shape[1:], *model.head.pooler.output_size)  # (Q, C, S, S)
    for stage in model.head.stages:
        stage(proposals, regions)


@run_network.register
def _run_upernet(model: UPerNet, images: Tensor) -> None:
    """Without the auxiliary head, which serves training."""
    model.decode_head(model.backbone(images))


def _stages(heads: nn.Module) -> list[nn.Module]:
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]
