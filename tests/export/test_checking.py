"""A written file is refused where it gives other values, and not where two nearly equal rows have changed places."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from focalnet_d2.export.checking import EXACT, check_file, check_inputs, largest_difference
from focalnet_d2.export.formats import Traced


@pytest.fixture
def boxes() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 100, (2, 50, 4)).astype(np.float32)


def test_equal_values_are_no_difference(boxes):
    assert largest_difference({"boxes": boxes}, {"boxes": boxes.copy()}, 1e-3) == 0


def test_rows_may_change_places_but_values_may_not(boxes):
    swapped = boxes.copy()
    swapped[:, [3, 4]] = boxes[:, [4, 3]]
    assert largest_difference({"boxes": swapped}, {"boxes": boxes}, 1e-3) == 0
    swapped[1, 3, 2] += 1
    with pytest.raises(ValueError, match="The file's boxes is 0.0"):
        largest_difference({"boxes": swapped}, {"boxes": boxes}, 1e-3)
    moved = boxes[::-1]  # rows of the other image are no remedy
    with pytest.raises(ValueError, match="The file's boxes is"):
        largest_difference({"boxes": moved}, {"boxes": boxes}, 1e-3)


def test_suppression_may_decide_otherwise_in_few_rows(boxes):
    flipped = boxes.copy()
    flipped[0, 10:] = np.concatenate([[[0, 0, 500, 500]], boxes[0, 10:-1]])  # one more box moves the rest by a row
    assert largest_difference({"boxes": flipped}, {"boxes": boxes}, 1e-3, flips=0.02) == 0
    with pytest.raises(ValueError, match="The file's boxes is"):
        largest_difference({"boxes": flipped}, {"boxes": boxes}, 1e-3)
    flipped[1, :3] = 500
    with pytest.raises(ValueError, match="The file's boxes is"):
        largest_difference({"boxes": flipped}, {"boxes": boxes}, 1e-3, flips=0.02)


def test_other_shapes_and_values_that_are_not_finite(boxes):
    with pytest.raises(ValueError, match="it fits one size only"):
        largest_difference({"boxes": boxes[:1]}, {"boxes": boxes}, 1e-3)
    with pytest.raises(ValueError, match="it fits one size only"):
        largest_difference({"scores": boxes}, {"boxes": boxes}, 1e-3)
    with pytest.raises(ValueError, match="NaN or infinite"):
        largest_difference({"boxes": np.full_like(boxes, np.nan)}, {"boxes": boxes}, 1e-3)


TRACED = Traced(batch_size=1, size=(32, 32), dynamic=False)
ABOUT = SimpleNamespace(decoder="query_masks", divisor=32, settings={}, channels=None)


class Steps(torch.nn.Module):
    """Gives 0 or 10 an image: whether the mean of its pixels is above a threshold."""

    def __init__(self, thresholds: list[float]) -> None:
        super().__init__()
        self.pixel_mean, self.thresholds = torch.zeros(3), thresholds

    def export_forward(self, images: torch.Tensor, image_sizes: torch.Tensor) -> dict[str, torch.Tensor]:
        above = sum((images.double().mean() > threshold).long() for threshold in self.thresholds)
        return {"values": 10.0 * above.reshape(1, 1, 1)}


def means_of(seeds: range) -> list[float]:
    """Thresholds that the images of some seeds lie upon."""
    return [float(check_inputs(Steps([]), TRACED, ABOUT, seed)[0].astype(np.float64).mean()) for seed in seeds]


def file_of(model: Steps, *, moved: float = 0.0, added: float = 0.0):
    """What a runtime gives of a model, with images moved by rounding, or with a fault."""

    def session(images, image_sizes):
        session.count += 1
        found = model.export_forward(torch.from_numpy(images).double() + moved, torch.from_numpy(image_sizes))
        return {name: value.numpy() + added for name, value in found.items()}

    session.count = 0
    return session


def test_images_on_which_the_model_decides_by_rounding_say_nothing():
    model = Steps(means_of(range(2)))
    file = file_of(model, moved=1e-9)
    assert check_file(file, model, TRACED, ABOUT, EXACT) == 0
    assert file.count == 3


def test_a_wrong_file_is_refused_whether_the_model_is_sure_or_not():
    for thresholds, count in ((means_of(range(2)), 3), (means_of(range(5)), 5), ([0.0], 1)):
        model = Steps(thresholds)
        file = file_of(model, moved=1e-9, added=1.0)
        with pytest.raises(ValueError, match="The file's values is"):
            check_file(file, model, TRACED, ABOUT, EXACT)
        assert file.count == count
