"""Batches of images of different size."""

import pytest
import torch

from focalnet_d2.modeling.base import ImageModel, batch_images, output_sizes

MEAN, STD = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1), torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)


def test_images_are_normalized_and_padded_with_zeros():
    inputs = [{"image": torch.full((3, 2, 5), 30, dtype=torch.uint8)}, {"image": torch.zeros(3, 4, 3)}]
    batch, sizes = batch_images(inputs, MEAN, STD, 4)
    assert batch.shape == (2, 3, 4, 8)
    assert sizes == [(2, 5), (4, 3)]
    assert batch[0, :, 0, 0].tolist() == [20.0, 5.0, 0.0]
    assert batch[1, :, 3, 2].tolist() == [-10.0, -10.0, -7.5]
    assert batch[0, :, 2:].abs().sum() == batch[0, :, :, 5:].abs().sum() == batch[1, :, :, 3:].abs().sum() == 0


def test_without_a_divisor_the_largest_image_decides():
    inputs = [{"image": torch.zeros(3, 7, 5)}, {"image": torch.zeros(3, 2, 9)}]
    assert batch_images(inputs, MEAN, STD)[0].shape == (2, 3, 7, 9)


def test_type_is_that_of_the_mean():
    batch, _ = batch_images([{"image": torch.zeros(3, 2, 2, dtype=torch.uint8)}], MEAN.double(), STD.double())
    assert batch.dtype == torch.float64


def test_results_have_the_size_that_is_asked_for():
    inputs = [{"image": torch.zeros(3, 3, 4), "height": 30, "width": 40}, {"image": torch.zeros(3, 5, 6)}]
    assert output_sizes(inputs) == [(30, 40), (5, 6)]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "at least one"),
        ({"image": torch.zeros(3, 4, 4)}, "a list with a dict for each image"),
        ("photo.jpg", "a list with a dict for each image"),
        (torch.zeros(1, 3, 4, 4), "and not a Tensor"),
        ([{"file_name": "photo.jpg"}], "and not a dict"),
        ([{"image": "photo.jpg"}], "and not a str"),
        ([{"image": torch.zeros(4, 5, 3)}], r"and not one of shape \(4, 5, 3\): permute"),
        ([{"image": torch.zeros(3, 0, 5)}], r"and not one of shape \(3, 0, 5\)"),
    ],
)
def test_what_is_no_batch_of_images_is_refused_in_a_sentence(inputs, words):
    with pytest.raises(ValueError, match=words):
        batch_images(inputs, MEAN, STD)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("pixel_std", (0, 0, 0), "pixel_std .* above 0"),
        ("pixel_std", (1, -1, 1), "pixel_std .* above 0"),
        ("pixel_std", (float("nan"), 1, 1), "pixel_std .* a finite number for each"),
        ("pixel_mean", (0, 0), "pixel_mean .* three of red, green and blue"),
        ("pixel_mean", (), "pixel_mean .* a finite number for each"),
        ("pixel_mean", (0, 0, float("inf")), "pixel_mean .* a finite number for each"),
    ],
)
def test_numbers_that_cannot_normalize_are_refused(name, values, message):
    with pytest.raises(ValueError, match=message):
        ImageModel(2, **({"pixel_mean": (0, 0, 0), "pixel_std": (1, 1, 1)} | {name: values}))
