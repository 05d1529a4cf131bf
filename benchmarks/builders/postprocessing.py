"""Mask2Former's results in row tiles beside the reference implementation, which resizes all masks at once.

Semantic, panoptic and instance results of 133 classes are made together from discs that stand for a network's output.
The difference is that of class scores, panoptic ids, instance masks and scores. Memory is the growth of the process's
peak during the call, so it holds the results, but not the logits. The check of a large image runs the reference on
strips of 80 rows, since on the whole image it would take 60 GB.
"""

import time
from functools import partial

import torch
from torch import Tensor

from benchmarks.measuring import in_new_process, peak_memory, run_as_library
from benchmarks.work import Facts, Timed
from focalnet_d2.structures.packed_masks import PackedMasks
from mask2former.postprocessing import InstanceInference, PanopticInference, SegmentationInference, SemanticInference
from tests.reference.postprocessing import (
    reference_instances,
    reference_panoptic,
    reference_semantic,
    resize_masks,
)

CLASSES, THINGS = 133, tuple(range(80))
QUERIES, OBJECTS = 100, 15  # of the timed cases
Size = tuple[int, int]


def make_outputs(queries: int, low_size: Size, objects: int) -> tuple[Tensor, Tensor]:
    """(Q, K + 1) and (Q, h, w) logits of discs, `objects` of them with a sure class."""
    generator = torch.Generator().manual_seed(0)
    height, width = low_size
    class_logits = torch.randn(queries, CLASSES + 1, generator=generator)
    class_logits[:, -1] += 6
    sure = torch.randint(CLASSES, (objects,), generator=generator)
    class_logits[torch.arange(objects), sure] += 14
    mask_logits = torch.empty(queries, height, width)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    for mask, (y, x, size) in zip(mask_logits, torch.rand(queries, 3, generator=generator).tolist(), strict=True):
        radius = (0.03 + 0.07 * size) * min(low_size)
        mask.copy_(5 - 5 * ((rows - y * height) ** 2 + (columns - x * width) ** 2) / radius**2).clamp_(min=-20)
    return class_logits, mask_logits


def all_tasks(top_k: int, dense_bytes: int) -> SegmentationInference:
    """Semantic, panoptic, instance."""
    return SegmentationInference(
        thing_ids=THINGS,
        semantic=SemanticInference(dense_bytes=dense_bytes),
        panoptic=PanopticInference(),
        instance=InstanceInference(top_k=top_k, dense_bytes=dense_bytes),
    )


def build(*, size: Size, precision: str) -> Timed:
    """All results of an image of that size."""
    class_logits, mask_logits = make_outputs(QUERIES, (size[0] // 4, size[1] // 4), OBJECTS)
    inference = all_tasks(QUERIES, 2**30)

    def reference() -> list[Tensor]:
        masks = resize_masks(mask_logits, size, size, size)
        ids, _ = reference_panoptic(class_logits, masks, inference.panoptic, THINGS)
        inside, scores, _ = reference_instances(class_logits, masks, QUERIES, THINGS)
        return [reference_semantic(class_logits, masks), ids, inside, scores]

    def library() -> list[Tensor]:
        results = inference(class_logits, mask_logits, padded_size=size, image_size=size, output_size=size)
        instances = results["instances"]
        return [results["sem_seg"], results["panoptic_seg"][0], instances.pred_masks, instances.scores]

    gflop = 2 * CLASSES * QUERIES * size[0] * size[1] / 1e9  # of the class scores
    return Timed({"reference": reference, "library": partial(run_as_library, precision, library)}, gflop=lambda: gflop)


def build_memory(*, size: Size, queries: int, objects: int, check: bool) -> Facts:
    """What a large image takes."""
    return Facts(lambda: iter([in_new_process(measure_memory, size, queries, objects, check)]))


def measure_memory(size: Size, queries: int, objects: int, check: bool) -> dict:
    """Growth of the peak while a large image gets all results, and pixels that the reference decides otherwise."""
    padded = (-(-size[0] // 32) * 32, -(-size[1] // 32) * 32)
    class_logits, mask_logits = make_outputs(queries, (padded[0] // 4, padded[1] // 4), objects)
    inference = all_tasks(2 * objects, 0)  # six in ten are things, and stay
    before, start = peak_memory(), time.process_time()
    results = inference(class_logits, mask_logits, padded_size=padded, image_size=size, output_size=size)
    found = {
        "instances": len(results["instances"]),
        "segments": len(results["panoptic_seg"][1]),
        "cpu_seconds": round(time.process_time() - start, 1),
        "gigabytes": round((peak_memory() - before) / 1e9, 3),
    }
    return found | (differences(results, class_logits, mask_logits, padded, size, 2 * objects) if check else {})


def differences(
    results: dict, class_logits: Tensor, mask_logits: Tensor, padded: Size, size: Size, top_k: int
) -> dict[str, dict[str, int]]:
    """Pixels that the reference decides otherwise, by task; it is given a few rows of logits at a time.

    Of panoptic maps it is checked that all pixels of a query that its mask has, or has not, have one segment.
    """
    scores, labels = class_logits.softmax(-1).max(-1)
    kept = (labels != CLASSES) & (scores > 0.8)
    ids, segments = results["panoptic_seg"]
    found, instances = {"semantic": 0, "instances": 0}, results["instances"]
    table = torch.zeros(2 * int(kept.sum()), len(segments) + 1, dtype=torch.int64)  # pixels by query and segment
    for start in range(0, size[0], 80):
        stop = min(start + 80, size[0])
        masks = strip_of_masks(mask_logits, padded, size, start, stop)
        best = reference_semantic(class_logits, masks).argmax(0)
        found["semantic"] += int((best != results["sem_seg"][start:stop]).sum())
        inside = reference_instances(class_logits, masks, top_k, THINGS)[0].bool()
        ours = PackedMasks(instances.pred_masks.packed[:, start:stop], width=size[1])
        found["instances"] += int((inside != ours.tensor).sum())
        probs = masks.sigmoid()[kept]
        owner = (scores[kept, None, None] * probs).argmax(0)
        owner += len(probs) * (probs.gather(0, owner[None])[0] >= 0.5)
        pairs = owner * table.shape[1] + ids[start:stop]
        table += torch.bincount(pairs.flatten(), minlength=table.numel()).view(table.shape)
    return {"different_pixels": found | {"panoptic": int(table.sum() - table.amax(1).sum())}}


def strip_of_masks(mask_logits: Tensor, padded: Size, size: Size, start: int, stop: int) -> Tensor:
    """Rows start..stop - 1, both multiples of 4 or the last, of masks that are four times as large as the logits."""
    first, last = max(start // 4 - 1, 0), min(-(-stop // 4) + 1, mask_logits.shape[1])
    height = 4 * (last - first)
    rows = resize_masks(mask_logits[:, first:last], (height, padded[1]), (height, size[1]), (height, size[1]))
    return rows[:, start - 4 * first : stop - 4 * first]
