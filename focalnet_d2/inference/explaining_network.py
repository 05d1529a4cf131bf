"""What FocalNet does on an image: gates of the focal levels and the strength of the modulator, stage by stage.

It is read by hooks, which recompute a layer's parts from its input: a model without them runs as ever.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnet_d2.backbone.focalnet import STAGE_NAMES, FocalModulation, FocalNet, FocalStage


class StageMaps(NamedTuple):
    """The last layer of a stage, over the whole of the image.

    Attributes:
        name: `res2` to `res5`.
        levels: what each of the L + 1 gates lets through, `3x3` for example, and `global`.
        gates: (L + 1, h, w) float32, as they are, neither from 0 nor to 1; modulator: (h, w), its L2 norm.
    """

    name: str
    levels: tuple[str, ...]
    gates: np.ndarray
    modulator: np.ndarray


class NetworkWatch:
    """What the layers of a network had to say.

    Attributes:
        calls: how often the backbone was called.
        input_size: (H, W) of its last input.
        maps: by stage, (L + 2, h, w): gates and norm of the modulator of the last call's first image.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.input_size: tuple[int, int] = (0, 0)
        self.maps: dict[str, Tensor] = {}
        self.levels: dict[str, tuple[str, ...]] = {}

    def stages(self, image_size: tuple[int, int], size: tuple[int, int]) -> list[StageMaps]:
        """The maps of the image without its padding, at any size.

        Args:
            image_size: (h, w) of the image in the network's input; size: of the maps.
        """
        stages = []
        for name, maps in self.maps.items():
            whole = F.interpolate(maps[None], size=self.input_size, mode="bilinear", align_corners=False)
            cut = whole[..., : image_size[0], : image_size[1]]  # (1, L + 2, h, w)
            *gates, modulator = F.interpolate(cut, size=size, mode="bilinear", align_corners=False)[0].cpu().numpy()
            stages.append(StageMaps(name, self.levels[name], np.stack(gates), modulator))
        return stages


@contextmanager
def watched_network(model: nn.Module) -> Iterator[NetworkWatch]:
    """Inside, the last modulation of every stage of the first FocalNet in a model is noted."""
    watch, hooks = NetworkWatch(), []
    network = next((module for module in model.modules() if isinstance(module, FocalNet)), None)
    if network is not None:
        hooks.append(network.register_forward_pre_hook(lambda module, inputs: _note_input(watch, inputs[0])))
        for name, stage in zip(STAGE_NAMES, cast(Iterable[FocalStage], network.layers)):
            modulation = cast(Any, stage.blocks[-1]).modulation
            watch.levels[name] = _fields(modulation)
            hooks.append(modulation.register_forward_hook(_noting(watch, name)))
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


def _note_input(watch: NetworkWatch, images: Tensor) -> None:
    """(B, 3, H, W)."""
    watch.calls += 1
    watch.input_size = (images.shape[-2], images.shape[-1])


def _noting(watch: NetworkWatch, name: str) -> Any:
    def note(module: FocalModulation, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, gates, modulator = module.parts(inputs[0][:1])
        strength = torch.linalg.vector_norm(modulator.float(), dim=-1, keepdim=True)  # (1, h, w, 1)
        watch.maps[name] = torch.cat([gates.float(), strength], dim=-1)[0].permute(2, 0, 1)  # (L + 2, h, w)

    return note


def _fields(modulation: FocalModulation) -> tuple[str, ...]:
    """What each level sees: the depth-wise kernels follow each other, so their windows add up."""
    fields, side = [], 1
    for conv, _ in cast("Iterable[tuple[nn.Conv2d, nn.GELU]]", modulation.focal_layers):
        side += conv.kernel_size[0] - 1
        fields.append(f"{side}x{side}")
    return (*fields, "global")
