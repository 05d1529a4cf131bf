"""What 0.1.0 called otherwise: modules, names in modules, settings of recipes, their values and logged numbers.

Old names work for one release. Each of them warns once in a process and says the name of today. The tables stand here;
`old_imports.py` serves them to Python's imports and `old_recipes.py` to recipes. Standard library only: every start of
the package reads this file.
"""

import warnings
from collections.abc import Mapping

PACKAGE = "focalnet_d2"

# Modules that moved, below PACKAGE.
_MODULES = {
    "atomic_files": "utils.atomic_write",
    "box_fusion": "inference.box_fusion",
    "checkpoint.atss": "modeling.atss.checkpoint",
    "checkpoint.classifier": "modeling.classifier.checkpoint",
    "checkpoint.command": "commands.convert",
    "checkpoint.focalnet_facts": "checkpoint.focalnet_architecture",
    "checkpoint.growth": "checkpoint.kernel_inflation",
    "checkpoint.inspection": "model_zoo.inspection",
    "checkpoint.own": "checkpoint.native",
    "checkpoint.rcnn": "modeling.rcnn.checkpoint",
    "checkpoint.sparse_rcnn": "modeling.sparse_rcnn.checkpoint",
    "checkpoint.upernet": "modeling.upernet.checkpoint",
    "child_processes": "utils.child_processes",
    "cli": "commands.main",
    "config.yacs": "yacs",
    "data.colour_jitter": "data.color_jitter",
    "data.generated.command": "commands.generate",
    "data.mappers.label_map": "data.mappers.semantic_seg",
    "data.mappers.semantic": "data.mappers.semantic_mask",
    "data.preparation.command": "commands.prepare",
    "data.shared_records": "data.shared_memory_dataset",
    "data.window_resize": "kernels.window_resize",
    "doctor": "commands.doctor",
    "engine.cpu_matmul": "kernels.cpu_matmul",
    "engine.cpu_memory": "kernels.malloc",
    "evaluation.__main__": "commands.score",
    "evaluation.counting": "evaluation.streaming",
    "evaluation.panoptic_tally": "evaluation.panoptic_stats",
    "evaluation.shares": "evaluation.deduplication",
    "evaluation.testing": "engine.evaluation_loop",
    "flops": "modeling.flops",
    "layers.class_prior": "layers.mlp",
    "layers.compiled_deformable_attention": "kernels.deformable_attention_cpp",
    "layers.compiled_focal_context": "kernels.focal_context_cpp",
    "layers.compiled_library": "kernels.compiler",
    "layers.deformable_operator": "kernels.torch_operator",
    "layers.depthwise": "kernels.depthwise_conv",
    "layers.focal_context": "kernels.focal_context",
    "layers.fused_linear": "kernels.linear",
    "layers.implementations": "kernels.dispatch",
    "layers.onednn_matmul": "kernels.cpu_matmul",
    "layers.pointwise": "kernels.linear",
    "layers.recompute": "layers.activation_checkpointing",
    "layers.table_lookup": "kernels.deformable_attention_table",
    "layers.triton_choice": "kernels.dispatch",
    "layers.triton_deformable_attention": "kernels.deformable_attention_triton",
    "layers.triton_focal_context": "kernels.focal_context_triton",
    "model_zoo.__main__": "commands.zoo",
    "model_zoo.command": "commands.zoo",
    "model_zoo.notes": "model_zoo",
    "modeling.atss_assignment": "modeling.atss.assigner",
    "modeling.atss_criterion": "modeling.atss.criterion",
    "modeling.atss_head": "modeling.atss.head",
    "modeling.batching": "modeling.base",
    "modeling.build": "yacs",
    "modeling.cascade_heads": "modeling.rcnn.cascade_heads",
    "modeling.dynamic_head": "modeling.sparse_rcnn.dynamic_head",
    "modeling.focalnet": "backbone.focalnet",
    "modeling.image_model": "modeling.base",
    "modeling.matching": "modeling.rcnn.proposal_sampling",
    "modeling.variants": "backbone.variants",
    "modeling.window_inference": "modeling.upernet.sliding_window",
    "packed_masks": "structures.packed_masks",
    "test_time_augmentation": "inference.tta",
    "visualization": "reports.visualization",
}

# Names of a module of 0.1.0 that changed: a bare new name stands in the module of the same purpose, a dotted one below
# PACKAGE.
_NAMES = {
    "atomic_files": {"replacing": "atomic_open"},
    "checkpoint.layout": {"Fact": "ArchitectureCheck", "Setting": "RequiredSetting"},
    "checkpoint.own": {"own_layout": "native_layout"},
    "data.classification_transforms": {"centre_crop": "center_crop"},
    "data.colour_jitter": {"ColourTransform": "ColorTransform", "SsdColourJitter": "SsdColorJitter"},
    "data.mappers": {"LabelMapMapper": "SemanticSegMapper", "SemanticMapper": "SemanticMaskMapper"},
    "data.mappers.label_map": {"LabelMapMapper": "SemanticSegMapper", "LabelledInput": "LabeledInput"},
    "data.mappers.semantic": {"SemanticMapper": "SemanticMaskMapper"},
    "data.shared_records": {"SharedRecords": "SharedMemoryDataset"},
    "engine.distributed": {"gather_everywhere": "all_gather_object", "gradients_stay_local": "no_sync"},
    "engine.hooks": {"AveragedWeights": "EMAHook"},
    "engine.sharding": {
        "cut_like": "shard_like",
        "cut_optimizer_state": "shard_optimizer_state_dict",
        "cut_state": "shard_state_dict",
        "local_part": "local_shard",
        "whole": "full_tensor",
    },
    "evaluation.panoptic_tally": {"PanopticTally": "PanopticStats"},
    "evaluation.shares": {"ScoredImages": "ImageDeduplicator", "join_shares": "merge_by_image"},
    "evaluation.testing": {
        "results_table": "evaluation.report.results_table",
        "write_results": "evaluation.report.write_results",
    },
    "layers.deformable_attention": {"deformable_attention": "kernels.deformable_attention.deformable_attention"},
    "layers.fused_linear": {"linear_with": "linear_act"},
    "layers.recompute": {"run_layer": "maybe_checkpoint"},
    "modeling.atss": {"ATSS": "modeling.atss.model.ATSS"},
    "modeling.atss_assignment": {"box_centres": "box_centers", "centreness": "centerness"},
    "modeling.batching": {"wanted_sizes": "output_sizes"},
    "modeling.classifier": {
        "BatchMixing": "modeling.classifier.model.BatchMixing",
        "ImageClassifier": "modeling.classifier.model.ImageClassifier",
    },
    "modeling.rcnn": {
        "BoxPredictor": "modeling.rcnn.model.BoxPredictor",
        "CascadeMaskRCNN": "modeling.rcnn.model.CascadeMaskRCNN",
        "MaskHead": "modeling.rcnn.model.MaskHead",
        "MaskRCNN": "modeling.rcnn.model.MaskRCNN",
        "MaskRCNNHeads": "modeling.rcnn.model.MaskRCNNHeads",
        "RegionPooler": "modeling.rcnn.model.RegionPooler",
        "RegionProposals": "modeling.rcnn.model.RegionProposals",
    },
    "modeling.sparse_rcnn": {"SparseRCNN": "modeling.sparse_rcnn.model.SparseRCNN"},
    "modeling.upernet": {
        "FCNHead": "modeling.upernet.model.FCNHead",
        "PixelClassifier": "modeling.upernet.model.PixelClassifier",
        "UPerHead": "modeling.upernet.model.UPerHead",
        "UPerNet": "modeling.upernet.model.UPerNet",
    },
    "set_prediction.box_metric": {"CentreMetric": "CxcywhBoxMetric", "CornerMetric": "XyxyBoxMetric"},
    "set_prediction.matcher": {"LeastCostAssignment": "HungarianAssignment"},
    "visualization": {"class_colour": "class_color"},
}

# Arguments of callables that a recipe builds, by the callable's full name of today.
ARGUMENTS = {f"{PACKAGE}.modeling.atss.criterion.ATSSCriterion": {"centreness_weight": "centerness_weight"}}

# Settings of a recipe that no callable takes, by the group in which they stand.
SETTINGS = {"train": {"part_weights": "microbatch_weights"}}

# Settings that came later: a setting of 0.1.0 -> those that stand beside it now, with values that change nothing.
ADDED = {
    ("train", "init_checkpoint"): {
        "weights_entry": "",
        "allow_nonfinite": False,
        "other_class_names": "refuse",
        "freeze": [],
        "class_weights": "",
        "also_with_nms": 0,
    },
    ("train", "accumulation"): {"batch": None},
    ("train", "log_period"): {
        **{"loggers": ["tensorboard"], "report": True, "sample_predictions": 8, "skip_nonfinite": 0},
    },
    ("train", "max_iter"): {
        **{"epochs": 0, "eval_epochs": 0, "checkpoint_epochs": 0},
        **{"warmup_epochs": 0, "warmup": None, "patience": 0},
        **{"validation_loss": False, "validation_loss_images": 0},
    },
}

# Values of settings.
VALUES = {
    "optimizer.decay_rule": {"d2": "detectron2", "mm": "mmdetection", "m2f": "mask2former", "cls": "imagenet"},
}

# Logged numbers by the name of today, for readers of metrics.json and TensorBoard who look for the old one.
LOG_NAMES = {"loss_centerness": "loss_centreness"}

MODULES = {f"{PACKAGE}.{old}": f"{PACKAGE}.{new}" for old, new in _MODULES.items()}


def _absolute(module: str, new: str) -> str:
    """The full name of today of what stood in this old module."""
    return f"{PACKAGE}.{new}" if "." in new else f"{MODULES.get(module, module)}.{new}"


NAMES = {
    f"{PACKAGE}.{module}.{old}": _absolute(f"{PACKAGE}.{module}", new)
    for module, names in _NAMES.items()
    for old, new in names.items()
}

_warned: set[str] = set()


def warn_once(old: str, new: str, category: type[Warning] = FutureWarning, stacklevel: int = 2) -> None:
    """Warn that `old` is now `new`, the first time that this process uses `old`.

    Args:
        stacklevel: of the caller, as for `warnings.warn`.
    """
    if old not in _warned:
        _warned.add(old)
        text = f"'{old}' is now '{new}': the old name works in this release and goes with the next."
        warnings.warn(text, category, stacklevel=stacklevel + 1)


def current_name(name: str) -> str:
    """The full name of today of a module, or of something in it, by its name of 0.1.0 or of today; never warns."""
    parts = name.split(".")
    for count in range(len(parts), 1, -1):
        prefix = ".".join(parts[:count])
        new = NAMES.get(prefix) or MODULES.get(prefix)
        if new is not None:
            return ".".join([new, *parts[count:]])
    return name


def current_value(setting: str, value: str) -> str:
    """The value of today of a setting (`optimizer.decay_rule`); warns where it was written as in 0.1.0."""
    new = VALUES.get(setting, {}).get(value)
    if new is None:
        return value
    warn_once(f"{setting}={value}", f"{setting}={new}", stacklevel=3)
    return new


def with_old_log_names(numbers: Mapping[str, float]) -> dict[str, float]:
    """Named numbers, and again those that had another name in 0.1.0 under that name."""
    return {**numbers, **{LOG_NAMES[name]: value for name, value in numbers.items() if name in LOG_NAMES}}


def old_attributes() -> dict[str, dict[str, str]]:
    """For a module of today: the old names that are asked of it, and the full name of today of each."""
    attributes: dict[str, dict[str, str]] = {}
    for old, new in NAMES.items():
        module, _, name = old.rpartition(".")
        attributes.setdefault(MODULES.get(module, module), {})[name] = new
    return attributes


def add_moved_modules(package: str, moved: Mapping[str, str]) -> None:
    """Enter the moved modules of another package, which knows them itself: {old: new} below it."""
    MODULES.update({f"{package}.{old}": f"{package}.{new}" for old, new in moved.items()})
