"""Differences are found, named and measured."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.checkpoint import save_checkpoint
from focalnet_d2.engine.metrics import METRICS
from focalnet_d2.evaluation.detection import SUBMISSION
from focalnet_d2.evaluation.report import RESULTS
from focalnet_d2.verification import comparing
from focalnet_d2.verification.comparing import Tolerance

NEAR = Tolerance(metric=0.1, score=1e-3, box=0.1, overlap=0.9, share=0.1)


def checkpoint(path: Path, **values) -> Path:
    save_checkpoint(path, {"recipe": path.name, "metadata": {"run": path.name}, **values})
    return path


def test_checkpoints_are_compared_bit_for_bit(tmp_path):
    weights = {"a": torch.tensor([1.0, float("nan")]), "b": torch.zeros(2)}
    one = checkpoint(tmp_path / "one.pth", model=weights, iteration=4)
    same = checkpoint(tmp_path / "same.pth", model={**weights}, iteration=4)
    found = comparing.compare_checkpoints(one, same)
    assert found == (True, "all 3 tensors and values are equal, bit for bit")
    nearly = {**weights, "b": torch.tensor([0.0, 2**-30])}
    other = checkpoint(tmp_path / "other.pth", model=nearly, iteration=5)
    found = comparing.compare_checkpoints(one, other)
    assert not found.held
    assert found.text == "2 of 3 tensors and values differ: iteration (4, 5), model.b (by up to 9.3e-10)"


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(tmp_path):
    one = checkpoint(tmp_path / "one.pth", model={"a": torch.zeros(2), "b": torch.zeros(2)})
    other = checkpoint(tmp_path / "other.pth", model={"a": torch.zeros(3)})
    found = comparing.compare_checkpoints(one, other)
    assert found.text == (
        "2 of 2 tensors and values differ: model.a (another shape, or missing), model.b (another shape, or missing)"
    )


def evaluation(folder: Path, results: dict, objects: list[dict] | None = None, counts: dict | None = None) -> Path:
    folder.mkdir()
    (folder / RESULTS).write_text(json.dumps(results))
    if objects is not None:
        (folder / SUBMISSION).write_text(json.dumps(objects))
    if counts is not None:
        (folder / "bbox_counts.json").write_text(json.dumps(counts))
    return folder


@pytest.mark.parametrize(
    ("values", "held", "text"),
    [
        ((50.0, None), True, "all 2 metrics equal"),
        ((50.05, None), True, "of 2 metrics bbox.AP differs most, by 0.05 (50.0 and 50.05)"),
        ((49.8, None), False, "of 2 metrics bbox.AP differs most, by 0.2 (50.0 and 49.8)"),
        ((50.0, 3.0), False, "of 2 metrics bbox.AP-dog differs most, by inf (None and 3.0)"),
    ],
)
def test_metrics(tmp_path, values, held, text):
    one = evaluation(tmp_path / "one", {"bbox": {"AP": 50.0, "AP-dog": None}})
    other = evaluation(tmp_path / "other", {"bbox": dict(zip(("AP", "AP-dog"), values))})
    assert comparing.compare_evaluations(one, other, NEAR) == (held, text)


def test_a_metric_that_only_one_has_is_a_difference(tmp_path):
    one = evaluation(tmp_path / "one", {"bbox": {"AP": 50.0}})
    other = evaluation(tmp_path / "other", {"bbox": {"AP": 50.0, "AR": 1.0}})
    assert not comparing.compare_evaluations(one, other, NEAR).held


def thing(number: int, **changes) -> dict:
    entry = {"image_id": number % 3, "category_id": 1, "score": number / 20, "bbox": [number, 2.0, 3.0, 4.0]}
    return {**entry, **changes}


@given(st.permutations(range(12)), st.integers(0, 3))
@settings(max_examples=20)
def test_objects_have_partners_in_any_order(order, moved):
    expected = [thing(number) for number in range(12)]
    found = [thing(number, **({"bbox": [number, 9.0, 3.0, 4.0]} if number < moved else {})) for number in order]
    finding = comparing._compare_objects(expected, found, NEAR)
    assert finding.held == (moved <= 1)
    assert finding.text == (f"{moved} of 12 objects without a partner" if moved else "12 objects alike")


def test_an_object_is_the_partner_of_one_only():
    twice = [thing(1), thing(1)]
    assert comparing._compare_objects(twice, [thing(1), thing(2)], NEAR).text == "1 of 2 objects without a partner"
    assert comparing._compare_objects([thing(1)], twice, NEAR).text == "1 of 2 objects without a partner"


def test_counts_that_move(tmp_path):
    one = evaluation(tmp_path / "one", {"bbox": {"AP": 1.0}}, [], {"dog": {"tp": 8, "fp": 2}})
    other = evaluation(tmp_path / "other", {"bbox": {"AP": 1.0}}, [], {"dog": {"tp": 5, "fp": 5}})
    found = comparing.compare_evaluations(one, other, NEAR)
    assert found == (False, "bbox_counts.json differs by 0.6 of what it counts")


def steps(folder: Path, *losses: float) -> Path:
    folder.mkdir()
    lines = [{"iteration": number, "total_loss": loss, "time": 7.0 * number} for number, loss in enumerate(losses)]
    (folder / METRICS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_steps(tmp_path):
    one, near, far, short = (
        steps(tmp_path / name, *losses)
        for name, losses in {"one": (2.0, 1.0), "near": (2.0, 1.0001), "far": (2.0, 1.1), "short": (2.0,)}.items()
    )
    assert comparing.compare_steps(one, near, 1e-3).held
    found = comparing.compare_steps(one, far, 1e-3)
    assert found == (False, "of 2 losses and norms total_loss of step 2 differs most, by 0.09 of its size")
    assert not comparing.compare_steps(one, short, 1e-3).held


def test_gradients_that_are_all_zero(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "one.pth")
    torch.save({"a": torch.ones(2)}, tmp_path / "other.pth")
    assert comparing.compare_gradients(tmp_path / "one.pth", tmp_path / "one.pth", 1e-3).held
    assert not comparing.compare_gradients(tmp_path / "one.pth", tmp_path / "other.pth", 1e-3).held


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("is_first", [True, False])
def test_losses_and_gradients_that_are_no_numbers_hold_nothing(tmp_path, value, is_first):
    one, other = steps(tmp_path / "one", 2.0, 1.0), steps(tmp_path / "other", 2.0, value)
    assert not comparing.compare_steps(*((other, one) if is_first else (one, other)), 1e-3).held
    files = [tmp_path / "one.pth", tmp_path / "other.pth"]
    torch.save({"a": torch.ones(2), "b": torch.ones(2)}, files[0])
    torch.save({"a": torch.ones(2), "b": torch.tensor([1.0, value])}, files[1])
    found = comparing.compare_gradients(*(files[::-1] if is_first else files), 1e-3)
    assert found == (False, "gradients differ, as shares of their size: b by inf")


def test_samples(tmp_path):
    for name, content in {"one": [["a", "b"], ["c", "d"]], "other": [["a", "b"], ["d", "c"]]}.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert comparing.compare_samples(tmp_path / "one", tmp_path / "one").held
    found = comparing.compare_samples(tmp_path / "one", tmp_path / "other")
    assert found == (False, "other images, or other augmentations of them, in step 2")
