"""Reference implementation of Mask2Former's post-processing: all masks resized twice, then every result by itself.

Shapes: Q queries, K classes, N instances, H x W pixels of the result.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mask2former.postprocessing import PanopticInference


def resize_masks(mask_logits: Tensor, padded_size, image_size, output_size) -> Tensor:
    """(Q, h, w) -> (Q, H, W), all at once, by way of the network's input."""
    height, width = image_size
    padded = F.interpolate(mask_logits[None], size=padded_size, mode="bilinear", align_corners=False)
    return F.interpolate(padded[..., :height, :width], size=output_size, mode="bilinear", align_corners=False)[0]


def reference_semantic(class_logits: Tensor, masks: Tensor) -> Tensor:
    """(K, H, W)."""
    return torch.einsum("qk,qhw->khw", class_logits.softmax(-1)[:, :-1], masks.sigmoid())


def reference_panoptic(class_logits: Tensor, masks: Tensor, settings: PanopticInference, things) -> tuple[Tensor, list]:
    """(H, W) ids and segments."""
    scores, labels = class_logits.softmax(-1).max(-1)
    kept = (labels != class_logits.shape[1] - 1) & (scores > settings.object_mask_threshold)
    ids, segments, stuff = torch.zeros(masks.shape[1:], dtype=torch.int32), [], {}
    probs = masks.sigmoid()[kept]
    if not len(probs):
        return ids, segments
    owner = (scores[kept, None, None] * probs).argmax(0)
    for index, (label, score) in enumerate(zip(labels[kept].tolist(), scores[kept].tolist(), strict=True)):
        own, solid = owner == index, probs[index] >= 0.5
        if not (own & solid).any() or own.sum().item() / solid.sum().item() < settings.overlap_threshold:
            continue
        if label not in stuff:
            segments.append({"id": len(segments) + 1, "isthing": label in things, "category_id": label, "score": score})
        number = stuff.get(label, len(segments))
        segments[number - 1]["score"] = max(score, segments[number - 1]["score"])
        ids[own & solid] = number
        if label not in things:
            stuff.setdefault(label, number)
    return ids, segments


def reference_instances(class_logits: Tensor, masks: Tensor, top_k: int, only) -> tuple[Tensor, Tensor, Tensor]:
    """(N, H, W) masks, scores, classes."""
    num_classes = class_logits.shape[1] - 1
    scores, pairs = class_logits.softmax(-1)[:, :-1].flatten().topk(top_k)
    masks, classes = masks[pairs // num_classes], pairs % num_classes
    if only is not None:
        stays = torch.isin(classes, torch.tensor(only))
        scores, masks, classes = scores[stays], masks[stays], classes[stays]
    inside = (masks > 0).to(masks.dtype)
    sums = (masks.sigmoid() * inside).flatten(1).sum(1)
    return inside, scores * sums / (inside.flatten(1).sum(1) + 1e-6), classes
