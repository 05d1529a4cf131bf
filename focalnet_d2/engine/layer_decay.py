"""Layer-wise decay of the learning rate: the earlier a layer of the backbone, the lower its rate.

Convention of BEiT (arXiv:2106.08254) and timm: block i of n has the factor decay^(n + 1 - i), the stem, before all
blocks, decay^(n + 1), and everything behind the backbone 1.
"""

from collections.abc import Mapping
from typing import Any, cast

from torch import nn


def layer_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """Factor of the learning rate by the full name of a parameter; names that are missing have the factor 1.

    Args:
        model: its backbones have a method `layer_depths`.
        decay: of a layer against the next one; 1 is none.

    Raises:
        ValueError: a decay that is not in (0, 1], or no backbone that has layers.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"optimizer.layer_decay is {decay}: it must be above 0 and at most 1.")
    if decay == 1:
        return {}
    factors: dict[str, float] = {}
    for prefix, module in model.named_modules():
        if hasattr(module, "layer_depths"):
            depths: Mapping[str, int] = cast(Any, module).layer_depths()
            behind = max(depths.values()) + 1
            factors |= {f"{prefix}.{name}".lstrip("."): decay ** (behind - depth) for name, depth in depths.items()}
    if not factors:
        raise ValueError(f"optimizer.layer_decay is {decay}, but the model has no FocalNet: set it to 1.")
    return factors
