"""Mask2Former's losses: class, cross-entropy and dice of the masks at points, for every prediction.

Source: arXiv:2112.01527, sections 3.1 and 3.3. What differs from the published code, with the same expectation: masks
are computed for matched queries only; for the matching, mask features are read at the points before the product with
the queries; the points of the matching are drawn once per image for all predictions.

Shapes: B images, Q queries, K classes, E channels of the mask features, M targets or matched pairs, P points.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from focalnet_d2.layers.point_sampling import (
    DrawPoints,
    sample_masks,
    sample_points,
    select_uncertain_points,
    uniform_points,
)
from focalnet_d2.set_prediction.losses import dice_loss, mask_loss
from focalnet_d2.set_prediction.matcher import Indices, MaskMatcher
from focalnet_d2.set_prediction.targets import MaskTargets, count_targets

from .transformer_decoder import predict_masks


class Mask2FormerCriterion(nn.Module):
    """Weighted losses by name: `loss_class`, `loss_mask`, `loss_dice`; `_0`, `_1`, ...: predictions before the last.

    Args:
        matcher: assigns queries to targets.
        num_classes: classes K.
        class_weight, mask_weight, dice_weight: weights of the three losses.
        no_object_weight: weight of the no-object class in the class loss.
        num_points: points P of a mask, for matching and for losses.
        oversample_ratio: candidates drawn for each point that is chosen by uncertainty or at random.
        importance_sample_ratio: share of the points that are the most uncertain candidates.
        pairs_at_once: matched masks that are in memory together; 0 = all of an image. Other values recompute them in
            the backward pass.
        draw_points: source of random points.
    """

    def __init__(
        self,
        matcher: MaskMatcher,
        *,
        num_classes: int,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
        pairs_at_once: int = 0,
        draw_points: DrawPoints = uniform_points,
    ):
        super().__init__()
        self.matcher = matcher
        self.class_weight = class_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight
        self.num_points = num_points
        self.num_candidates = int(num_points * oversample_ratio)
        self.num_uncertain = int(num_points * importance_sample_ratio)
        self.pairs_at_once = pairs_at_once
        self.draw_points = draw_points
        empty_weight = torch.tensor([1.0] * num_classes + [no_object_weight])
        self.register_buffer("empty_weight", empty_weight, persistent=False)

    def forward(
        self, predictions: Sequence[Mapping[str, Tensor]], mask_features: Tensor, targets: Sequence[MaskTargets]
    ) -> dict[str, Tensor]:
        """All losses of a training step.

        Args:
            predictions: per decoder output, the last one last, `pred_logits` (B, Q, K + 1), `mask_embed` (B, Q, E).
            mask_features: (B, E, h, w), a quarter of the padded images' size.
            targets: segments of each image; masks may be smaller than the padded image.

        Returns:
            Weighted scalars; the same names for every batch, whatever it holds.
        """
        dtype = torch.promote_types(mask_features.dtype, torch.float32)
        predictions = [{name: part.to(dtype) for name, part in one.items()} for one in predictions]
        mask_features = mask_features.to(dtype)
        suffixes = [*(f"_{layer}" for layer in range(len(predictions) - 1)), ""]
        losses = {}
        with torch.autocast(mask_features.device.type, enabled=False):
            num_targets = count_targets(targets, mask_features.device)
            matched = self.match(predictions, mask_features, targets)
            features_of = mask_features.unbind()  # once: each mask_features[image] would have a gradient of all images
            for suffix, prediction, indices in zip(suffixes, predictions, matched, strict=True):
                terms = self.judge(prediction, features_of, targets, indices, num_targets)
                losses |= {name + suffix: loss for name, loss in terms.items()}
        return losses

    @torch.no_grad()
    def match(
        self, predictions: Sequence[Mapping[str, Tensor]], mask_features: Tensor, targets: Sequence[MaskTargets]
    ) -> list[Indices]:
        """For every prediction the pairs of each image."""
        matched = [[] for _ in predictions]
        for image, (features, target) in enumerate(zip(mask_features, targets, strict=True)):
            points = self.draw_points(1, self.num_points, features)  # (1, P, 2)
            read = sample_points(features[None], points)[0]  # (E, P)
            wanted = sample_masks(target.masks, points, _image_size(features))  # (M, P)
            for indices, prediction in zip(matched, predictions, strict=True):
                mask_logits = prediction["mask_embed"][image] @ read  # (Q, P)
                indices.append(self.matcher(prediction["pred_logits"][image], mask_logits, target.labels, wanted))
        return matched

    def judge(
        self,
        prediction: Mapping[str, Tensor],
        features_of: Sequence[Tensor],
        targets: Sequence[MaskTargets],
        indices: Indices,
        num_targets: float,
    ) -> dict[str, Tensor]:
        """Losses of one prediction and its assignment; mask features of each image: (E, h, w)."""
        embed, like = prediction["mask_embed"], features_of[0]
        pairs = [(queries.to(like.device), chosen.to(like.device)) for queries, chosen in indices]
        count = sum(len(queries) for queries, _ in pairs)
        candidates = self.draw_points(count, self.num_candidates, like)  # (M, ., 2)
        fresh = self.draw_points(count, self.num_points - self.num_uncertain, like)  # (M, ., 2)
        mask_total = dice_total = embed.flatten()[0] * 0 + like.flatten()[0] * 0  # keeps both in the graph
        done = 0
        for image, (queries, chosen) in enumerate(pairs):
            size = self.pairs_at_once or max(len(queries), 1)
            for some_queries, some_targets in zip(queries.split(size), chosen.split(size), strict=True):
                part = slice(done, done + len(some_queries))
                done = part.stop
                masks = targets[image].masks[some_targets]
                arguments = (embed[image, some_queries], features_of[image], masks, candidates[part], fresh[part])
                mask_part, dice_part = self._pair_losses(*arguments)
                mask_total, dice_total = mask_total + mask_part, dice_total + dice_part
        labels = [target.labels[chosen] for target, (_, chosen) in zip(targets, pairs, strict=True)]
        return {
            "loss_class": self.class_weight * self.class_loss(prediction["pred_logits"], pairs, labels),
            "loss_mask": self.mask_weight * mask_total / num_targets,
            "loss_dice": self.dice_weight * dice_total / num_targets,
        }

    def class_loss(self, logits: Tensor, pairs: Indices, labels: Sequence[Tensor]) -> Tensor:
        """Cross-entropy of all queries, unmatched ones as no-object, weighted mean: (B, Q, K + 1) -> scalar."""
        wanted = torch.full(logits.shape[:2], logits.shape[-1] - 1, dtype=torch.int64, device=logits.device)
        for row, (queries, _), image_labels in zip(wanted, pairs, labels, strict=True):
            row[queries] = image_labels
        return F.cross_entropy(logits.transpose(1, 2), wanted, self.empty_weight.to(logits.dtype))

    def _pair_losses(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        if self.pairs_at_once and torch.is_grad_enabled():
            return checkpoint(self._point_losses, *arguments, use_reentrant=False)
        return self._point_losses(*arguments)

    def _point_losses(
        self, embed: Tensor, features: Tensor, masks: Tensor, candidates: Tensor, fresh: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sums of mask and dice loss: (M, E), (E, h, w), (M, H, W) bool, points (M, ., 2) -> two scalars."""
        if len(embed) == 0:
            return embed.new_zeros(()), embed.new_zeros(())
        logits = predict_masks(embed, features)  # (M, h, w)
        uncertain = select_uncertain_points(logits, candidates, self.num_uncertain)
        points = torch.cat([uncertain, fresh], dim=1)  # (M, P, 2)
        read = sample_points(logits[:, None], points)[:, 0]  # (M, P)
        wanted = sample_masks(masks, points, _image_size(features))
        return mask_loss(read, wanted), dice_loss(read, wanted)


def _image_size(features: Tensor, stride: int = 4) -> tuple[int, int]:
    """Size of the padded image behind mask features (E, h, w)."""
    return features.shape[-2] * stride, features.shape[-1] * stride
