"""Label maps as targets: pixel by pixel behind the augmentations, which may look at them."""

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, PadTransform

from focalnet_d2.data.mappers import SemanticSegMapper
from focalnet_d2.data.segmentation_transforms import ade_crop, mmseg_crop
from tests.data.segmentation_files import panoptic_record, save_image, save_label

LABELS = [[2, 2, 255, 0], [2, 1, 255, 0]]


@pytest.fixture
def record(tmp_path):
    return make_record(tmp_path, LABELS)


def make_record(folder, labels, dtype=np.uint8):
    record = {"file_name": save_image(folder / "image.png", len(labels), len(labels[0])), "image_id": "a"}
    return {**record, "sem_seg_file_name": save_label(folder / "labels.png", labels, dtype)}


def mapped(record, *augmentations, num_classes=3, **arguments):
    return SemanticSegMapper(True, augmentations=augmentations, num_classes=num_classes, **arguments)(record)


def test_training_gets_the_labels_and_no_file_names(record):
    sample = mapped(record)
    assert set(sample) == {"file_name", "image_id", "height", "width", "image", "sem_seg"}
    assert sample["sem_seg"].dtype == torch.int64
    assert sample["sem_seg"].tolist() == LABELS
    assert sample["image"].shape == (3, 2, 4)


def test_labels_follow_the_image(record):
    sample = mapped(record, T.RandomFlip(1.0), T.Resize((4, 8)), CropTransform(2, 0, 4, 2, 8, 4))
    assert sample["sem_seg"].tolist() == [[255, 255, 2, 2], [255, 255, 2, 2]]
    assert sample["image"].shape == (3, 2, 4)


def test_padding_with_255_is_ignored_whatever_the_ignored_label(tmp_path):
    record = make_record(tmp_path, [[300, 65535]], np.uint16)
    pad = PadTransform(0, 0, 1, 0, orig_w=2, orig_h=1, pad_value=128, seg_pad_value=255)
    sample = mapped(record, pad, num_classes=301, ignore_label=65535)
    assert sample["sem_seg"].tolist() == [[300, 65535, 65535]]


def test_panoptic_labels_do_as_well(tmp_path):
    record = panoptic_record(tmp_path, [[9, 9, 500], [0, 70000, 500]], [(9, 2, 0), (500, 0, 0), (70000, 2, 1)])
    assert mapped(record)["sem_seg"].tolist() == [[2, 2, 0], [255, 2, 0]]


def test_augmentations_see_the_labels_as_they_are_by_then(record):
    seen = []

    class Look(T.Augmentation):
        def get_transform(self, image, sem_seg):
            seen.append(sem_seg.tolist())
            return T.NoOpTransform()

    mapped(record, CropTransform(0, 0, 2, 2, 4, 2), Look())
    assert seen == [[[2, 2], [2, 1]]]


def test_evaluation_reads_no_labels_and_keeps_the_file_name(record):
    record = {**record, "sem_seg_file_name": "nowhere.png"}
    sample = SemanticSegMapper(False, augmentations=[T.Resize((1, 2))], num_classes=3)(record)
    assert set(sample) == {"file_name", "image_id", "height", "width", "image", "sem_seg_file_name"}
    assert (sample["height"], sample["width"]) == (2, 4)


def test_labels_that_are_no_classes_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"labels\.png holds the labels 3; allowed are 0 to 2 and 255"):
        mapped(make_record(tmp_path, [[0, 3]]))


@pytest.mark.parametrize("augmentation", [mmseg_crop(16), ade_crop(16)])
def test_the_published_augmentations_run(tmp_path, augmentation):
    labels = np.random.default_rng(0).integers(0, 3, (20, 30), np.uint8)
    sample = mapped(make_record(tmp_path, labels.tolist()), augmentation)
    assert sample["sem_seg"].shape == sample["image"].shape[1:]
    assert set(sample["sem_seg"].unique().tolist()) <= {0, 1, 2, 255}
