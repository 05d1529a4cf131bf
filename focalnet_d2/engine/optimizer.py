"""AdamW with parameter groups: which parameters decay, and a lower rate for the backbone.

Source of the rules: the published training codes of the mm detectors, Mask2Former, Detectron2/detrex, FocalNet-DINO and
the FocalNet classifier; each exempts other parameters from weight decay.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import nn

from focalnet_d2.config.moved import current_value

from .layer_decay import layer_factors
from .sharding import is_sharded

NORM_MODULES = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
SWIN_TABLES = ("absolute_pos_embed", "relative_position_bias_table")

logger = logging.getLogger(__name__)


def _exempt_detectron2(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    return isinstance(module, NORM_MODULES)


def _exempt_mmdetection(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    called_norm_there = not isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm))  # those are bn and gn
    return called_norm_there and any(word in name for word in ("norm", *SWIN_TABLES))


def _exempt_mask2former(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    return isinstance(module, (*NORM_MODULES, nn.Embedding)) or any(word in name for word in SWIN_TABLES)


def _exempt_imagenet(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim <= 1 or name.endswith(".bias")


def _exempt_none(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    return False


DecayRule = Literal["detectron2", "mmdetection", "mask2former", "imagenet", "all"]
DECAY_RULES: dict[str, Callable[[nn.Module, str, nn.Parameter], bool]] = {
    "detectron2": _exempt_detectron2,  # Detectron2, detrex: norm modules
    "mmdetection": _exempt_mmdetection,  # names with "norm": `ln`, heads' bn and gn, and every bias decay
    "mask2former": _exempt_mask2former,  # Mask2Former: norm and embedding modules
    "imagenet": _exempt_imagenet,  # ImageNet: vectors and biases
    "all": _exempt_none,  # FocalNet-DINO: all parameters decay
}


class BackboneLrFactor:
    """Learning-rate factor of a parameter: `factor` below the module `prefix`, 1 elsewhere."""

    def __init__(self, *, factor: float, prefix: str) -> None:
        self.factor = factor
        self.prefix = prefix

    def __call__(self, name: str) -> float:
        """Factor for the parameter of this full name."""
        return self.factor if name.startswith(f"{self.prefix}.") else 1.0


def trainable_parameters(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """(owning module, full name, parameter), each trainable parameter once, shared ones at their first place."""
    seen: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield module, f"{module_name}.{name}".lstrip("."), parameter


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    decay_rule: DecayRule,
    lr_factor: Callable[[str], float] | None = None,
    layer_decay: float = 1.0,
) -> list[dict]:
    """Groups of parameters with equal learning rate and weight decay.

    Args:
        model: only parameters with `requires_grad` are taken.
        lr: learning rate where `lr_factor` gives 1.
        weight_decay: decay of the parameters that the rule does not exempt; the others have 0.
        decay_rule: one of `DECAY_RULES`.
        lr_factor: full parameter name -> factor of `lr`.
        layer_decay: another factor for each layer of the backbone, see `layer_factors`.

    Raises:
        ValueError: unknown rule, no such decay of layers, or nothing to train.
    """
    rule = current_value("optimizer.decay_rule", decay_rule)
    if rule not in DECAY_RULES:
        raise ValueError(f"decay_rule is '{decay_rule}': it must be one of {', '.join(DECAY_RULES)}.")
    factors = layer_factors(model, layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for module, name, parameter in trainable_parameters(model):
        rate = (lr if lr_factor is None else lr * lr_factor(name)) * factors.get(name, 1.0)
        decay = 0.0 if DECAY_RULES[rule](module, name, parameter) else weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ValueError("The model has no trainable parameter: nothing is left to optimise.")
    for (rate, decay), members in groups.items():
        count = sum(parameter.numel() for parameter in members)
        logger.info("learning rate %g, weight decay %g: %d tensors, %d numbers", rate, decay, len(members), count)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def build_adamw(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float],
    decay_rule: DecayRule,
    lr_factor: Callable[[str], float] | None = None,
    layer_decay: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW over `parameter_groups(model, ...)`."""
    groups = parameter_groups(
        model,
        lr=lr,
        weight_decay=weight_decay,
        decay_rule=decay_rule,
        lr_factor=lr_factor,
        layer_decay=layer_decay,
    )
    together = any(map(is_sharded, model.parameters())) or None  # torch by itself takes sharded tensors one by one
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, betas=tuple(betas), foreach=together)
