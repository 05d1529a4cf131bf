"""DINO's losses: class, L1 and generalised IoU for every decoder layer, the proposals and the denoising queries.

Shapes: B images, Q queries, K classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from focalnet_d2.set_prediction.losses import giou_loss, l1_loss, sigmoid_focal_loss
from focalnet_d2.set_prediction.matcher import HungarianMatcher, Indices
from focalnet_d2.set_prediction.targets import Targets, count_targets

from .denoising import DenoisingQueries


class DINOCriterion(nn.Module):
    """Weighted losses by name: `loss_class`, `loss_bbox`, `loss_giou` with a suffix for what is judged.

    No suffix: the last decoder layer; `_0`, `_1`, ...: the layers before it; `_enc`: proposals; `_dn`, `_dn_0`, ...:
    denoising queries. All are divided by the number of objects of the batch, denoising also by that of groups.

    Args:
        matcher: assigns queries to objects; denoising queries know theirs.
        class_weight, bbox_weight, giou_weight: weights of the three losses.
        alpha, gamma: of the focal loss.
    """

    def __init__(
        self,
        matcher: HungarianMatcher,
        *,
        class_weight: float = 1.0,
        bbox_weight: float = 5.0,
        giou_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ):
        super().__init__()
        self.matcher = matcher
        self.class_weight = class_weight
        self.bbox_weight = bbox_weight
        self.giou_weight = giou_weight
        self.alpha = alpha
        self.gamma = gamma

    def judge(
        self, outputs: Mapping[str, Tensor], targets: Sequence[Targets], indices: Indices, num_targets: float
    ) -> dict[str, Tensor]:
        """Losses of one set of predictions: (B, Q, K) `pred_logits`, (B, Q, 4) `pred_boxes`, and its assignment."""
        dtype = torch.promote_types(outputs["pred_logits"].dtype, torch.float32)
        logits, boxes = outputs["pred_logits"].to(dtype), outputs["pred_boxes"].to(dtype)
        device = logits.device
        images = torch.cat([torch.full_like(query, i) for i, (query, _) in enumerate(indices)]).to(device)
        queries = torch.cat([query for query, _ in indices]).to(device)
        labels = torch.cat(
            [image.labels[target.to(device)] for image, (_, target) in zip(targets, indices, strict=True)]
        )
        wanted = torch.cat(
            [image.boxes[target.to(device)] for image, (_, target) in zip(targets, indices, strict=True)]
        )

        onehot = torch.zeros_like(logits)
        onehot[images, queries, labels] = 1.0
        matched, wanted = boxes[images, queries], wanted.to(dtype)  # (P, 4) each
        scale = 1.0 / num_targets
        return {
            "loss_class": self.class_weight * scale * sigmoid_focal_loss(logits, onehot, self.alpha, self.gamma),
            "loss_bbox": self.bbox_weight * scale * l1_loss(matched, wanted),
            "loss_giou": self.giou_weight * scale * giou_loss(matched, wanted),
        }

    def _matched(self, outputs: Mapping[str, Tensor], targets: Sequence[Targets], num_targets: float):
        indices = self.matcher(outputs["pred_logits"], outputs["pred_boxes"], targets)
        return self.judge(outputs, targets, indices, num_targets)

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
        with torch.autocast(outputs["pred_logits"].device.type, enabled=False):
            num_targets = count_targets(targets, outputs["pred_logits"].device)
            losses = self._matched(outputs, targets, num_targets)
            for layer, earlier in enumerate(outputs["aux_outputs"]):
                losses |= _suffixed(self._matched(earlier, targets, num_targets), f"_{layer}")
            losses |= _suffixed(self._matched(outputs["enc_outputs"], targets, num_targets), "_enc")
            if denoising is not None:
                last = outputs["dn_outputs"]
                indices = denoising.indices(targets)
                spread = num_targets * denoising.num_groups
                losses |= _suffixed(self.judge(last, targets, indices, spread), "_dn")
                for layer, earlier in enumerate(last["aux_outputs"]):
                    losses |= _suffixed(self.judge(earlier, targets, indices, spread), f"_dn_{layer}")
        return losses


def _suffixed(losses: Mapping[str, Tensor], suffix: str) -> dict[str, Tensor]:
    return {name + suffix: loss for name, loss in losses.items()}
