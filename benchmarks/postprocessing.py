"""Mask2Former's results in row tiles beside the plain path, which resizes all masks at once: CPU time and memory.

    python benchmarks/postprocessing.py speed --json          (512x512 and 800x1344, 100 queries, one thread; a minute)
    python benchmarks/postprocessing.py memory                (4000x5000, 200 queries, 120 instances)
    python benchmarks/postprocessing.py memory --check        (the same, and all pixels against the plain path)

Semantic, panoptic and instance results of 133 classes are made together from discs that stand for a network's output.
The difference is that of class scores, panoptic ids, instance masks and scores. Memory is the growth of the process's
peak during the call, so it holds the results, but not the logits. The check runs the plain path on strips of 80 rows,
since on the whole image it would take 60 GB.
"""

import json
import time

import torch
from measuring import compare, make_parser, make_row, matmul_rates, peak_memory, report, save
from plain_postprocessing import plain_instances, plain_panoptic, plain_semantic, resize_masks
from torch import Tensor

from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.structures.packed_masks import PackedMasks
from mask2former.postprocessing import InstanceInference, PanopticInference, SegmentationInference, SemanticInference

CLASSES, THINGS = 133, tuple(range(80))
GOALS = {(512, 512): 2.6, (800, 1344): 3.6}


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


def all_tasks(top_k: int, dense_bytes: int) -> SegmentationInference:
    """Semantic, panoptic, instance."""
    return SegmentationInference(
        thing_ids=THINGS,
        semantic=SemanticInference(dense_bytes=dense_bytes),
        panoptic=PanopticInference(),
        instance=InstanceInference(top_k=top_k, dense_bytes=dense_bytes),
    )


def measure_speed(size: tuple[int, int], rounds: int, rates: dict[str, float]) -> dict:
    """The row of an image size."""
    class_logits, mask_logits = make_outputs(100, (size[0] // 4, size[1] // 4), objects=15)
    inference, sizes = all_tasks(100, 2**30), dict(padded_size=size, image_size=size, output_size=size)

    def plain() -> list[Tensor]:
        masks = resize_masks(mask_logits, size, size, size)
        ids, _ = plain_panoptic(class_logits, masks, inference.panoptic, THINGS)
        inside, scores, _ = plain_instances(class_logits, masks, 100, THINGS)
        return [plain_semantic(class_logits, masks), ids, inside, scores]

    def library() -> list[Tensor]:
        with fast_cpu_matmul(mask_logits.device):
            results = inference(class_logits, mask_logits, **sizes)
        instances = results["instances"]
        return [results["sem_seg"], results["panoptic_seg"][0], instances.pred_masks, instances.scores]

    measured = compare({"plain": plain, "library": library}, rounds)
    gflop = 2 * CLASSES * 100 * size[0] * size[1] / 1e9  # of the class scores
    shares = {name: round(gflop / measured["library"]["seconds"] / rate, 2) for name, rate in rates.items()}
    case = f"Mask2Former post-processing {size[0]}x{size[1]}"
    return make_row(case, measured, precision="float32", goal=GOALS.get(size), gflop=round(gflop, 1), share_of=shares)


def measure_memory(size: tuple[int, int], queries: int, objects: int, check: bool) -> dict:
    """Growth of the peak while all results of a large image are made, and differences to the plain path."""
    padded = tuple(-(-side // 32) * 32 for side in size)
    class_logits, mask_logits = make_outputs(queries, (padded[0] // 4, padded[1] // 4), objects)
    inference = all_tasks(2 * objects, 0)  # six in ten are things, and stay
    before, start = peak_memory(), time.process_time()
    results = inference(class_logits, mask_logits, padded_size=padded, image_size=size, output_size=size)
    found = {
        "size": size,
        "instances": len(results["instances"]),
        "segments": len(results["panoptic_seg"][1]),
        "seconds": round(time.process_time() - start, 1),
        "gigabytes": round((peak_memory() - before) / 1e9, 3),
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
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("what", choices=("speed", "memory"))
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of the image; default: see above")
    parser.add_argument("--queries", type=int, default=200, help="of memory")
    parser.add_argument("--objects", type=int, default=120, help="of memory")
    parser.add_argument("--check", action="store_true", help="of memory")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "memory":
        size = tuple(arguments.size or (4000, 5000))
        found = measure_memory(size, arguments.queries, arguments.objects, arguments.check)
        print(json.dumps(found, indent=1))
        return
    rows, rates = [], matmul_rates()
    for size in [tuple(arguments.size)] if arguments.size else GOALS:
        rows.append(measure_speed(size, arguments.rounds, rates))
        report(rows[-1])
    save(arguments.json, "postprocessing", rows, gflops=rates)


if __name__ == "__main__":
    main()
