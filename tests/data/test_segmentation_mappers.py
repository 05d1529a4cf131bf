"""What the mappers for panoptic, semantic and instance labels have in common: image, sizes, errors, randomness."""

import pickle
from itertools import islice

import numpy as np
import pycocotools.mask as mask_codec
import pytest
import torch
from detectron2.data import transforms as T
from PIL import Image

from focalnet_d2.data.loader import build_train_loader
from focalnet_d2.data.mappers import InstanceMapper, PanopticMapper, SemanticMaskMapper
from focalnet_d2.data.segmentation_transforms import ade_crop, lsj
from tests.data.segmentation_files import panoptic_record, save_label

HEIGHT, WIDTH = 12, 16


def make_mapper(kind, is_train=True, augmentations=()):
    if kind == "semantic":
        return SemanticMaskMapper(is_train, augmentations=augmentations, num_classes=3)
    return {"panoptic": PanopticMapper, "instance": InstanceMapper}[kind](is_train, augmentations=augmentations)


@pytest.fixture
def record(tmp_path):
    """One image with all three kinds of labels: class 2 in rows 3..8 and columns 4..9, class 0 around it."""
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    inside[3:9, 4:10] = 1
    record = panoptic_record(tmp_path, np.where(inside, 1000, 77), [(1000, 2, 0), (77, 0, 0)])
    record["sem_seg_file_name"] = save_label(tmp_path / "semantic.png", 2 * inside)
    masks = [inside, 1 - inside]
    record["annotations"] = [
        {"category_id": category, "iscrowd": 0, "segmentation": mask_codec.encode(np.asfortranarray(mask))}
        for category, mask in zip((2, 0), masks, strict=True)
    ]
    return record


KINDS = pytest.mark.parametrize("kind", ["panoptic", "semantic", "instance"])


@KINDS
def test_targets_have_the_agreed_types(kind, record):
    sample = make_mapper(kind)(record)
    instances = sample["instances"]
    assert set(sample) == {"file_name", "image_id", "height", "width", "image", "instances"}
    assert (sample["height"], sample["width"]) == instances.image_size == (HEIGHT, WIDTH)
    assert instances.gt_classes.dtype == torch.int64
    assert instances.gt_masks.tensor.shape == (2, HEIGHT, WIDTH)
    assert instances.gt_masks.tensor.dtype == torch.bool
    assert instances.gt_boxes.tensor.dtype == torch.float32
    thing = instances[instances.gt_classes == 2]
    assert thing.gt_boxes.tensor.tolist() == [[4, 3, 10, 9]]
    assert thing.gt_masks.tensor.sum() == 36
    assert torch.equal(*(~instances.gt_masks.tensor[:1], instances.gt_masks.tensor[1:]))


@KINDS
def test_test_mode_keeps_the_names_of_the_label_files(kind, record):
    sample = make_mapper(kind, False, [T.Resize((6, 8))])(record)
    names = {"sem_seg_file_name", "pan_seg_file_name", "segments_info"}
    assert set(sample) == {"file_name", "image_id", "height", "width", "image"} | names
    assert sample["image"].shape == (3, 6, 8)
    assert (sample["height"], sample["width"]) == (HEIGHT, WIDTH)


@KINDS
@pytest.mark.parametrize("augmentation", [lsj(32), ade_crop(16)])
def test_loader_seeds_every_sample(kind, record, augmentation):
    mapper = make_mapper(kind, augmentations=[augmentation])

    def samples(mapper, seed=3):
        loader = build_train_loader([record] * 4, mapper=mapper, total_batch_size=2, num_workers=0, seed=seed)
        return [sample for batch in islice(loader, 4) for sample in batch]

    first, second, other = samples(mapper), samples(pickle.loads(pickle.dumps(mapper))), samples(mapper, seed=4)
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["instances"].gt_masks.tensor, two["instances"].gt_masks.tensor)
    assert not all(torch.equal(one["image"], two["image"]) for one, two in zip(first, other, strict=True))
    assert len({sample["image"].numpy().tobytes() for sample in first}) > 4


@KINDS
@pytest.mark.parametrize("augmentation", [lsj(32), ade_crop(16)])
def test_padding_is_no_object_and_gray(kind, record, augmentation):
    """Both classes together cover the image, so what no mask covers is padding."""
    mapper, seen = make_mapper(kind, augmentations=[augmentation]), 0
    for seed in range(30):
        np.random.seed(seed)
        sample = mapper(record)
        covered = sample["instances"].gt_masks.tensor.any(dim=0)
        rows, columns = int(covered.any(1).sum()), int(covered.any(0).sum())
        assert covered[:rows, :columns].all(), "the image is in the upper left corner"
        assert (sample["image"][:, ~covered] == 128).all()
        seen += int((~covered).any())
    assert seen > 3


def image_files():
    colors = np.array([[[200, 100, 0], [1, 2, 3]], [[255, 255, 255], [0, 0, 0]]], np.uint8)
    gray = np.array([[0, 50], [100, 255]], np.uint8)
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 200, 100, 0])
    transparent = np.dstack([colors, np.array([[255, 0], [255, 51]], np.uint8)])
    first, second = [10, 20, 30], [200, 100, 0]
    return {
        "8 bit": (Image.fromarray(colors), colors.tolist()),
        "grey": (Image.fromarray(gray), np.repeat(gray[..., None], 3, axis=2).tolist()),
        "16 bit": (Image.fromarray(gray.astype(np.uint16) * 257), np.repeat(gray[..., None], 3, axis=2).tolist()),
        "palette": (palette, [[first, second], [second, first]]),
        "RGBA": (Image.fromarray(transparent), [[[200, 100, 0], [255] * 3], [[255] * 3, [204] * 3]]),
    }


@KINDS
@pytest.mark.parametrize("file", image_files())
def test_every_kind_of_image_file_gives_its_pixels(kind, file, record, tmp_path):
    image, expected = image_files()[file]
    image.save(tmp_path / "image.png")
    (tmp_path / "labels").mkdir()
    record = panoptic_record(tmp_path / "labels", np.ones((2, 2), int), [(1, 1, 0)])
    record["file_name"] = str(tmp_path / "image.png")
    sample = make_mapper(kind)(record)
    assert sample["image"].permute(1, 2, 0).tolist() == expected


@KINDS
def test_float_image_is_refused(kind, record, tmp_path):
    record["file_name"] = str(tmp_path / "image.tif")
    Image.fromarray(np.ones((HEIGHT, WIDTH), np.float32)).save(record["file_name"])
    with pytest.raises(ValueError, match=r"image\.tif has pixels of Pillow's mode 'F'"):
        make_mapper(kind)(record)


@KINDS
def test_bgr(kind, record):
    mapper = make_mapper(kind)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), (1, 2, 3), np.uint8)).save(record["file_name"])
    mapper.image_format = "BGR"
    assert mapper(record)["image"][:, 0, 0].tolist() == [3, 2, 1]


@KINDS
def test_labels_of_another_size_name_both_files(kind, record, tmp_path):
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(record["file_name"])
    message = {
        "panoptic": r"panoptic\.png has 16 x 12 pixels, its image .*image\.png 17 x 12",
        "semantic": r"semantic\.png has 16 x 12 pixels, its image .*image\.png 17 x 12",
        "instance": r"image\.png has a mask of 16 x 12 pixels, but the image has 17 x 12",
    }[kind]
    with pytest.raises(ValueError, match=message):
        make_mapper(kind)(record)
