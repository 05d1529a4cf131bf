"""DINO's losses: class, L1 and generalised IoU for every decoder layer, the proposals and the denoising queries."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from focalnet_d2.set_prediction.criterion import SetCriterion, by_layer, suffixed
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.targets import Targets, count_targets

from .denoising import DenoisingQueries


class DINOCriterion(SetCriterion):
    """Weighted losses by name: `loss_class`, `loss_bbox`, `loss_giou` with a suffix for what is judged.

    No suffix: the last decoder layer; `_0`, `_1`, ...: the layers before it; `_enc`: proposals; `_dn`, `_dn_0`, ...:
    denoising queries, which know their objects. All are divided by the number of objects of the batch, denoising also
    by that of groups.

    Args:
        matcher, class_weight, ...: see `SetCriterion`.
        denoising_class_weight: weight of the class loss of denoising queries; `class_weight` by default.
    """

    def __init__(self, matcher: HungarianMatcher, *, denoising_class_weight: float | None = None, **settings: Any):
        super().__init__(matcher, **settings)
        self.denoising_class_weight = denoising_class_weight

    def forward(
        self, outputs: Mapping, targets: Sequence[Targets], denoising: DenoisingQueries | None = None
    ) -> dict[str, Tensor]:
        """All losses of a training step.

        Args:
            outputs: what `DINO.predict` returns.
            targets: objects of each image.
            denoising: the queries behind `outputs["dn_outputs"]`.

        Returns:
            Weighted scalars; the same names for every batch, whatever it holds.
        """
        device = outputs["pred_logits"].device
        with torch.autocast(device.type, enabled=False):
            num_targets = count_targets(targets, device)
            matched = by_layer(outputs) | {"_enc": outputs["enc_outputs"]}
            losses = self.match_and_compute_losses(matched, targets, num_targets)
            if denoising is not None:
                noisy = by_layer(outputs["dn_outputs"])
                known = [denoising.indices(targets)] * len(noisy)
                divisor = num_targets * denoising.num_groups
                denoising_losses = self.compute_losses(
                    list(noisy.values()), targets, known, divisor, self.denoising_class_weight
                )
                losses |= suffixed({f"_dn{layer}": one for layer, one in zip(noisy, denoising_losses, strict=True)})
        return losses
