"""Images with rare classes come more often, by the rule of LVIS, and by position as all images do."""

from itertools import islice

import numpy as np
import pytest
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.class_presence import classes_of, count_labels, repeat_factors
from focalnet_d2.data.loader import SampleStream, build_train_loader, epoch_order

images = st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=12)


@settings(max_examples=25)
@given(images, st.floats(0.01, 1))
def test_factors_are_detectron2s(classes, threshold):
    records = [{"annotations": [{"category_id": label} for label in shown]} for shown in classes]
    expected = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records, threshold)
    torch.testing.assert_close(torch.from_numpy(repeat_factors(records, threshold)).float(), expected)


def test_every_kind_of_truth_says_its_classes(tmp_path):
    Image.fromarray(np.array([[0, 3, 255], [3, 3, 255]], np.uint8)).save(tmp_path / "labels.png")
    semantic = {"sem_seg_file_name": str(tmp_path / "labels.png")}
    assert classes_of({"annotations": [{"category_id": 4}, {"category_id": 4}]}) == {4}
    assert classes_of({"segments_info": [{"category_id": 2}, {"category_id": 7}], **semantic}) == {2, 7}
    assert classes_of({"class_id": 5}) == {5}
    assert classes_of(semantic) == {0, 3}
    assert count_labels([semantic, semantic], 4, pixels=True).tolist() == [2, 0, 0, 6]
    assert count_labels([semantic, semantic], 4, pixels=False).tolist() == [2, 0, 0, 2]


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValueError, match=r"dataloader\.train\.repeat_threshold is .*: it is a share of the images"):
        repeat_factors([{"class_id": 0}], threshold)


@settings(max_examples=5)
@given(st.lists(st.floats(1, 5), min_size=1, max_size=9), st.integers(0, 99))
def test_images_come_as_often_as_their_factors_say(factors, seed):
    factors = np.array(factors)
    expected = len(factors) * factors / factors.sum()
    epochs = 100
    counts = np.stack([np.bincount(epoch_order(len(factors), seed, epoch, factors), minlength=len(factors))
                       for epoch in range(epochs)])  # fmt: skip
    assert (counts.sum(1) == len(factors)).all()
    assert (counts >= np.floor(expected - 1e-9)).all()
    assert (counts <= np.ceil(expected + 1e-9)).all()
    assert np.abs(counts.mean(0) - expected).max() < 0.5 * 4 / epochs**0.5


def test_equal_factors_show_every_image_once_and_none_are_as_before():
    assert sorted(epoch_order(7, 1, 2, np.full(7, 3.0))) == list(range(7))
    bits = np.random.MT19937(np.random.SeedSequence([1, 2]))
    assert np.array_equal(epoch_order(7, 1, 2), np.random.RandomState(bits).permutation(7))


def test_a_stream_that_goes_on_and_one_of_two_ranks_are_the_whole_one():
    options = dict(total_batch_size=4, seed=3, factors=np.array([1.0, 4.0, 1.0, 2.0, 1.5]))
    whole = list(islice(iter(SampleStream(5, **options)), 9))
    assert list(islice(iter(SampleStream(5, start_iteration=4, **options)), 5)) == whole[4:]
    ranks = [list(islice(iter(SampleStream(5, rank=rank, world_size=2, **options)), 9)) for rank in (0, 1)]
    assert [first + second for first, second in zip(*ranks)] == whole


def test_the_loader_repeats_images_of_rare_classes(caplog):
    caplog.set_level("INFO")
    dataset = [{"class_id": int(index == 0), "index": index} for index in range(16)]
    options = dict(mapper=dict, total_batch_size=16, num_workers=0, seed=0)
    shown = [image["index"] for batch in islice(build_train_loader(dataset, **options, repeat_threshold=0.9), 20)
             for image in batch]  # fmt: skip
    assert shown.count(0) == pytest.approx(20 * 16 * 3.79 / 18.79, abs=20)
    assert "1 of 16, up to 3.79 times as often" in caplog.text
    plain = [image["index"] for batch in islice(build_train_loader(dataset, **options), 20) for image in batch]
    assert plain.count(0) == 20
