"""Means and standard deviations of channels, counted image by image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data import channel_statistics as module
from focalnet_d2.data.channel_statistics import ChannelStatistics, channel_statistics, rounded
from tests.data.channel_images import noise, write_tiff

SIZES = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=5)


@settings(max_examples=60)
@given(SIZES, st.integers(1, 6), st.sampled_from(["uint8", "uint16", "int16", "float32"]), st.integers(1, 40))
def test_numbers_are_those_of_numpy_over_all_pixels(sizes, count, dtype, chunk):
    images = {str(seed): noise(*size, count, dtype=dtype, seed=seed) for seed, size in enumerate(sizes)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        found = channel_statistics(list(images), read=images.__getitem__)
    pixels = np.concatenate([image.reshape(-1, count) for image in images.values()]).astype(np.float64)
    assert (found.count, found.images, found.dtype) == (len(pixels), len(images), dtype)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-10, atol=1e-10)
    assert np.array_equal(found.low, pixels.min(axis=0))
    assert np.array_equal(found.high, pixels.max(axis=0))


def test_a_small_spread_around_a_large_mean_is_not_lost():
    values = (65000 + np.arange(4)).astype(np.uint16).reshape(2, 2, 1)
    found = channel_statistics(["a"] * 50, read=lambda _: values)
    assert found.std[0] == pytest.approx(np.arange(4).std(), rel=1e-12)


def test_of_many_images_some_are_read_from_all_over():
    read = []
    files = [str(number) for number in range(1000)]
    channel_statistics(files, 5, lambda name: read.append(int(name)) or noise(2, 2, 1))
    assert sorted(read) == [0, 249, 499, 749, 999]


def test_images_of_two_kinds_are_refused_with_one_of_each(tmp_path):
    files = [
        write_tiff(tmp_path / "a.tif", noise(4, 4, 5)),
        write_tiff(tmp_path / "b.tif", noise(4, 4, 4, dtype="uint8")),
    ]
    with pytest.raises(ValueError, match=r"a\.tif has 5 channels of uint16, and .*b\.tif has 4 channels of uint8"):
        channel_statistics(list(map(str, files)))


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match=r"one\.tif has pixels that are NaN"):
        ChannelStatistics.of_image(np.array([[[0.0, np.nan]]], np.float32), "one.tif")


def test_the_words_have_all_numbers():
    values = np.array([[[0, 10], [4, 30]]], np.uint16)
    assert str(ChannelStatistics.of_image(values, "")) == (
        "2 channels of uint16; values 0 to 4, 10 to 30; means [2.0, 20.0]; standard deviations [2.0, 10.0]"
    )
    assert rounded(np.array([1234.5678, 0.00012345678])) == [1234.57, 0.000123457]
