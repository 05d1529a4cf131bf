"""Parts of a model that do not learn: `train.freeze` names modules and parameters, or has patterns for them."""

import difflib
import logging
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn

from focalnet_d2.utils.text import some_of

STATISTICS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)

logger = logging.getLogger(__name__)


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Takes the gradient from parameters, and keeps the statistics of norms that have none left, in place.

    It comes before the optimizer is made, and before the model is wrapped for several processes.

    Args:
        patterns: full names of modules or parameters, in which `*` stands for anything, dots included; a module stands
            for all that is in it.

    Raises:
        ValueError: a pattern that matches no parameter, or nothing is left to learn.
    """
    frozen: set[str] = set()
    for pattern in patterns:
        matched = _matched(model, pattern)
        count = sum(parameter.numel() for name, parameter in model.named_parameters() if name in matched)
        logger.info("Frozen by %s: %d tensors, %d numbers", pattern, len(matched), count)
        frozen |= matched
    if not frozen:
        return
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in frozen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"train.freeze={list(patterns)} freezes the whole model: leave out what is to learn.")
    kept = sum(_keep_statistics(model))
    left = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    logger.info("%d numbers are left to learn; %d frozen norms keep their statistics", left, kept)


def _matched(model: nn.Module, pattern: str) -> set[str]:
    """Names of the parameters that a pattern freezes."""
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    matched = {name for name in parameters if any(fnmatchcase(part, pattern) for part in _and_above(name))}
    if not matched:
        names = list(dict.fromkeys(part for name in parameters for part in _and_above(name)))
        near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
        raise ValueError(
            f"train.freeze has '{pattern}', which no parameter of the model fits: near are {some_of(near)}."
        )
    return matched


def _and_above(name: str) -> Iterator[str]:
    """`a.b.weight` -> `a`, `a.b`, `a.b.weight`."""
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _keep_statistics(model: nn.Module) -> Iterator[bool]:
    """Whether a norm was told to keep its statistics, for each norm that has some."""
    for module in model.modules():
        if isinstance(module, STATISTICS):
            parameters = list(module.parameters())
            fixed = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
            if fixed:
                module.register_forward_pre_hook(_in_eval_mode)
            yield fixed


def _in_eval_mode(module: nn.Module, inputs: tuple) -> None:
    """Before every pass, as whoever trains puts the whole model into training mode."""
    module.training = False
