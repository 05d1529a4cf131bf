"""Formats of channels, their pictures and their resizing; and the mappers and augmentations that take them."""

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from PIL import Image

from focalnet_d2.data.channel_transforms import transform_channels
from focalnet_d2.data.channels import ChannelFormat, resize_channels
from focalnet_d2.data.classification_transforms import center_crop, crop_channels
from focalnet_d2.data.color_jitter import ColorTransform, SsdColorJitter
from focalnet_d2.data.geometry import Geometry
from focalnet_d2.data.mappers import ClassificationMapper, DetectionMapper
from focalnet_d2.data.segmentation_transforms import lsj
from tests.data.channel_images import channel_format, noise, write_tiff


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": "uint32"}, "type uint32"),
        ({"channels": (0, 5)}, r"no channel \[5\] among 5"),
        ({"channels": ()}, "no channel"),
        ({"mean": (1, 2)}, "must be one for each of 5"),
        ({"std": (1, 1, 0, 1, 1)}, "each std above 0"),
        ({"rgb": (0, 1)}, "must be three of"),
        ({"rgb": (0, 1, 5)}, "must be three of"),
    ],
)
def test_formats_that_say_two_things_are_refused(fields, message):
    plain = {"dtype": "uint16", "stored": 5, "channels": [0, 1, 2, 3, 4], "mean": [0.0] * 5, "std": [1.0] * 5}
    with pytest.raises(ValueError, match=message):
        ChannelFormat(**(plain | fields))


# Pictures


def test_a_picture_is_stretched_from_two_deviations_below_the_mean_to_two_above():
    format_ = channel_format("uint16", 3, mean=(1000,) * 3, std=(100,) * 3)
    values = np.array([[[0, 800, 850], [1000, 1150, 1300]]], np.uint16)
    assert format_.picture(values).tolist() == [[[0, 0, 32], [128, 223, 255]]]


def test_a_picture_shows_red_green_and_blue_where_they_are_known():
    values = noise(4, 5, 4, dtype="uint8")
    assert np.array_equal(channel_format("uint8", 4, rgb=(2, 1, 0)).picture(values), values[..., [2, 1, 0]])
    assert np.array_equal(channel_format("uint8", 4).picture(values), values[..., :3])
    chosen = channel_format("uint8", 8, (7, 3, 2, 1), rgb=(3, 2, 1))
    assert np.array_equal(chosen.picture(values), values[..., 1:])


@pytest.mark.parametrize("count", [1, 2])
def test_a_picture_of_fewer_channels_shows_the_first_in_gray(count):
    values = noise(4, 5, count, dtype="uint8")
    assert np.array_equal(channel_format("uint8", count).picture(values), values[..., [0, 0, 0]])


# Resizing


@pytest.mark.parametrize("size", [(7, 5), (40, 60), (13, 60), (20, 30)])
@pytest.mark.parametrize("resampling", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_eight_bits_are_resized_as_colors_are(size, resampling):
    values = noise(20, 30, 3, dtype="uint8")
    expected = np.asarray(Image.fromarray(values).resize(size[::-1], resampling))
    assert np.array_equal(resize_channels(values, size, resampling), expected)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_other_values_keep_their_type_and_a_constant_image_its_value(dtype):
    values = np.full((20, 30, 5), 1234, dtype)
    values[..., 4] = 32767
    for size in ((7, 5), (40, 60)):
        found = resize_channels(values, size, Image.Resampling.BILINEAR)
        assert found.dtype == values.dtype
        assert np.unique(found.reshape(-1, 5), axis=0).tolist() == [[1234, 1234, 1234, 1234, 32767]]


def test_sixteen_bits_are_resized_like_the_same_image_in_eight():
    values = noise(20, 30, 5, dtype="uint8")
    for size in ((7, 5), (40, 60)):
        eight = resize_channels(values, size, Image.Resampling.BILINEAR).astype(int)
        sixteen = resize_channels(values.astype(np.uint16) * 256, size, Image.Resampling.BILINEAR)
        assert np.abs(sixteen / 256 - eight).max() <= 1  # Pillow's weights of 8 bits are rounded


def test_a_fourth_channel_of_eight_bits_is_no_transparency():
    values = noise(20, 30, 4, dtype="uint8")
    resize = T.ResizeTransform(20, 30, 10, 15)
    found = transform_channels(resize, values, channel_format("uint8", 4))
    expected = np.asarray(Image.fromarray(np.ascontiguousarray(values[..., :3])).resize((15, 10), Image.BILINEAR))
    assert np.array_equal(found[..., :3], expected)
    assert not np.array_equal(resize.apply_image(values)[..., :3], expected)  # which is why it is not used


# Augmentations


def test_padding_is_the_mean_of_each_channel():
    format_ = channel_format("float32", 2, mean=(0.25, 7), std=(1, 1))
    image = np.ones((4, 6, 2), np.float32)
    padded = transform_channels(T.PadTransform(1, 2, 3, 0, 6, 4, 128), image, format_)
    assert padded.shape == (6, 10, 2)
    assert padded[0, 0].tolist() == padded[-1, -1].tolist() == [0.25, 7]
    assert (padded[2:6, 1:7] == 1).all()
    assert padded.sum() == 48 + 36 * 7.25


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_large_scale_jitter_keeps_channels_together_and_their_type(dtype):
    plane = noise(40, 50, 1, dtype=dtype)
    image = np.repeat(plane, 5, axis=2)
    np.random.seed(0)
    for _ in range(5):
        drawn = T.AugmentationList([lsj(32)])(T.AugInput(np.zeros((40, 50, 3), np.uint8)))
        found = transform_channels(drawn, image, channel_format(dtype))
        assert found.shape == (32, 32, 5)
        assert found.dtype == image.dtype
        assert (found == found[..., :1]).all()


def test_of_three_channels_of_eight_bits_geometry_makes_what_it_makes_of_colors():
    image = noise(40, 50, 3, dtype="uint8")
    np.random.seed(0)
    for _ in range(5):
        colors = T.AugInput(image)
        geometry = Geometry([T.RandomFlip(), T.ResizeShortestEdge([20, 60], sample_style="choice")])
        drawn = geometry(colors)
        assert np.array_equal(transform_channels(drawn, image, channel_format("uint8", 3)), colors.image)


def test_brightness_is_in_standard_deviations_and_contrast_a_factor():
    format_ = channel_format("uint16", 2, mean=(100, 1000), std=(57, 570))
    image = np.full((2, 2, 2), (100, 1000), np.uint16)
    change = ColorTransform(brightness=10, contrast=1.5, saturation=0.5, hue=7)
    assert transform_channels(change, image, format_)[0, 0].tolist() == [165, 1650]
    assert transform_channels(ColorTransform(brightness=-32), image, format_)[0, 0].tolist() == [68, 680]
    dark = transform_channels(ColorTransform(brightness=-32), np.zeros_like(image), format_)
    assert dark.max() == 0  # cut off, not turned around


def test_an_augmentation_for_colors_alone_is_refused_by_its_name(tmp_path):
    file = write_tiff(tmp_path / "a.tif", noise(20, 30, 5))
    record = {"file_name": str(file), "height": 20, "width": 30, "annotations": []}
    mapper = DetectionMapper(True, augmentations=[T.RandomContrast(0.5, 1.5)], image_format=channel_format())
    with pytest.raises(ValueError, match="BlendTransform changes 8-bit colors, and not 5 channels of uint16"):
        mapper(record)


# Mappers


@pytest.mark.parametrize(("dtype", "kept"), [("uint8", torch.uint8), ("uint16", torch.float32)])
def test_a_mapper_gives_the_values_of_the_file(tmp_path, dtype, kept):
    values = noise(20, 30, 5, dtype=dtype)
    file = write_tiff(tmp_path / "a.tif", values)
    record = {"file_name": str(file), "height": 20, "width": 30, "annotations": []}
    format_ = channel_format(dtype, 5, (4, 0))
    sample = DetectionMapper(True, augmentations=[SsdColorJitter()], image_format=format_)
    assert sample(record)["image"].shape == (2, 20, 30)
    plain = DetectionMapper(False, augmentations=[], image_format=format_)(record)["image"]
    assert plain.dtype == kept
    assert np.array_equal(plain.numpy(), values[..., [4, 0]].transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_classifier_gets_the_center_of_each_channel(tmp_path, dtype):
    values = noise(20, 30, 5, dtype=dtype)
    mapper = ClassificationMapper(transform=center_crop(16, crop_ratio=1.0), image_format=channel_format(dtype))
    found = mapper({"file_name": str(write_tiff(tmp_path / "a.tif", values))})["image"].numpy()
    expected = resize_channels(values, (16, 24), Image.Resampling.BICUBIC)[:, 4:20].transpose(2, 0, 1)
    assert np.array_equal(found, expected)


def test_a_classifier_of_eight_bits_gets_what_it_gets_of_colors():
    values = noise(20, 30, 3, dtype="uint8")
    transform = center_crop(16)
    assert torch.equal(crop_channels(transform, values), transform(Image.fromarray(values)))
