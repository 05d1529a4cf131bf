"""All cases that `benchmarks/run.py` measures."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .builders import (
    accuracy,
    annotation_files,
    average_precision,
    backbone,
    check_data,
    check_data_memory,
    compiled,
    data_growth,
    data_loading,
    deformable_attention,
    dino,
    evaluators,
    exported,
    first_step,
    gpu,
    mask2former,
    memory_plan,
    postprocessing,
    shards,
    shared_machine,
    training,
    whole_evaluation,
)
from .case import Case, Size
from .work import Work

BOTH = ("float32", "bfloat16")
PASSES = {"forward": False, "forward + backward": True}


def _backbone() -> Iterator[Case]:
    networks = {
        "FocalNet-T": ("tiny_lrf", None),
        "FocalNet-B": ("base_lrf", None),
        "FocalNet-T 9,11,13": ("tiny_lrf", 9),
    }
    sizes: list[Size] = [(320, 480), (512, 512)]
    usual = {"forward": _goals(2.0, 3.5), "forward + backward": _goals(2.0, 3.2)}
    special = {
        ("FocalNet-T", "forward", (512, 512)): _goals(2.3, 4.5),
        ("FocalNet-T", "forward + backward", (512, 512)): _goals(2.7, 4.5),
        **{("FocalNet-T 9,11,13", "forward", size): {} for size in sizes},
        **{("FocalNet-T 9,11,13", "forward + backward", size): _goals(2.7, 4.4) for size in sizes},
    }
    for (name, (variant, windows)), (what, is_training), size in itertools.product(
        networks.items(), PASSES.items(), sizes
    ):
        yield Case(
            "backbone", f"{name} {what} {{size}}", backbone.build, [size], BOTH,
            special.get((name, what, size), usual[what]),
            {"variant": variant, "windows": windows, "training": is_training}, {"size": (64, 96)},
        )  # fmt: skip


def _goals(float32: float, bfloat16: float) -> dict[str, float]:
    return {"float32": float32, "bfloat16": bfloat16}


def _models() -> Iterator[Case]:
    """DINO and Mask2Former: time of inference and of a training step, peak memory of a training step."""
    inference = {
        "dino": [((480, 640), _goals(3.7, 6.0)), ((800, 1333), _goals(4.2, 7.5))],
        "mask2former": [((512, 512), _goals(3.0, 5.0)), ((800, 1344), _goals(3.8, 6.5))],
    }
    steps = {"dino": ((480, 640), _goals(3.1, 5.0)), "mask2former": ((512, 512), _goals(3.0, 5.0))}
    peaks = {"dino": (800, 1333), "mask2former": (1024, 1024)}
    for group, (name, module, recipe, small) in _MODELS.items():
        own = {"file": "dino_model"} if group == "dino" else {}
        for size, goals in inference[group]:
            settings = {"recipe": recipe, "training": False}
            yield Case(group, f"{name} inference {{size}}", module.build, [size], BOTH, goals, settings, small, **own)
        size, goals = steps[group]
        settings = {"recipe": recipe, "training": True}
        yield Case(group, f"{name} training step {{size}}", module.build, [size], BOTH, goals, settings, small, **own)
        yield Case(
            group, f"{name} training step {{size}}, peak memory", module.build_memory, [peaks[group]], (),
            {"": {"library, float32": 0.45, "library, bfloat16": 0.3}}, {"recipe": recipe}, small, **own,
        )  # fmt: skip


def _deformable_attention() -> Iterator[Case]:
    places = {
        "encoder {size}": ([(320, 480), (480, 640), (800, 1333)], None),
        "decoder {size}, 900 queries": ([(800, 1333)], 900),
    }
    goals = {
        "forward": {"table_lookup": 4.0, "compiled": 15.0},
        "forward + backward": {"table_lookup": 2.0, "compiled": 12.0},
    }
    for place, (sizes, queries) in places.items():
        for what, is_training in PASSES.items():
            for precision, names in (("float32", ("compiled", "table_lookup")), ("bfloat16", ("compiled",))):
                yield Case(
                    "deformable_attention", f"deformable attention, {place}, {what}", deformable_attention.build,
                    sizes, [precision], {"float32": goals[what]},
                    {"queries": queries, "names": names, "training": is_training}, {"size": (64, 96)}, rounds=4,
                )  # fmt: skip


def _gpu() -> Iterator[Case]:
    def case(
        title: str, build: Callable[..., Work], goal: float | None = None, small: Mapping | None = None, **own: Any
    ):
        goals = {} if goal is None else {"bfloat16": goal}
        sizes = [own.pop("size")] if "size" in own else []
        smaller = {**(small or {}), "tiny": True}
        return Case(
            "gpu", title, build, sizes, (), goals, {**own, "tiny": False}, smaller, rounds=10, file="gpu_{card}"
        )

    first = {"name": "T", "stage": 1}
    for what, is_training in PASSES.items():
        for name in gpu.LEVELS:
            goal = 4.0 if name == "5-scale" and is_training else None
            title, small = f"deformable attention, {{name}}, {what}", {"name": "5-scale"}
            yield case(title, gpu.build_attention, goal, small, name=name, training=is_training)
        for name, stage in itertools.product(gpu.CONTEXTS, range(1, 5)):
            title = f"focal context, {{name}}, stage {{stage}}, {what}"
            yield case(title, gpu.build_context, None, first, name=name, stage=stage, training=is_training)
        yield case(f"focal context, L, stage 2, tiles, {what}", gpu.build_tiles, training=is_training)
    for name, stage in itertools.product(gpu.CONTEXTS, range(1, 5)):
        yield case("projection, {name}, stage {stage}", gpu.build_projection, None, first, name=name, stage=stage)
    for variant in ("large_fl4", "huge_fl4"):
        title, small = "FocalNet {variant} forward {size}", {"size": (16, 16)}
        yield case(title, gpu.build_backbone, 3.0, small, variant=variant, size=(800, 1333))
    small = {"recipe": "dino_focalnet_mini_demo", "size": (128, 160)}
    yield case(
        "{recipe} training step {size}", gpu.build_step, 3.0, small, recipe="dino_focalnet_huge", size=(800, 1333)
    )


_DINO = "dino_focalnet_tiny_lrf_4scale_12ep_detrex"
_MASK2FORMER = "mask2former_focalnet_tiny_lrf_coco_panoptic"
_SMALL_DINO = {"recipe": "dino_focalnet_mini_coco", "size": (90, 120)}
_SMALL_MASK2FORMER = {"recipe": "mask2former_focalnet_mini_demo", "size": (64, 96)}
_MODELS = {
    "dino": ("DINO FocalNet-T", dino, _DINO, _SMALL_DINO),
    "mask2former": ("Mask2Former FocalNet-T", mask2former, _MASK2FORMER, _SMALL_MASK2FORMER),
}
_IMAGES = {"images": 24, "image_size": (480, 640), "coco": False}
_FEW_IMAGES = {"images": 3, "image_size": (48, 64)}
_IN_SHARDS = {"images": 24, "image_size": (480, 640), "others": 10_000}
_FEW_IN_SHARDS = {**_FEW_IMAGES, "others": 10}
_STEP = {"recipe": "dino_focalnet_huge", "batch": 1, "objects": 8, "amp": "off", "device": "auto", "overrides": []}

CASES: tuple[Case, ...] = (
    *_backbone(),
    *_deformable_attention(),
    *_models(),
    *(
        Case(
            "exported_deformable_attention", f"deformable attention, {place}", exported.build_attention,
            [(800, 1333)], (), settings={"queries": queries}, small={"size": (64, 96)},
        )
        for place, queries in (("encoder {size}", None), ("decoder {size}, 900 queries", 900))
    ),
    Case(
        "exported_models", "DINO FocalNet-T {size}", exported.build_model, [(800, 1333)], (),
        {"": {"onnxruntime": 0.8, "OpenVINO": 1.0, "OpenVINO int8": 1.8}}, {"kind": "dino", "recipe": _DINO},
        _SMALL_DINO,
    ),
    Case(
        "exported_models", "Mask2Former FocalNet-T {size}", exported.build_model, [(800, 1344)], (),
        {"": {"onnxruntime": 0.8, "OpenVINO": 1.0, "OpenVINO int8": 1.5}},
        {"kind": "mask2former", "recipe": _MASK2FORMER}, _SMALL_MASK2FORMER,
    ),
    Case(
        "postprocessing", "Mask2Former post-processing {size}", postprocessing.build, [(512, 512)], ["float32"],
        {"float32": 2.6}, small={"size": (64, 96)}, rounds=4,
    ),
    Case(
        "postprocessing", "Mask2Former post-processing {size}", postprocessing.build, [(800, 1344)], ["float32"],
        {"float32": 3.6}, small={"size": (64, 96)}, rounds=4,
    ),
    Case(
        "postprocessing_memory", "Mask2Former post-processing {size}, {queries} queries", postprocessing.build_memory,
        [(4000, 5000)], settings={"queries": 200, "objects": 120, "check": True},
        small={"size": (500, 700), "objects": 30},
    ),
    *(
        Case(
            "data_loading", f"{task}, {{images}} images", data_loading.build_mapper,
            settings={"task": task, **_IMAGES}, small=_FEW_IMAGES,
        )
        for task in data_loading.TASKS
    ),
    *(
        Case(
            "data_loading", f"{task}, {{images}} images, beside decoding", data_loading.build_share, goals={"": goal},
            settings={"task": task, **_IMAGES}, small=_FEW_IMAGES, rounds=4,
        )
        for task, goal in data_loading.SHARES.items()
    ),
    *(
        Case(
            "data_loading", f"loader, {task}, {{images}} images twice", data_loading.build_loader,
            settings={"task": task, **_IMAGES}, small=_FEW_IMAGES,
        )
        for task in ("DETR-800 boxes", "LSJ-1024 panoptic")
    ),
    *(
        Case(
            "data_loading", f"memory of {{records}} dataset dicts, {data_loading.WORKERS} workers by {method}",
            data_loading.build_memory, settings={"method": method, "records": 50_000}, small={"records": 20_000},
        )
        for method in ("fork", "spawn")
    ),
    Case(
        "check_data_memory", "check-data, peak memory", check_data_memory.build,
        settings={"layouts": list(check_data_memory.WRITERS), "images": 64_000},
        small={"layouts": ["voc"], "images": 40}, rounds=1,
    ),
    Case(
        "shards", "mapping from shards (DETR-800), {images} images", shards.build_mapper,
        settings={"task": "DETR-800 boxes", **_IN_SHARDS}, small=_FEW_IN_SHARDS,
    ),
    Case(
        "shards", "reading from shards, {images} images ten times", shards.build_reading, settings=_IN_SHARDS,
        small=_FEW_IN_SHARDS,
    ),
    Case(
        "check_data", "check-data, {images} images, {workers} processes", check_data.build, goals={"": 0.6},
        settings={"images": 2000, "workers": 2}, small={"images": 40}, rounds=1,
    ),
    Case(
        "annotation_files", "a COCO file of {images} images", annotation_files.build, settings={"images": 100_000},
        small={"images": 40},
    ),
    *(
        Case(
            "data_growth", "a COCO file of {images} images, first batch", data_growth.build,
            settings={"images": images, "reference_images": 50_000},
            small={"images": images // 1250, "reference_images": 20},
        )
        for images in (50_000, 166_000, 500_000)
    ),
    Case(
        "first_step", "from the command to the first iteration, {images} images", first_step.build, goals={"": 0.667},
        settings={"recipe": "dino_focalnet_mini_quickstart", "images": 100}, small={"images": 8}, rounds=3,
    ),
    *(
        Case(
            "evaluators", title, evaluators.build, goals={"": goal} if goal else {},
            settings={"what": what, "images": images}, small={"images": 2},
        )
        for what, title, goal, images in (
            ("panoptic memory", "panoptic quality, from memory", 20.0, 100),
            ("panoptic files", "panoptic quality, from files", None, 60),
            ("panoptic files of hotcoco", "panoptic quality, from files, beside hotcoco", 1.0, 60),
            ("semantic", "mIoU, scores (133, 480, 640) on the CPU", 15.0, 100),
        )
    ),
    *(
        Case(
            "evaluators", f"{name} AP, from {'files' if from_files else 'memory'}", average_precision.build,
            settings={"iou_type": iou_type, "from_files": from_files, "images": 100}, small={"images": 2},
        )
        for iou_type, name in (("bbox", "box"), ("segm", "mask"))
        for from_files in (False, True)
    ),
    Case(
        "evaluators", "mask AP, from masks, encoding included", average_precision.build_from_masks, goals={"": 15.0},
        settings={"images": 12}, small={"images": 2},
    ),
    Case(
        "whole_evaluation", "a whole evaluation of {images} images, 100 detections each", whole_evaluation.build,
        settings={"images": 5000, "backend": "auto"}, small={"images": 8}, rounds=1,
    ),
    Case(
        "precision", "golden data", accuracy.build, settings={"rows": accuracy.golden_rows, "only": ""},
        small={"only": "mini_L_fl3_97x131_b2"},
    ),
    Case(
        "precision", "shipped weights", accuracy.build, settings={"rows": accuracy.shipped_rows, "images": 150},
        small={"images": 2},
    ),
    Case(
        "precision", "demo", accuracy.build,
        settings={"rows": accuracy.demo_rows, "float32_folder": "", "bf16_folder": ""},
    ),
    *(
        Case(
            "compiled", f"{what} {passes} {{size}}", compiled.build, [(320, 480)], BOTH,
            settings={"name": name, "training": is_training, "backend": "inductor"},
            small={"size": (32, 48), "backend": "eager"}, rounds=3,
        )
        for name, what in (("backbone", "FocalNet-T"), ("encoder", "DINO's encoder"))
        for passes, is_training in PASSES.items()
    ),
    *(
        Case(
            "memory", "{network} {size} forward + backward", training.build_recomputing, sizes,
            settings={"network": network}, small={"size": (320, 320), "network": "tiny_lrf"},
        )
        for network, sizes in (
            ("tiny_lrf", [(512, 512), (800, 1333)]), ("base_lrf", [(512, 512), (800, 1333)]), (_DINO, [(480, 640)]),
        )
    ),
    Case(
        "memory", "{recipe}@{size}", memory_plan.build, [(1200, 2000)], settings={"recipe": "dino_focalnet_huge"},
        small={"recipe": "dino_focalnet_mini_quickstart", "size": (128, 160)}, section="plan",
    ),
    *(
        Case(
            "cpu_memory", f"{{recipe}} {what} {{size}}", training.build_kept_memory, [(480, 640)],
            settings={"recipe": recipe, "training": is_training},
            small={"recipe": "dino_focalnet_mini_demo", "size": (96, 128)}, rounds=3,
        )
        for recipe in ("dino_focalnet_mini_coco", _DINO)
        for what, is_training in (("inference", False), ("forward + backward", True))
    ),
    *(
        Case(
            "shared_machine", f"{{recipe}} {what} {{size}}", shared_machine.SharedMachine, [size],
            settings={"recipe": recipe, "training": is_training, "busy": [0, 2, 4], "seconds": 3, "group": ""},
            small={"recipe": "dino_focalnet_mini_demo", "size": (64, 96), "busy": [0, 1], "seconds": 0.1}, rounds=3,
        )
        for recipe, what, size, is_training in (
            ("dino_focalnet_mini_coco", "inference", (480, 640), False),
            ("dino_focalnet_mini_demo", "training step", (128, 170), True),
        )
    ),
    Case(
        "training_step", "{recipe} training step {size}, batch {batch}", training.TrainingStep, [(800, 1333)],
        settings=_STEP, small={"recipe": "dino_focalnet_mini_demo", "size": (128, 160), "device": "cpu"}, rounds=10,
        file="training_step_{recipe}",
    ),
    *_gpu(),
)  # fmt: skip
