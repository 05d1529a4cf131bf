"""Score thresholds of a checkpoint: `Predictor` uses them unless another is given; a wrong table is refused."""

import numpy as np
import pytest

from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.data.class_map import class_map
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.inference.thresholds import ENTRY, as_entry, score_thresholds_of
from tests.inference.checkpoints import small_recipe, write

CLASSES = class_map([7, 5], ["cat", "dog"])


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_those_of_the_checkpoint_are_the_default(image, tmp_path):
    plain = write(tmp_path / "plain.pth", small_recipe("dino"))
    everything = Predictor(plain, device="cpu", threshold=0.0)(image)
    names = Predictor(plain, device="cpu").classes.names
    lowest = dict.fromkeys(names, 1.0)
    chosen = everything.names[0]
    lowest[chosen] = float(everything.scores[everything.class_ids == everything.class_ids[0]][1])
    kept = write(tmp_path / "tuned.pth", small_recipe("dino"), metadata=metadata(plain) | {ENTRY: lowest})
    found = Predictor(kept, device="cpu")(image)
    assert found.names == [chosen, chosen]
    assert len(Predictor(kept, device="cpu", threshold=0.0)(image).scores) == len(everything.scores)


def metadata(path) -> dict:
    return read_checkpoint(path)["metadata"]


def test_they_are_kept_by_name():
    content = {"metadata": {ENTRY: as_entry([0.25, 1], CLASSES)}}
    assert score_thresholds_of(content, CLASSES, "a.pth") == (0.25, 1.0)
    assert score_thresholds_of(content, class_map([1, 2], ["dog", "cat"]), "a.pth") == (1.0, 0.25)
    assert score_thresholds_of({"metadata": {}}, CLASSES, "a.pth") is None
    assert score_thresholds_of({}, CLASSES, "a.pth") is None


@pytest.mark.parametrize(
    "entry", [[0.5, 0.5], {"cat": 0.5}, {"cat": 0.5, "cow": 0.5}, {"cat": 0.5, "dog": 1.5}, {"cat": 0.5, "dog": True}]
)
def test_a_table_that_does_not_fit_is_refused(entry):
    with pytest.raises(ValueError, match=r"a.pth has score_thresholds that cannot be used"):
        score_thresholds_of({"metadata": {ENTRY: entry}}, CLASSES, "a.pth")
