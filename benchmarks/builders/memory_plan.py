"""Memory of a training step of DINO, computed from shapes for what does not fit here.

A step is counted with tensors that have shapes and no values. Autocast follows CUDA's rules; deformable attention is
`grid_sample` a level, as on CUDA without Triton, or one kernel that keeps its inputs alone, as Triton's and the
compiled one do. What the count cannot know is what a card's libraries take for themselves, and what the allocator loses
between blocks.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from detectron2.config import instantiate
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from benchmarks.builders.inputs import images_with_boxes
from benchmarks.work import Facts
from dino.denoising import DenoisingQueries
from dino.model import DINO
from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.engine.sharding import recomputed_modules
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
from focalnet_d2.kernels.depthwise_conv import DEPTHWISE_CONV
from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT
from focalnet_d2.modeling.flops import shapes_only
from focalnet_d2.set_prediction.targets import Targets, prepare_targets

ATTENTION = {"grid_sample": "grid_sample", "one kernel": "compiled"}
RECOMPUTED = ((), ("backbone.bottom_up",), ("backbone.bottom_up", "encoder"))
OBJECTS = 20  # an image


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make inside, as long as they live.

    Attributes:
        live: now.
        peak: at most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for storage in _storages((args, kwargs)):
            self._known[storage] = True  # of the caller, or counted already: a view of it makes nothing
        outputs = func(*args, **kwargs)
        for storage in _storages(outputs):
            if storage not in self._known:
                self._known[storage] = True
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return outputs

    def _add(self, count: int) -> None:
        self.live += count
        self.peak = max(self.peak, self.live)


def _storages(tree: object) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def build(recipe: str, *, size: tuple[int, int]) -> Facts:
    """A row for every precision, way of deformable attention and choice of recomputed parts."""
    return Facts(lambda: plan(recipe, size))


def plan(recipe: str, size: tuple[int, int]) -> Iterator[dict]:
    """The rows."""
    for precision, attention, recomputed in itertools.product(("float32", "bfloat16"), ATTENTION, RECOMPUTED):
        found = account(recipe, size, precision=precision, attention=attention, recomputed=recomputed)
        yield {"precision": precision, "attention": attention, "recomputed": list(recomputed), **found}


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function as CUDA's autocast runs it; the CPU's takes the type that it finds."""

    def run(x: Tensor, *args: object, **kwargs: object) -> Tensor:
        return function(x.float() if torch.is_autocast_enabled("cpu") else x, *args, **kwargs)

    return run


@contextmanager
def operators_of_cuda(attention: str) -> Iterator[None]:
    """The operators that a card would run, whatever this machine prefers."""
    with (
        DEFORMABLE_ATTENTION.only(ATTENTION[attention]),
        FOCAL_CONTEXT.only("plain"),
        DEPTHWISE_CONV.only("conv2d"),
        patch.object(F, "layer_norm", in_float32(F.layer_norm)),
        patch.object(F, "group_norm", in_float32(F.group_norm)),
        patch.object(Tensor, "softmax", in_float32(Tensor.softmax)),
    ):
        yield


def make_targets(model: DINO, size: tuple[int, int]) -> list[Targets]:
    """Of one made-up image."""
    instances = [sample["instances"] for sample in images_with_boxes(size, 1, OBJECTS, model.num_classes)]
    return prepare_targets(instances, torch.device("cpu"), model.num_classes)


def with_random_values(leaf: object) -> object:
    """Random numbers in place of a tensor's shape."""
    if not isinstance(leaf, Tensor):
        return leaf
    return torch.rand(leaf.shape).requires_grad_() if leaf.is_floating_point() else torch.zeros(leaf.shape)


def kept_by_criterion(model: DINO, outputs: dict, targets: list[Targets], queries: DenoisingQueries) -> int:
    """Bytes that the losses of outputs of these shapes keep; the outputs get values, which the matching needs."""
    with_values = tree_map(with_random_values, outputs)
    with LiveBytes() as counted:
        losses = model.criterion(with_values, targets, queries)
        return counted.live if losses else 0


class Marks:
    """What lived when a part of the network had run.

    Attributes:
        kept: bytes that each part leaves behind for the backward pass.
        blocks: the same of the blocks of each stage, the largest.
    """

    def __init__(self, model: DINO, counted: LiveBytes) -> None:
        self.counted = counted
        self.kept: dict[str, int] = {}
        self.blocks: dict[str, int] = {}
        self._before = 0
        parts = {"FocalNet": model.backbone.bottom_up, "neck": model.backbone, "encoder": model.encoder}
        for name, module in parts.items():
            module.register_forward_hook(lambda *arguments, name=name: self._add(name))
        for number, stage in enumerate(model.backbone.bottom_up.layers, 1):
            for block in stage.blocks:
                block.register_forward_pre_hook(self._enter)
                block.register_forward_hook(lambda *arguments, name=f"stage {number}": self._leave(name))

    def _add(self, name: str) -> None:
        self.kept[name] = self.counted.live - sum(self.kept.values())

    def _enter(self, *arguments: object) -> None:
        self._before = self.counted.live

    def _leave(self, stage: str) -> None:
        self.blocks[stage] = max(self.blocks.get(stage, 0), self.counted.live - self._before)

    def finish(self) -> None:
        """The forward pass is over."""
        self._add("queries, decoder, heads")


def account(name: str, size: tuple[int, int], *, precision: str, attention: str, recomputed: Sequence[str]) -> dict:
    """Bytes of a training step of one image.

    Returns:
        `kept` by each part at the end of the forward pass, `blocks` of the backbone a stage (where they are kept),
        `step_peak` (activations, gradients and temporaries together), `parameters`, `moments` of AdamW, and `total`,
        their sum; an averaged copy (EMA) adds `parameters` once more.
    """
    parts = ("backbone.bottom_up", "encoder", "decoder")
    recipe = apply_overrides(load_recipe(name), [f"model.{part}.use_checkpoint={part in recomputed}" for part in parts])
    with torch.device("meta"):
        model, network = instantiate(recipe.model).train(), instantiate(recipe.model).train()
    targets = make_targets(model, size)
    with torch.no_grad():
        queries = model.denoising.to_empty(device="cpu")(targets)
    parameters = sum(one.numel() * 4 for one in model.parameters())
    units = [sum(one.numel() * 4 for one in unit.parameters()) for unit in recomputed_modules(model)]
    with operators_of_cuda(attention), shapes_only():
        counted, marks, outputs = run_step(network.to_empty(device="cpu"), size, queries, precision)
    kept = {**marks.kept, "criterion": kept_by_criterion(model, outputs, targets, queries)}
    peak = counted.peak + kept["criterion"]
    return {
        "kept": kept,
        "blocks": {} if "backbone.bottom_up" in recomputed else marks.blocks,
        "step_peak": peak,
        "parameters": parameters,
        "moments": 2 * parameters,
        "total": 3 * parameters + peak,
        "largest_unit": max(units),
        "root_unit": parameters - sum(units),
    }


def run_step(network: DINO, size: tuple[int, int], queries: DenoisingQueries, precision: str):
    """Forward and backward without values: the counter, what modules kept, and outputs that only have shapes."""
    images, mask = torch.empty(1, 3, *size), torch.zeros(1, *size, dtype=torch.bool)
    counted = LiveBytes()
    marks = Marks(network, counted)
    with counted, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        outputs = network.run_network(images, mask, queries)
    marks.finish()
    shapes = tree_map(lambda one: one.to("meta") if isinstance(one, Tensor) else one, outputs)
    with counted:
        loss = sum(one.float().sum() for one in tree_leaves(outputs) if getattr(one, "requires_grad", False))
        del outputs
        loss.backward()
    return counted, marks, shapes
