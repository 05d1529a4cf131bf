"""Whether a recipe can find all objects of an image: how many there are, and how many its settings leave room for."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.config.nodes import children, containers, raw_value
from focalnet_d2.data.mappers import SemanticMaskMapper
from focalnet_d2.data.record_choice import object_counts

from .recipe_filling import class_counts, mapper_class

# Settings that limit how many targets an image may have, and how many results it gets or are scored.
TARGETS = ("num_queries", "num_proposals")
RESULTS = ("num_select", "top_k", "max_detections", "test_topk_per_image", "max_dets")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResultLimit:
    """How many results of an image a setting asks for, and how many pairs of query and class there are.

    Attributes:
        key, number: the setting.
        queries_key, queries: of the fewest queries or proposals.
        classes: of the model.
    """

    key: str
    number: int
    queries_key: str
    queries: int
    classes: int

    @property
    def pairs(self) -> int:
        """The most results that there can be."""
        return self.queries * self.classes


def warn_of_full_images(recipe: DictConfig, datasets: Iterable[Sequence[dict]]) -> None:
    """Warn once if an image has more objects than the recipe can find; crowds are none.

    Args:
        datasets: dataset dicts of each; images with nothing but a label map have no objects.
    """
    mapper = mapper_class(recipe)
    if not comm.is_main_process() or (mapper is not None and issubclass(mapper, SemanticMaskMapper)):
        return
    limits = list(object_limits(recipe))
    if not limits:
        return
    targets, results = (0, ""), (0, "")  # most of them in an image, and its file
    for records in filter(len, datasets):
        counts = object_counts(records)
        files = [records[place]["file_name"] for place in counts.argmax(0).tolist()]
        fullest = list(zip(counts.max(0).tolist(), files))
        targets, results = max(targets, fullest[0]), max(results, fullest[1])
    _warn([(key, limit, targets if key.endswith(TARGETS) else results) for key, limit in limits])


def _warn(limits: Sequence[tuple[str, int, tuple[int, str]]]) -> None:
    """One warning about all limits (key, number, most objects and the file that has them) that are exceeded."""
    exceeded = [(key, limit, most) for key, limit, most in limits if most[0] > limit]
    if exceeded:
        fullest = max(most for _, _, most in exceeded)
        advice = [f"{key}={most[0]} (now {limit})" for key, limit, most in exceeded]
        logger.warning(
            "%s has %d objects, more than this recipe can find: to find them all, set %s.",
            *(fullest[1], fullest[0], ", ".join(advice)),
        )


def object_limits(recipe: DictConfig) -> Iterator[tuple[str, int]]:
    """Key and number of each setting that limits something; those that are links follow others."""
    for group in (recipe.model, recipe.dataloader.evaluator):
        for path, node in containers(group, "model." if group is recipe.model else "dataloader.evaluator."):
            for name, child in children(node):
                value = raw_value(child)
                if name in (*TARGETS, *RESULTS) and isinstance(value, int) and not isinstance(value, bool):
                    yield f"{path}{name}", value


def result_limits(recipe: DictConfig) -> list[ResultLimit]:
    """The limits of results of a model that chooses among pairs of query and class; none for other models."""
    limits = [(key, number) for key, number in object_limits(recipe) if key.startswith("model.")]
    queries = sorted((number, key) for key, number in limits if key.endswith(TARGETS))
    classes = class_counts(recipe, linked=True).get("model.num_classes")
    if not queries or classes is None:
        return []
    fewest, queries_key = queries[0]
    return [
        ResultLimit(key, number, queries_key, fewest, classes) for key, number in limits if not key.endswith(TARGETS)
    ]


def lower_results(recipe: DictConfig, typed: Collection[str]) -> None:
    """Ask for no more results of an image than there are pairs of query and class, in place.

    Args:
        typed: keys of settings that stay as somebody typed them.
    """
    for limit in result_limits(recipe):
        if limit.number > limit.pairs and limit.key not in typed:
            OmegaConf.update(recipe, limit.key, limit.pairs)


def check_results(recipe: DictConfig) -> None:
    """Raise `RecipeError` if a model is asked for more results of an image than it has pairs of query and class."""
    for limit in result_limits(recipe):
        if limit.number > limit.pairs:
            raise RecipeError(
                f"{limit.key}={limit.number} is more than {limit.queries_key}={limit.queries} times "
                f"model.num_classes={limit.classes}: set {limit.key}={limit.pairs}, or "
                f"{limit.queries_key}={-(-limit.number // limit.classes)}."
            )
