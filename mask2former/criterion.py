"""Mask2Former's losses: class, cross-entropy and dice of the masks at points, for every prediction.

Source: arXiv:2112.01527, sections 3.1 and 3.3. What differs from the published code, with the same expectation: masks
are computed for matched queries only, those of all predictions in one product; for the matching, mask features are read
at the points before the product with the queries; the points of the matching are drawn once per image for all
predictions.

Shapes: B images, L predictions, Q queries, K classes, E channels of the mask features, M targets, N matched pairs of
all predictions of an image, P points.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import cast

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
from focalnet_d2.utils.step_totals import share, total

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
        self.empty_weight: Tensor
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
        self.weight_of_class: Tensor | None
        self.register_buffer("weight_of_class", None, persistent=False)

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
        suffixes = _suffixes(len(predictions))
        losses = {}
        with torch.autocast(mask_features.device.type, enabled=False):
            num_targets = count_targets(targets, mask_features.device)
            matched = self.match(predictions, mask_features, targets)
            mask_sums, dice_sums = self.mask_losses(predictions, mask_features, targets, matched)  # (L,) each
            labels = [target.labels for target in targets]
            for layer, (suffix, prediction, indices) in enumerate(zip(suffixes, predictions, matched, strict=True)):
                class_loss = self.class_loss(prediction["pred_logits"], indices, labels, suffix)
                losses["loss_class" + suffix] = self.class_weight * class_loss
                losses["loss_mask" + suffix] = self.mask_weight * mask_sums[layer] / num_targets
                losses["loss_dice" + suffix] = self.dice_weight * dice_sums[layer] / num_targets
        return losses

    @torch.no_grad()
    def match(
        self, predictions: Sequence[Mapping[str, Tensor]], mask_features: Tensor, targets: Sequence[MaskTargets]
    ) -> list[Indices]:
        """For every prediction the pairs of each image, indices (P,) of queries and of targets."""
        found = []  # B x L pairs
        for image, (features, target) in enumerate(zip(mask_features, targets, strict=True)):
            points = self.draw_points(1, self.num_points, features)  # (1, P, 2)
            sampled = sample_points(features[None], points)[0]  # (E, P)
            target_values = sample_masks(target.masks, points, _image_size(features))  # (M, P)
            logits = [prediction["pred_logits"][image] for prediction in predictions]
            embeds = (prediction["mask_embed"][image] for prediction in predictions)
            mask_logits = (embed @ sampled for embed in embeds)  # one (Q, P) at a time
            found.append(self.matcher(logits, mask_logits, target.labels, target_values))
        device = mask_features.device
        return [[tuple(side.to(device) for side in pairs) for pairs in layer] for layer in zip(*found, strict=True)]

    def mask_losses(
        self,
        predictions: Sequence[Mapping[str, Tensor]],
        mask_features: Tensor,
        targets: Sequence[MaskTargets],
        matched: Sequence[Indices],
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and dice loss of each prediction, summed over its pairs: (L,), (L,)."""
        draws = [self._draw(indices, mask_features) for indices in matched]  # L x B pairs of points
        sums = []  # B x (2, L)
        # unbind once: each mask_features[image] would have a gradient of all images
        for image, (features, target) in enumerate(zip(mask_features.unbind(), targets, strict=True)):
            pairs = [indices[image] for indices in matched]
            embed = torch.cat(
                [one["mask_embed"][image, queries] for one, (queries, _) in zip(predictions, pairs, strict=True)]
            )  # (N, E)
            chosen = torch.cat([indices for _, indices in pairs])  # (N,)
            candidates, random_points = (
                torch.cat(points) for points in zip(*(draw[image] for draw in draws), strict=True)
            )
            losses = self._pair_losses(features, target.masks, embed, chosen, candidates, random_points)  # (2, N)
            sums.append(torch.stack([part.sum(1) for part in losses.split([len(indices) for _, indices in pairs], 1)]))
        mask_sums, dice_sums = reduce(torch.add, sums).unbind(1)  # (L,) each
        return mask_sums, dice_sums

    def _draw(self, indices: Indices, like: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Points of a prediction's pairs: for each image the candidates for uncertain points, and others."""
        counts = [len(queries) for queries, _ in indices]
        candidates = self.draw_points(sum(counts), self.num_candidates, like)
        random_points = self.draw_points(sum(counts), self.num_points - self.num_uncertain, like)
        return list(zip(candidates.split(counts), random_points.split(counts), strict=True))

    def note_class_weights(self, labels: Sequence[Tensor], num_queries: int, num_predictions: int) -> None:
        """Notes what the class losses are divided by, if no image has more targets than there are queries.

        Args:
            labels: (M,) of the targets of each image.
        """
        unmatched = num_queries * len(labels) - sum(map(len, labels))
        weights = self._weights_of_classes().double()
        summed = float(sum(weights[image].sum() for image in labels) + unmatched * weights[-1])
        for suffix in _suffixes(num_predictions):
            total(f"class weights{suffix}", summed)

    def class_loss(self, logits: Tensor, pairs: Indices, labels: Sequence[Tensor], suffix: str = "") -> Tensor:
        """Cross-entropy of all queries, unmatched ones as no-object, weighted mean; of a part, its share of the step's.

        Args:
            logits: (B, Q, K + 1).
            pairs: of each image; labels: of its targets, (M,).
            suffix: of the loss's name.
        """
        target_classes = torch.full(logits.shape[:2], logits.shape[-1] - 1, dtype=torch.int64, device=logits.device)
        for row, (queries, chosen), image_labels in zip(target_classes, pairs, labels, strict=True):
            row[queries] = image_labels[chosen]
        weights = self._weights_of_classes().to(logits.dtype)
        mean = F.cross_entropy(logits.transpose(1, 2), target_classes, weights)
        return mean * share(f"class weights{suffix}", weights[target_classes].sum())

    def _weights_of_classes(self) -> Tensor:
        """(K + 1,), no object last."""
        if self.weight_of_class is None:
            return self.empty_weight
        return torch.cat([self.weight_of_class.to(self.empty_weight), self.empty_weight[-1:]])

    def _pair_losses(self, features: Tensor, masks: Tensor, *of_pairs: Tensor) -> Tensor:
        """`_point_losses` of all pairs of an image, `pairs_at_once` of them at a time."""
        if not self.pairs_at_once:
            return self._point_losses(features, masks, *of_pairs)
        parts = zip(*(part.split(self.pairs_at_once) for part in of_pairs), strict=True)
        if torch.is_grad_enabled():
            losses = [checkpoint(self._point_losses, features, masks, *part, use_reentrant=False) for part in parts]
        else:
            losses = [self._point_losses(features, masks, *part) for part in parts]
        return torch.cat(cast(list[Tensor], losses), dim=1)

    def _point_losses(
        self, features: Tensor, masks: Tensor, embed: Tensor, chosen: Tensor, candidates: Tensor, random_points: Tensor
    ) -> Tensor:
        """Mask and dice loss of each of N pairs, (2, N).

        Args:
            features: (E, h, w); masks: (M, H, W) bool.
            embed: (N, E); chosen: (N,) places in the masks; candidates, fresh: (N, ., 2) points.
        """
        if len(embed) == 0:
            return (embed @ features.flatten(1)).sum(1).expand(2, 0)  # nothing, with gradients of zero
        logits = predict_masks(embed, features)  # (N, h, w)
        uncertain = select_uncertain_points(logits, candidates, self.num_uncertain)
        points = torch.cat([uncertain, random_points], dim=1)  # (N, P, 2)
        sampled = sample_points(logits[:, None], points)[:, 0]  # (N, P)
        target_values = sample_masks(masks, points, _image_size(features), rows=chosen)
        return torch.stack([mask_loss(sampled, target_values), dice_loss(sampled, target_values)])


def _suffixes(num_predictions: int) -> list[str]:
    """What the names of the losses of each prediction end with, the last one last."""
    return [*(f"_{layer}" for layer in range(num_predictions - 1)), ""]


def _image_size(features: Tensor, stride: int = 4) -> tuple[int, int]:
    """Size of the padded image behind mask features (E, h, w)."""
    return features.shape[-2] * stride, features.shape[-1] * stride
