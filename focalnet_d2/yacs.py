"""Bridge to Detectron2's yacs configs: the FocalNet keys, and a config with which Detectron2 runs a recipe.

`DefaultPredictor(recipe_to_cfg("dino_focalnet_huge", weights="model.pth"))` needs nothing else: the registered
meta-architecture `LazyConfigModel` builds the recipe's model and loads `MODEL.LAZY_WEIGHTS` in any known layout.
"""

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig
from torch import nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.config.lazy import RecipeError, find_recipe
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.own_data import read_recipe
from focalnet_d2.engine.precision import predict_in
from focalnet_d2.inference.loading import build_with_weights


def add_focalnet_config(cfg: CfgNode) -> None:
    """Add `MODEL.FOCALNET` (one key per argument of `FocalNet`, in capitals) and the `MODEL.LAZY_*` keys."""
    cfg.MODEL.FOCALNET = CfgNode()
    for name, parameter in inspect.signature(FocalNet.__init__).parameters.items():
        if name not in ("self", "in_chans"):  # the number of channels comes with the input's shape
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            cfg.MODEL.FOCALNET[name.upper()] = default
    cfg.MODEL.LAZY_CONFIG = ""  # path of a recipe
    cfg.MODEL.LAZY_OVERRIDES = []  # key=value strings, applied to the recipe
    cfg.MODEL.LAZY_WEIGHTS = ""  # checkpoint of any known layout; "" leaves the weights random


def recipe_to_cfg(recipe: str | Path, overrides: Iterable[str] = (), weights: str | Path | None = None) -> CfgNode:
    """A config with which Detectron2's `DefaultPredictor` and `build_model` run a recipe.

    Args:
        recipe: path, or name of a shipped recipe.
        overrides: `key=value` strings as for `train_net.py`.
        weights: checkpoint to predict with; by default the recipe's `train.init_checkpoint`, as with `--eval-only`.

    Raises:
        RecipeError: unknown recipe or override, or a test loader without a resize augmentation.
    """
    path, overrides = find_recipe(recipe), list(overrides)
    loaded = read_recipe(path, overrides)
    cfg = get_cfg()
    add_focalnet_config(cfg)
    cfg.MODEL.META_ARCHITECTURE = "LazyConfigModel"
    cfg.MODEL.LAZY_CONFIG = str(path)
    cfg.MODEL.LAZY_OVERRIDES = overrides
    cfg.MODEL.LAZY_WEIGHTS = str(loaded.train.init_checkpoint if weights is None else weights)
    cfg.MODEL.WEIGHTS = ""  # Detectron2's own loader has nothing to do
    cfg.MODEL.DEVICE = str(resolve_device(loaded.train.device))
    cfg.MODEL.PIXEL_MEAN = [float(value) for value in _argument(loaded.model, "pixel_mean")]
    cfg.MODEL.PIXEL_STD = [float(value) for value in _argument(loaded.model, "pixel_std")]
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = _test_size(loaded, path)
    names = loaded.dataloader.test.dataset.names
    cfg.DATASETS.TEST = (names,) if isinstance(names, str) else tuple(names)
    return cfg


def _argument(node: DictConfig, name: str) -> Any:
    """An argument of the callable that a node builds: the recipe's value, or else the callable's default."""
    if name in node:
        return node[name]
    target = locate(node["_target_"]) if isinstance(node["_target_"], str) else node["_target_"]
    return inspect.signature(target).parameters[name].default


def _test_size(recipe: DictConfig, path: Path) -> tuple[int, int]:
    """(shorter side, longest side) in pixels of the test loader's resize augmentation."""
    for node in _nodes(recipe.dataloader.test.mapper):
        if "short_edge_length" in node and "max_size" in node:
            short = node.short_edge_length
            sides = [int(side) for side in ([short] if isinstance(short, int) else short)]
            if len(set(sides)) == 1:
                return sides[0], int(node.max_size)
    raise RecipeError(
        f"Recipe {path} resizes test images to no fixed size: its dataloader.test.mapper needs a resize augmentation "
        f"with one short_edge_length and a max_size."
    )


def _nodes(node: Any) -> Iterator[DictConfig]:
    """Every dict of a config tree, outermost first."""
    if isinstance(node, DictConfig):
        yield node
    if isinstance(node, DictConfig | ListConfig):
        for child in node.values() if isinstance(node, DictConfig) else node:
            yield from _nodes(child)


@BACKBONE_REGISTRY.register()
def build_focalnet_backbone(cfg, input_shape: ShapeSpec) -> FocalNet:
    """FocalNet from `cfg.MODEL.FOCALNET` (see `focalnet_d2.yacs.add_focalnet_config`)."""
    return FocalNet(cfg, input_shape)


@BACKBONE_REGISTRY.register()
def build_focalnet_fpn_backbone(cfg, input_shape: ShapeSpec) -> FPN:
    """FocalNet under a feature pyramid with a pooled extra level, from `cfg.MODEL.FOCALNET` and `cfg.MODEL.FPN`."""
    return FPN(
        bottom_up=FocalNet(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


@META_ARCH_REGISTRY.register()
def LazyConfigModel(cfg) -> nn.Module:  # noqa: N802 - registry entries are named like classes
    """The model of the recipe that `cfg.MODEL.LAZY_CONFIG` names, for Detectron2's `DefaultPredictor`.

    `cfg.MODEL.LAZY_OVERRIDES` changes it (`train.amp=bf16`: it predicts in bf16), `cfg.MODEL.LAZY_WEIGHTS` is a
    checkpoint of any known layout. It returns the recipe's own model, so that state-dict keys are the same on both
    ways. Make the config with `focalnet_d2.yacs.recipe_to_cfg`.
    """
    recipe = read_recipe(cfg.MODEL.LAZY_CONFIG, list(cfg.MODEL.LAZY_OVERRIDES))
    return predict_in(build_with_weights(recipe, cfg.MODEL.LAZY_WEIGHTS), recipe.train.amp)
