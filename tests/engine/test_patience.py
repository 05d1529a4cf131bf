"""A run that is not getting better ends: when, what it leaves, and the same over any interruption."""

import json
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.engine.checkpointing import resume_run
from focalnet_d2.engine.hooks import BestCheckpoint, Evaluation, MetricsWriter, PeriodicCheckpoint
from focalnet_d2.engine.metrics import MetricsFile, is_evaluated, read_metrics
from focalnet_d2.engine.patience import check_patience, waited, why_ended
from focalnet_d2.engine.timetable import Timetable
from tests.engine.test_hooks import Toy, make_state, make_trainer

LENGTH = 9
NAN = math.nan
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


class Killed(Exception):  # noqa: N818 - stands for a signal
    pass


def expected_end(scores: list[float], patience: int) -> int:
    """The rule in its plain form: the iteration after which the run ends."""
    best, without = -math.inf, 0
    for done, score in enumerate(scores[:-1], 1):
        without = 0 if score > best else without + 1
        best = score if score > best else best
        if without == patience:
            return done
    return len(scores)


def train(folder, scores, patience, *, period=2, kill=None) -> int:
    """Evaluate after each iteration and save after every `period`; go on with what the folder holds.

    Args:
        kill: (iteration, number of the hook before which the process ends).

    Returns:
        The iteration after which the training ended.
    """
    model = Toy()
    state = make_state(model)
    start = resume_run(folder, state)[0] if (folder / "last_checkpoint").is_file() else 0

    def evaluate():
        return {"bbox": {"AP": scores[min(trainer.storage.iter, len(scores) - 1)]}}

    metrics = folder / "metrics.json"
    evaluation = Evaluation(evaluate, 1, was_interrupted=not is_evaluated(metrics, start))
    hooks = [
        PeriodicCheckpoint(state, folder, period),
        evaluation,
        BestCheckpoint(evaluation, "bbox/AP", state, folder, patience=patience),
        MetricsWriter(MetricsFile(metrics), [], 1, evaluation),
    ]
    trainer = make_trainer(model, hooks)
    if kill is not None:
        hook = hooks[kill[1]]
        step = hook.after_step

        def killed():
            if trainer.iter + 1 == kill[0]:
                trainer.after_train = lambda: None
                raise Killed
            step()

        hook.after_step = killed
    trainer.train(start, len(scores))
    return trainer.iter


def left(folder) -> dict:
    checkpoint = torch.load(folder / "model_final.pth", weights_only=True)
    lines = [
        {key: str(line[key]) for key in ("bbox/AP", "evaluated_after", "stopped_early_after") if key in line}
        for line in read_metrics(folder / "metrics.json")
    ]
    best = folder / "best.json"
    return {
        "iteration": checkpoint["iteration"],
        "weight": checkpoint["model"]["weight"].tolist(),
        "steps": int(checkpoint["model"]["count"]) - checkpoint["iteration"],  # forward passes that check the weights
        "best": json.loads(best.read_text()) if best.is_file() else None,
        "known": checkpoint["best"],
        "lines": [line for line in lines if line],
    }


SCORES = st.lists(st.sampled_from([1.0, 2.0, 3.0, NAN]), min_size=2, max_size=7)


@settings(max_examples=20, deadline=None, phases=WITHOUT_SHRINKING)
@given(scores=SCORES, patience=st.integers(1, 3))
def test_a_run_ends_after_so_many_evaluations_that_were_not_better(tmp_path_factory, scores, patience):
    folder = tmp_path_factory.mktemp("run")
    end = expected_end(scores, patience)
    assert train(folder, scores, patience) == end
    found = left(folder)
    assert (found["iteration"], found["steps"]) == (end, 0)
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"
    evaluated = [int(float(line["evaluated_after"])) for line in found["lines"] if "evaluated_after" in line]
    assert evaluated == list(range(1, end + 1))  # each once, the last one, too
    stops = [line["stopped_early_after"] for line in found["lines"] if "stopped_early_after" in line]
    assert stops == ([str(float(end))] if end < len(scores) else [])


@settings(max_examples=25, deadline=None, phases=WITHOUT_SHRINKING)
@given(
    scores=SCORES,
    patience=st.integers(1, 3),
    kills=st.lists(st.tuples(st.integers(1, 7), st.integers(0, 3)), max_size=3),
)
def test_a_run_that_is_killed_anywhere_ends_where_the_whole_one_does(tmp_path_factory, scores, patience, kills):
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    end = train(whole, scores, patience, period=1)
    for kill in kills:
        try:
            train(parts, scores, patience, period=1, kill=kill)
            break
        except Killed:
            pass
    else:
        assert train(parts, scores, patience, period=1) == end
    assert left(parts) == left(whole)


def test_patience_zero_never_ends_a_run(tmp_path):
    assert train(tmp_path, [3.0] + [1.0] * 5, 0) == 6


def test_a_metric_that_is_not_given_is_not_waited_for(tmp_path):
    state = make_state(Toy())
    evaluation = Evaluation(lambda: {"bbox": {"AP": 1.0}}, 1)
    trainer = make_trainer(state.model, [evaluation, BestCheckpoint(evaluation, "x/y", state, tmp_path, patience=1)])
    trainer.train(0, 5)
    assert trainer.iter == 5


def test_a_run_that_ended_says_so_when_it_is_to_go_on(tmp_path):
    scores = [1.0, 3.0, 2.0, 2.0, 2.0, 2.0, 4.0]
    assert train(tmp_path, scores, 2) == 4
    told = OmegaConf.create({"patience": 2, "best_metric": "bbox/AP", "max_iter": 7})
    message = why_ended(tmp_path, told, 4)
    assert message == (
        f"The run in {tmp_path} ended early after 4 of 7 iterations: nothing better in 2 evaluations than the "
        f"bbox/AP 3 after 2 iterations ({tmp_path}/model_best.pth). To train on, raise train.patience=2 above 2, or "
        "set train.patience=0."
    )
    assert why_ended(tmp_path, OmegaConf.create({**told, "patience": 3}), 4) == ""
    assert train(tmp_path, scores, 3) == 5
    assert why_ended(tmp_path, OmegaConf.create({**told, "patience": 0}), 5) == ""
    assert train(tmp_path, scores, 0) == 7
    assert json.loads((tmp_path / "best.json").read_text())["iteration"] == 7


def test_the_wait_is_that_for_the_metric_that_is_watched_now(tmp_path):
    train(tmp_path, [3.0, 2.0, 1.0], 0)
    best = json.loads((tmp_path / "best.json").read_text())
    assert [waited(tmp_path, "bbox/AP", best, done) for done in (1, 2, 3)] == [0, 1, 2]
    assert waited(tmp_path, "bbox/AP", None, 3) == 3
    assert waited(tmp_path, "segm/AP", best, 3) == 0
    (tmp_path / "metrics.json").unlink()
    assert waited(tmp_path, "bbox/AP", best, 3) == 0


@pytest.mark.parametrize(
    ("period", "is_refused"), [(0, True), (9, True), (10, True), (8, False), (Fraction(1, 2), False)]
)
def test_patience_without_an_evaluation_on_the_way_is_refused(period, is_refused):
    timetable = Timetable(4, 2, Fraction(0), LENGTH, Fraction(period), Fraction(0), None)
    check_patience(OmegaConf.create({"patience": 0}), timetable)
    check_patience(OmegaConf.create({}), timetable)
    if is_refused:
        with pytest.raises(RecipeError, match=r"train\.patience=2 counts .* of 9 iterations .* train\.eval_epochs=1"):
            check_patience(OmegaConf.create({"patience": 2}), timetable)
    else:
        check_patience(OmegaConf.create({"patience": 2}), timetable)
