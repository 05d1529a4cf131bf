"""A recipe's small form: the same model, losses and data path, of a size that a CPU trains in seconds.

Settings are found by their names, so recipes with modules of somebody else's are made small where they use these names,
and otherwise stay as they are.
"""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.nodes import children, containers, raw_value

STEPS, SAVED_AFTER = 4, 2  # iterations of a run, and those before the checkpoint that another one goes on from
SIDES = (64, 96)  # smallest and largest side of the generated images, pixels

# Settings of a model by name: at most so much.
_MODEL: dict[str, float] = {
    **dict(embed_dim=16, ffn_dim=64, fc_dims=64, num_layers=2, num_stages=2, num_convs=1, depths=1, focal_levels=1),
    **dict(num_queries=12, num_proposals=12, num_select=12, dn_number=6, num_points=64, num_samples=16),
    **dict(batch_size_per_image=16, pre_nms_topk=64, post_nms_topk=64, candidates_per_level=64),
    # So few steps leave a model unsure: with the thresholds of the recipe it would find nothing to compare.
    **dict(score_threshold=0.001, test_score_thresh=0.001, object_mask_threshold=0.0, overlap_threshold=0.0),
}
# Settings of mappers by name: sizes of images, pixels; `scale` is a share of DETR's 800.
_IMAGES: dict[str, float] = dict(size=64, short_edge_length=64, max_size=107, scale=0.08)
_LOADERS = ("train", "test")
_RUN = {
    **{"train.max_iter": STEPS, "train.checkpoint_period": SAVED_AFTER, "train.eval_period": 0, "train.log_period": 1},
    **{"train.report": False, "train.loggers": [], "train.init_checkpoint": "", "train.patience": 0},
    **{"train.test_time_augmentation.enabled": False, "dataloader.test.batch_size": 1},
    **{f"dataloader.{loader}.num_workers": 0 for loader in _LOADERS},
}
# With these, nothing but rounding may depend on the number of processes: none of what a process draws or measures for
# its own images alone.
_WITHOUT_CHANCE = {
    **{"model.mixing": None, "train.max_iter": STEPS // 2, "train.ema.enabled": False},
    "dataloader.train.mapper.augmentations": [],
    "dataloader.train.mapper.transform": "${dataloader.test.mapper.transform}",
}


def small_settings(recipe: DictConfig) -> list[str]:
    """`key=value` overrides that make a recipe small; random numbers, schedule and precision stay the recipe's."""
    smaller = [
        *_smaller(recipe.model, "model.", _MODEL),
        *(one for loader in _LOADERS for one in _smaller_images(recipe, loader)),
    ]
    images = f"dataloader.train.total_batch_size={2 * recipe.train.accumulation}"
    return [*smaller, images, *_present(recipe, _RUN)]


def paired_settings(recipe: DictConfig) -> list[str]:
    """Further overrides, for a training that has to come out alike in any number of processes; it is half as long."""
    dropped = _found(recipe.model, "model.", ("drop_path_rate", "dropout"))
    return [*(f"{key}=0" for key in dropped), *_present(recipe, _WITHOUT_CHANCE)]


def _present(recipe: DictConfig, settings: dict[str, Any]) -> Iterator[str]:
    """Overrides of those settings that a recipe has."""
    for key, value in settings.items():
        group, _, name = key.rpartition(".")
        if name in (OmegaConf.select(recipe, group) or ()):
            yield f"{key}={value}"


def _smaller_images(recipe: DictConfig, loader: str) -> Iterator[str]:
    yield from _smaller(recipe.dataloader[loader].mapper, f"dataloader.{loader}.mapper.", _IMAGES)


def _smaller(node: Any, path: str, limits: dict[str, float]) -> Iterator[str]:
    """Overrides of the settings below a node that are above their limit; links follow what they point to."""
    for place, group in containers(node, path):
        for name, child in children(group) if isinstance(group, DictConfig) else ():
            limit = limits.get(str(name))
            value = _plain(child)
            if limit is not None and (less := _at_most(value, limit)) != value:
                yield f"{place}{name}={str(less).replace(' ', '')}"


def _found(node: Any, path: str, names: tuple[str, ...]) -> Iterator[str]:
    """Keys of the numbers below a node that have one of these names."""
    for place, group in containers(node, path):
        for name, child in children(group) if isinstance(group, DictConfig) else ():
            if name in names and isinstance(raw_value(child), int | float):
                yield f"{place}{name}"


def _plain(child: Any) -> Any:
    """A number, or a list of numbers; None for links and everything else."""
    inner = [raw_value(one) for _, one in children(child)]
    value = inner or raw_value(child)
    numbers = value if isinstance(value, list) else [value]
    return value if all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers) else None


def _at_most(value: Any, limit: float) -> Any:
    if isinstance(value, list):
        return [min(one, limit) for one in value]
    return None if value is None else min(value, limit)
