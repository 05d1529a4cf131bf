"""What keeping freed memory gains a process on the CPU: the same work with and without it, in processes of their own.

    python benchmarks/cpu_memory.py --json           (some minutes)
    python benchmarks/cpu_memory.py --recipes dino_focalnet_mini_demo --size 96 128 --rounds 1     (smoke run)

Rows are inference and a training step's losses and gradients of a recipe's model with random weights, on one image with
8 objects. Each round starts one process with (`keeps`) and one without (`returns`); both call the work once to warm up.
Fewer page faults are the cause; peak memory is reported because it could be the price.
"""

import argparse
import json
import resource
import statistics
import sys

import torch
from detectron2.config import instantiate
from measuring import cpu_seconds, in_new_process, make_parser, make_row, peak_memory, report, save, summary
from training_step import make_batch

from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.kernels.malloc import keep_freed_memory

RECIPES = ("dino_focalnet_mini_coco", "dino_focalnet_tiny_lrf_4scale_12ep_detrex")
CALLS = 3


def work(recipe: str, size: tuple[int, int], training: bool) -> dict:
    """CPU seconds (median of a few calls), page faults of one call, and peak memory of this process."""
    torch.manual_seed(0)
    model = instantiate(load_recipe(recipe).model).train(training)
    batch = make_batch(size, 1, 8, model.num_classes)

    def call() -> None:
        with fast_cpu_matmul("cpu"), torch.set_grad_enabled(training):
            outputs = model(batch)
            if training:
                sum(outputs.values()).backward()
                model.zero_grad(set_to_none=True)

    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds = statistics.median(cpu_seconds(call) for _ in range(CALLS))
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // CALLS
    return {"seconds": seconds, "page_faults": faults, "peak_bytes": peak_memory()}


def measure(recipe: str, size: tuple[int, int], training: bool, rounds: int) -> dict:
    """The row of a recipe."""
    shared = ["--work", recipe, "--size", *map(str, size), *(["--training"] if training else [])]
    runs = {"returns": [], "keeps": []}
    for _ in range(rounds):
        for name, extra in (("returns", []), ("keeps", ["--keep"])):
            runs[name].append(in_new_process(*shared, *extra))
    forms = summary({name: [run["seconds"] for run in of_form] for name, of_form in runs.items()})
    for name, of_form in runs.items():
        forms[name] |= {"page_faults": of_form[-1]["page_faults"], "peak_bytes": of_form[-1]["peak_bytes"]}
    step = "forward + backward" if training else "inference"
    row = make_row(f"{recipe} {step} {size[0]}x{size[1]}", forms, precision="float32")
    report(row)
    return row


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--training", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    size = tuple(options.size)
    if options.work:
        if options.keep and not keep_freed_memory():
            sys.exit("freed memory cannot be kept here: the C library is not glibc, or the environment decides")
        print(json.dumps(work(options.work, size, options.training)))
        return
    rows = [measure(recipe, size, training, options.rounds) for recipe in options.recipes for training in (False, True)]
    save(options.json, "cpu_memory", rows)


if __name__ == "__main__":
    main()
