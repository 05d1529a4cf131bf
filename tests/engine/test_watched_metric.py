"""Which metric says what the best weights are: the one that was asked for, or that of the recipe's tasks."""

import pytest
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.engine.watched_metric import MAIN_METRICS, choose_metric, is_better


class Scorer:
    """Stands for an evaluator."""

    def __init__(self, *names: str):
        self.names = names

    def metric_names(self) -> list[str]:
        return list(self.names)


class Several:
    def __init__(self, *evaluators):
        self._evaluators = evaluators


BOXES, MASKS = Scorer("bbox/AP", "bbox/AP-cat", "bbox/AP50"), Scorer("bbox/AP", "segm/AP")
PANOPTIC, PIXELS, IMAGES = Scorer("panoptic_seg/PQ"), Scorer("sem_seg/mIoU"), Scorer("classification/top1")


def chosen(evaluator, metric="bbox/AP", *, is_typed=False, **settings) -> str:
    train = OmegaConf.create({"best_metric": metric, **settings})
    choose_metric(train, evaluator, is_typed=is_typed)
    return train.best_metric


@pytest.mark.parametrize(
    ("evaluator", "metric", "expected"),
    [
        (Several(PIXELS, MASKS, PANOPTIC), "classification/top1", "panoptic_seg/PQ"),
        (Several(PIXELS, MASKS), "panoptic_seg/PQ", "segm/AP"),
        (Several(PIXELS, BOXES), "segm/AP", "bbox/AP"),
        (PIXELS, "bbox/AP", "sem_seg/mIoU"),
        (IMAGES, "bbox/AP", "classification/top1"),
        (MASKS, "bbox/AP", "bbox/AP"),
        (BOXES, "bbox/AP50", "bbox/AP50"),
    ],
)
def test_a_metric_of_another_task_becomes_that_of_the_recipes_tasks(evaluator, metric, expected, caplog):
    caplog.set_level("INFO")
    assert chosen(evaluator, metric) == expected
    assert [record.getMessage() for record in caplog.records] == (
        [] if metric == expected else [f"The best weights are those with the best {expected}: the evaluators do not "
                                       f"give {metric}."]
    )  # fmt: skip


@pytest.mark.parametrize("metric", [metric for metric in MAIN_METRICS if metric != "bbox/AP"])
def test_a_metric_that_was_asked_for_stays_or_is_refused(metric):
    with pytest.raises(RecipeError, match=f"best_metric is '{metric}': .* give bbox/AP, bbox/AP50, bbox/AP-cat"):
        chosen(BOXES, metric, is_typed=True)


@pytest.mark.parametrize("metric", ["bbox/APP", "", "nope", "validation/loss_class"])
def test_a_name_that_is_no_metric_is_refused_whoever_wrote_it(metric):
    with pytest.raises(RecipeError, match=f"best_metric is '{metric}'"):
        chosen(BOXES, metric)


def test_evaluators_that_do_not_say_what_they_give_are_believed():
    assert chosen(object(), "nope") == "nope"
    assert chosen(Several(BOXES, object()), "nope", is_typed=True) == "nope"


def test_the_loss_on_the_test_data_is_watched_where_it_is_computed():
    assert chosen(BOXES, "validation/total_loss", validation_loss=True) == "validation/total_loss"
    with pytest.raises(RecipeError, match=r"needs that loss: add train\.validation_loss=True"):
        chosen(BOXES, "validation/total_loss", validation_loss=False)
    assert is_better("validation/total_loss", 1.0, 2.0)
    assert not is_better("bbox/AP", 1.0, 2.0)
