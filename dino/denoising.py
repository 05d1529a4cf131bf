"""Contrastive denoising: queries that start from noised ground truth (arXiv:2203.03605, section 3.3).

Every group holds all objects of an image twice: noised a little, to be restored, and noised more, to be rejected.

Shapes: B images, T objects of the batch, M objects of the fullest image, G groups, P = 2 * M * G queries, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, inverse_sigmoid
from focalnet_d2.set_prediction.targets import Targets
from focalnet_d2.utils.step_totals import largest


@dataclass
class NoiseSamples:
    """The random part, so that it can be recorded and replayed: for each group T objects, then T again, noised more.

    Attributes:
        label_chance: (2GT,) uniform; below half the noise ratio the label is replaced.
        new_labels: (2GT,) the classes that replace them.
        box_sign: (2GT, 4) -1 or 1, for the corners x0, y0, x1, y1.
        box_share: (2GT, 4) uniform, in half box sides.
    """

    label_chance: Tensor
    new_labels: Tensor
    box_sign: Tensor
    box_share: Tensor


@dataclass
class DenoisingQueries:
    """Queries that stand before the matched ones in the decoder.

    Attributes:
        query_feat: (B, P, C) label embeddings, zero in unused places.
        box_logits: (B, P, 4) noised boxes before the sigmoid, zero in unused places.
        num_groups: G; a group is M places of objects to restore and M of objects to reject.
        labels, boxes: (2GT,) and (2GT, 4) cxcywh, what the noise made of the objects.
    """

    query_feat: Tensor
    box_logits: Tensor
    num_groups: int
    labels: Tensor
    boxes: Tensor

    @property
    def num_queries(self) -> int:
        """P."""
        return self.query_feat.shape[1]

    def attention_mask(self, num_matched: int) -> Tensor:
        """(P + Q, P + Q) bool, True = blocked: a group sees itself and the Q matched queries, these see each other."""
        total = self.num_queries + num_matched
        group = torch.full((total,), -1, device=self.query_feat.device)
        group[: self.num_queries] = torch.arange(self.num_queries, device=group.device) // max(self.group_size, 1)
        seen_is_denoising = group[None, :] >= 0
        return seen_is_denoising & (group[:, None] != group[None, :])

    @property
    def group_size(self) -> int:
        """2M."""
        return self.num_queries // self.num_groups

    def indices(self, targets: Sequence[Targets]) -> list[tuple[Tensor, Tensor]]:
        """Which query restores which object, per image and in every group: (G * M_b,), (G * M_b,)."""
        starts = torch.arange(self.num_groups)[:, None] * self.group_size  # (G, 1)
        pairs = []
        for image in targets:
            objects = torch.arange(min(len(image), self.group_size // 2))  # none where denoising is off
            pairs.append(((starts + objects).flatten(), objects.repeat(self.num_groups)))
        return pairs


class ContrastiveDenoising(nn.Module):
    """Makes denoising queries of a batch's targets.

    Args:
        num_classes: classes K; one embedding each.
        dim: channels C.
        dn_number: queries of a kind (to restore, to reject) to aim at in all groups together; G = dn_number // M,
            at least 1. 0: no denoising.
        label_noise_ratio: half of it is the chance that a label is replaced.
        box_noise_scale: most that a corner moves, in half box sides.
        rejected_step: how many of these the corners of objects to reject move in addition; 0, as Stable-DINO has it,
            makes them as near as those to restore.
        small_number_is_groups: True reads a `dn_number` of 1 to 49 as half the number of groups (FocalNet-DINO), False
            as any other (detrex, Stable-DINO).
    """

    def __init__(
        self,
        num_classes: int = 80,
        *,
        dim: int = 256,
        dn_number: int = 100,
        label_noise_ratio: float = 0.5,
        box_noise_scale: float = 1.0,
        rejected_step: float = 1.0,
        small_number_is_groups: bool = True,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.dn_number = dn_number
        self.label_noise_ratio = label_noise_ratio
        self.box_noise_scale = box_noise_scale
        self.rejected_step = rejected_step
        self.small_number_is_groups = small_number_is_groups
        self.label_enc = nn.Embedding(num_classes, dim)

    def count_groups(self, most_objects: int) -> int:
        """G for a batch whose fullest image has `most_objects` objects."""
        if most_objects == 0 or self.dn_number == 0:
            return 1
        if self.dn_number < 50 and self.small_number_is_groups:
            return 2 * self.dn_number
        return max(1, self.dn_number // most_objects)

    def most_objects(self, targets: Sequence[Targets]) -> int:
        """M, where a batch goes through in parts that of all its images; 0 without denoising."""
        return largest("objects of an image", max(map(len, targets))) if self.dn_number else 0

    def draw(self, num_groups: int, num_targets: int, device: torch.device) -> NoiseSamples:
        """Fresh noise for G groups of T objects."""
        count = 2 * num_groups * num_targets
        return NoiseSamples(
            label_chance=torch.rand(count, device=device),
            new_labels=torch.randint(self.num_classes, (count,), device=device),
            box_sign=torch.randint(2, (count, 4), device=device) * 2.0 - 1.0,
            box_share=torch.rand(count, 4, device=device),
        )

    def _add_noise(self, labels: Tensor, boxes: Tensor, rejected: Tensor, noise: NoiseSamples) -> tuple[Tensor, Tensor]:
        """(2GT,), (2GT, 4) cxcywh, (2GT,) bool -> noised labels and boxes."""
        replaced = noise.label_chance < 0.5 * self.label_noise_ratio
        labels = torch.where(replaced, noise.new_labels, labels)
        half_sides = (boxes[:, 2:] / 2).repeat(1, 2)  # (2GT, 4)
        share = noise.box_sign * (noise.box_share + self.rejected_step * rejected[:, None])
        corners = box_cxcywh_to_xyxy(boxes) + share.to(boxes.dtype) * half_sides * self.box_noise_scale
        return labels, box_xyxy_to_cxcywh(corners.clamp(0.0, 1.0))

    def forward(self, targets: Sequence[Targets], noise: NoiseSamples | None = None) -> DenoisingQueries:
        """Denoising queries (B, P, C) for a batch; `noise` replays recorded samples."""
        device, dtype = self.label_enc.weight.device, self.label_enc.weight.dtype
        counts = [len(image) for image in targets]
        most, total = self.most_objects(targets), sum(counts) if self.dn_number else 0
        groups = self.count_groups(most)
        query_feat = self.label_enc.weight.new_zeros(len(targets), 2 * most * groups, self.label_enc.embedding_dim)
        box_logits = torch.zeros(
            *query_feat.shape[:2], 4, dtype=torch.promote_types(dtype, torch.float32), device=device
        )
        if total == 0:
            keep = self.label_enc.weight.sum() * 0.0  # the table stays in the graph, so that all ranks reduce it
            empty = torch.zeros(0, dtype=torch.int64, device=device)
            return DenoisingQueries(query_feat + keep, box_logits, groups, empty, box_logits.new_zeros(0, 4))

        if noise is None:
            noise = self.draw(groups, total, device)
        copies = torch.arange(2 * groups, device=device).repeat_interleave(total)  # (2GT,): even restore, odd reject
        labels = torch.cat([image.labels for image in targets]).repeat(2 * groups)
        boxes = torch.cat([image.boxes for image in targets]).to(box_logits.dtype).repeat(2 * groups, 1)
        labels, boxes = self._add_noise(labels, boxes, copies % 2 == 1, noise)

        image = torch.arange(len(targets), device=device).repeat_interleave(torch.tensor(counts, device=device))
        place = torch.cat([torch.arange(count, device=device) for count in counts])  # (T,) within the image
        slot = place.repeat(2 * groups) + copies * most  # (2GT,)
        where = (image.repeat(2 * groups), slot)
        return DenoisingQueries(
            query_feat=query_feat.index_put(where, self.label_enc(labels)),
            box_logits=box_logits.index_put(where, inverse_sigmoid(boxes)),
            num_groups=groups,
            labels=labels,
            boxes=boxes,
        )
