"""Mask2Former's results in row tiles beside the plain path, which resizes all masks at once: CPU time and memory.

    python benchmarks/postprocessing.py speed                 (512x512 and 800x1344, 100 queries, one thread; a minute)
    python benchmarks/postprocessing.py memory                (4000x5000, 200 queries, 120 instances)
    python benchmarks/postprocessing.py memory --check        (the same, and all pixels against the plain path)

Semantic, panoptic and instance results of 133 classes are made together from discs that stand for a network's output.
The two paths take turns, so that other load on the machine hits both; times are the best of the rounds. Memory is the
growth of the process's peak during the call, so it holds the results, but not the logits. The check runs the plain path
on strips of 80 rows, since on the whole image it would take 60 GB.
"""

import argparse
import json
import resource
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnet_d2.packed_masks import PackedMasks
from mask2former.postprocessing import InstanceInference, PanopticInference, SegmentationInference, SemanticInference

CLASSES, THINGS = 133, tuple(range(80))


def make_outputs(queries: int, low_size: tuple[int, int], objects: int) -> tuple[Tensor, Tensor]:
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


def resize_masks(mask_logits: Tensor, padded_size, image_size, output_size) -> Tensor:
    """(Q, h, w) -> (Q, H, W), all at once, by way of the network's input."""
    height, width = image_size
    padded = F.interpolate(mask_logits[None], size=padded_size, mode="bilinear", align_corners=False)
    return F.interpolate(padded[..., :height, :width], size=output_size, mode="bilinear", align_corners=False)[0]


def plain_semantic(class_logits: Tensor, masks: Tensor) -> Tensor:
    """(K, H, W)."""
    return torch.einsum("qk,qhw->khw", class_logits.softmax(-1)[:, :-1], masks.sigmoid())


def plain_panoptic(class_logits: Tensor, masks: Tensor, settings: PanopticInference, things) -> tuple[Tensor, list]:
    """(H, W) ids and segments."""
    scores, labels = class_logits.softmax(-1).max(-1)
    kept = (labels != class_logits.shape[1] - 1) & (scores > settings.object_mask_threshold)
    ids, segments, stuff = torch.zeros(masks.shape[1:], dtype=torch.int32), [], {}
    probs = masks.sigmoid()[kept]
    if not len(probs):
        return ids, segments
    owner = (scores[kept, None, None] * probs).argmax(0)
    for index, label in enumerate(labels[kept].tolist()):
        own, solid = owner == index, probs[index] >= 0.5
        if not (own & solid).any() or own.sum().item() / solid.sum().item() < settings.overlap_threshold:
            continue
        if label not in stuff:
            segments.append({"id": len(segments) + 1, "isthing": label in things, "category_id": label})
        ids[own & solid] = stuff.get(label, len(segments))
        if label not in things:
            stuff.setdefault(label, len(segments))
    return ids, segments


def plain_instances(class_logits: Tensor, masks: Tensor, top_k: int, only) -> tuple[Tensor, Tensor, Tensor]:
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


def all_tasks(top_k: int, dense_bytes: int) -> SegmentationInference:
    """Semantic, panoptic, instance."""
    return SegmentationInference(
        thing_ids=THINGS,
        semantic=SemanticInference(dense_bytes=dense_bytes),
        panoptic=PanopticInference(),
        instance=InstanceInference(top_k=top_k, dense_bytes=dense_bytes),
    )


def measure_speed(size: tuple[int, int], rounds: int) -> dict:
    """Best CPU seconds of both paths."""
    class_logits, mask_logits = make_outputs(100, (size[0] // 4, size[1] // 4), objects=15)
    inference, sizes = all_tasks(100, 2**30), dict(padded_size=size, image_size=size, output_size=size)

    def plain():
        masks = resize_masks(mask_logits, size, size, size)
        plain_semantic(class_logits, masks)
        plain_panoptic(class_logits, masks, inference.panoptic, THINGS)
        plain_instances(class_logits, masks, 100, THINGS)

    seconds = {"plain": [], "tiles": []}
    for _ in range(rounds):
        for name, run in (("plain", plain), ("tiles", lambda: inference(class_logits, mask_logits, **sizes))):
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    best = {name: round(min(times), 3) for name, times in seconds.items()}
    return {"size": size, **best, "ratio": round(best["plain"] / best["tiles"], 2)}


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_memory(size: tuple[int, int], queries: int, objects: int, check: bool) -> dict:
    """Growth of the peak while all results of a large image are made, and differences to the plain path."""
    padded = tuple(-(-side // 32) * 32 for side in size)
    class_logits, mask_logits = make_outputs(queries, (padded[0] // 4, padded[1] // 4), objects)
    inference = all_tasks(2 * objects, 0)  # six in ten are things, and stay
    before, start = peak_bytes(), time.process_time()
    results = inference(class_logits, mask_logits, padded_size=padded, image_size=size, output_size=size)
    found = {
        "size": size,
        "instances": len(results["instances"]),
        "segments": len(results["panoptic_seg"][1]),
        "seconds": round(time.process_time() - start, 1),
        "gigabytes": round((peak_bytes() - before) / 1e9, 3),
    }
    return found | (differences(results, class_logits, mask_logits, padded, size, 2 * objects) if check else {})


def differences(results: dict, class_logits: Tensor, mask_logits: Tensor, padded, size, top_k: int) -> dict:
    """Pixels that the plain path decides otherwise, by task; it is given a few rows of logits at a time.

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
        best = plain_semantic(class_logits, masks).argmax(0)
        found["semantic"] += int((best != results["sem_seg"][start:stop]).sum())
        inside = plain_instances(class_logits, masks, top_k, THINGS)[0].bool()
        ours = PackedMasks(instances.pred_masks.packed[:, start:stop], width=size[1])
        found["instances"] += int((inside != ours.tensor).sum())
        probs = masks.sigmoid()[kept]
        owner = (scores[kept, None, None] * probs).argmax(0)
        owner += len(probs) * (probs.gather(0, owner[None])[0] >= 0.5)
        pairs = owner * table.shape[1] + ids[start:stop]
        table += torch.bincount(pairs.flatten(), minlength=table.numel()).view(table.shape)
    return {"different_pixels": found | {"panoptic": int(table.sum() - table.amax(1).sum())}}


def strip_of_masks(mask_logits: Tensor, padded, size, start: int, stop: int) -> Tensor:
    """Rows start..stop - 1, both multiples of 4 or the last, of masks that are four times as large as the logits."""
    first, last = max(start // 4 - 1, 0), min(-(-stop // 4) + 1, mask_logits.shape[1])
    height = 4 * (last - first)
    rows = resize_masks(mask_logits[:, first:last], (height, padded[1]), (height, size[1]), (height, size[1]))
    return rows[:, start - 4 * first : stop - 4 * first]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 5000), metavar=("H", "W"), help="of memory")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--objects", type=int, default=120)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "speed":
        found = [measure_speed(size, arguments.rounds) for size in ((512, 512), (800, 1344))]
    else:
        found = measure_memory(tuple(arguments.size), arguments.queries, arguments.objects, arguments.check)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
