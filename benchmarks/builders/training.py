"""Training and inference of whole recipes: a step on any device, what kept memory gives, what recomputing saves.

A step is the trainer's: forward, backward, checks, clipping and AdamW, on images of noise with random boxes; data
loading is left out. Seconds are CPU seconds of the process, on a card those of the clock. Memory is the process's at
its peak, on a card what tensors took and what the allocator reserved.

Every measurement of this file has a process of its own.
"""

import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory

import torch
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage
from torch import Tensor

from benchmarks.builders.inputs import images_with_boxes
from benchmarks.builders.memory_plan import LiveBytes
from benchmarks.measuring import as_library_runs, cpu_seconds, in_new_process, peak_memory, summary
from benchmarks.work import Facts, Processes, UnavailableError
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.engine.device import resolve_amp, resolve_device
from focalnet_d2.engine.trainer import Trainer
from focalnet_d2.kernels.malloc import MMAP_THRESHOLD, keep_freed_memory, mallopt

Size = tuple[int, int]
WARM_UP, CALLS = 3, 3
OBJECTS, OBJECTS_OF_MEMORY = 8, 20  # an image


class TrainingStep(Facts):
    """Steps of a recipe of boxes on the device, as many as rounds."""

    def __init__(self, recipe: str, size: Size, **options: object):
        self.settings = {"recipe": recipe, "size": size, **options}
        device = resolve_device(str(options["device"]))
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        super().__init__(find=lambda: iter(()), about={"device": name, "recipe": recipe})

    def measure(self, rounds: int, precision: str | None = None) -> Iterator[dict]:
        """The row."""
        yield in_new_process(run_steps, self.settings, rounds)


def run_steps(settings: dict, rounds: int) -> dict:
    """The fields of the row of a recipe."""
    device = resolve_device(settings["device"])
    on_card = device.type == "cuda"
    seconds = wall_seconds if on_card else cpu_seconds
    with TemporaryDirectory() as folder, EventStorage() as storage:
        trainer = make_trainer(settings, device, folder)
        trainer.iter, trainer.storage = 0, storage
        for _ in range(min(WARM_UP, rounds)):
            trainer.run_step()
        measured = summary({"library": [seconds(trainer.run_step) for _ in range(rounds)]})
    measured["library"] |= memory_of(device)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    details = {"amp": settings["amp"], "overrides": settings["overrides"], "parameters": parameters}
    return {"precision": str(trainer.amp_dtype or torch.float32).removeprefix("torch."), **details, "forms": measured}


def memory_of(device: torch.device) -> dict[str, int]:
    """What the steps took at most."""
    if device.type != "cuda":
        return {"peak_bytes": peak_memory()}
    most = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return {"peak_bytes": most[0], "reserved_bytes": most[1]}


def make_trainer(settings: dict, device: torch.device, folder: str) -> Trainer:
    """A trainer whose every batch is the same."""
    torch.manual_seed(0)
    recipe = apply_overrides(load_recipe(settings["recipe"]), settings["overrides"])
    model = instantiate(recipe.model).to(device)
    recipe.optimizer.model = model
    batch = images_with_boxes(settings["size"], settings["batch"], settings["objects"], model.num_classes)
    return Trainer(
        model,
        itertools.repeat(batch),
        instantiate(recipe.optimizer),
        device=device,
        amp_dtype=resolve_amp(settings["amp"], device, training=True),
        clip_norm=recipe.train.clip_norm,
        output_dir=folder,
    )


def wall_seconds(function: Callable[[], object]) -> float:
    """Time on the clock until a card has done one call."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def build_kept_memory(recipe: str, *, training: bool, size: Size) -> Processes:
    """Inference, or losses and gradients: with freed memory returned as by glibc, and kept."""
    calls = {name: (run_model, recipe, size, training, name == "keeps") for name in ("returns", "keeps")}
    return Processes(calls, details={"precision": "float32"})


def run_model(recipe: str, size: Size, training: bool, keep: bool) -> dict:
    """CPU seconds (median of a few calls), page faults of one call, and peak memory of this process."""
    if keep and not keep_freed_memory():
        raise UnavailableError("freed memory cannot be kept: the C library is not glibc, or the environment decides")
    torch.manual_seed(0)
    model = instantiate(load_recipe(recipe).model).train(training)
    batch = images_with_boxes(size, 1, OBJECTS, model.num_classes)

    def call() -> None:
        with as_library_runs("float32"), torch.set_grad_enabled(training):
            outputs = model(batch)
            if training:
                sum(outputs.values()).backward()
                model.zero_grad(set_to_none=True)

    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds = statistics.median(cpu_seconds(call) for _ in range(CALLS))
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // CALLS
    return {"seconds": seconds, "page_faults": faults, "peak_bytes": peak_memory()}


def build_recomputing(network: str, *, size: Size) -> Processes:
    """A FocalNet or a recipe whose backbone keeps the activations of its blocks, and one that recomputes them."""
    calls = {name: (grow, network, size, name == "recomputed") for name in ("kept", "recomputed")}

    def finish(forms: dict[str, dict]) -> dict:
        ratio = forms["kept"]["grown_bytes"] / forms["recomputed"]["grown_bytes"]
        forms["recomputed"]["memory_ratio"] = round(ratio, 2)
        return {}

    return Processes(calls, details={"precision": "float32"}, finish=finish)


def grow(network: str, size: Size, recompute: bool) -> dict:
    """What one process measures: its growth and what was counted in the first step, CPU seconds of the third.

    In the first every large tensor goes back to the system when it is freed, where the C library is glibc.
    """
    backbone, step = make_step(network, size, recompute)
    mallopt(MMAP_THRESHOLD, 65536)
    with torch.no_grad():
        backbone(torch.randn(1, 3, 32, 32))  # here libraries make what they keep
    before = peak_memory()
    with LiveBytes() as counted:
        step()
    grown = peak_memory() - before
    keep_freed_memory()  # as a run does
    step()
    return {"seconds": cpu_seconds(step), "grown_bytes": grown, "counted_bytes": counted.peak}


def make_step(network: str, size: Size, recompute: bool) -> tuple[FocalNet, Callable[[], None]]:
    """The backbone of a variant of FocalNet or of a recipe, and its training step without the optimizer."""
    torch.manual_seed(0)
    if network in FOCALNET_VARIANTS:
        model = backbone = FocalNet(**FOCALNET_VARIANTS[network], use_checkpoint=recompute).train()
        batch: Tensor | list[dict] = torch.randn(1, 3, *size)
    else:
        recipe = apply_overrides(load_recipe(network), [f"model.backbone.bottom_up.use_checkpoint={recompute}"])
        model = instantiate(recipe.model).train()
        backbone, batch = model.backbone.bottom_up, images_with_boxes(size, 1, OBJECTS_OF_MEMORY, model.num_classes)

    def step() -> None:
        with as_library_runs("float32"):
            sum(value.sum() for value in model(batch).values()).backward()
        model.zero_grad(set_to_none=True)

    return backbone, step
