"""Preprocessing with numpy and Pillow gives the pixels of the test mappers, bit for bit."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.classification_transforms import center_crop
from focalnet_d2.data.mappers import ClassificationMapper, DetectionMapper
from focalnet_d2.export.describing import steps_of
from focalnet_d2.export.preprocessing import apply_steps, batch_of, fit_into

MAPPERS = {
    "shortest edge": DetectionMapper(False, augmentations=[T.ResizeShortestEdge(48, 80)]),
    "larger": DetectionMapper(False, augmentations=[T.ResizeShortestEdge([97, 97], 133)]),
    "fixed": DetectionMapper(False, augmentations=[T.Resize((33, 21))]),
    "as it is": DetectionMapper(False, augmentations=[]),
    "crop": ClassificationMapper(transform=center_crop(24, crop_ratio=0.875)),
    "whole": ClassificationMapper(transform=center_crop(31, crop_ratio=1.0)),
}


@pytest.mark.parametrize("mapper", MAPPERS.values(), ids=MAPPERS)
@given(height=st.integers(3, 150), width=st.integers(3, 150), seed=st.integers(0, 9))
@settings(max_examples=25)
def test_steps_are_the_mappers(mapper, height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    expected = mapper.image_tensor(image, "image").numpy().transpose(1, 2, 0)
    assert np.array_equal(apply_steps(image, steps_of(mapper), "image"), expected)


def test_what_no_file_can_describe_is_named():
    for augmentation in (T.RandomFlip(), T.ResizeShortestEdge([40, 50], 80, sample_style="choice")):
        with pytest.raises(ValueError, match="which an exported file cannot describe"):
            steps_of(DetectionMapper(False, augmentations=[augmentation]))


def test_thin_images_and_unknown_steps():
    steps = steps_of(MAPPERS["shortest edge"])
    with pytest.raises(ValueError, match="a.png of 1000 x 1 pixels cannot be resized"):
        apply_steps(np.zeros((1, 1000, 3), np.uint8), steps, "a.png")
    with pytest.raises(ValueError, match="'turn' is unknown"):
        apply_steps(np.zeros((4, 4, 3), np.uint8), [{"name": "turn"}], "a.png")


@given(height=st.integers(1, 90), width=st.integers(1, 90))
@settings(max_examples=30)
def test_images_fit_into_a_fixed_size(height, width):
    fitted = fit_into(np.zeros((height, width, 3), np.uint8), (40, 30))
    assert fitted.shape[0] <= 40
    assert fitted.shape[1] <= 30
    if height <= 40 and width <= 30:
        assert fitted.shape == (height, width, 3)


def test_batches_are_padded_right_and_below():
    images = [np.full((2, 3, 3), value, np.uint8) for value in (1, 2)]
    batch, sizes = batch_of(images, (4, 5))
    assert batch.shape == (2, 3, 4, 5)
    assert (batch[1, :, :2, :3] == 2).all()
    assert batch.sum() == 3 * 6 * 3
    assert sizes.tolist() == [[2, 3], [2, 3]]
