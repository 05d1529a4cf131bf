"""Crops and augmentation of classifiers, and the mapper that uses them."""

import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from focalnet_d2.data.classification_transforms import ImageNetAugmentation, center_crop
from focalnet_d2.data.loader import build_test_loader, build_train_loader, seeded
from focalnet_d2.data.mappers import ClassificationMapper
from tests.data.image_folder import make_image_folder


def ramp(height: int, width: int) -> Image.Image:
    """Red grows from left to right and green from top to bottom, both from 0 to 255."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.stack([np.tile(x, (height, 1)), np.tile(y[:, None], (1, width)), np.zeros((height, width))], axis=2)
    return Image.fromarray(pixels.round().astype(np.uint8))


# Test images


@pytest.mark.parametrize(("size", "resized"), [(224, 256), (384, 438)])
def test_sizes_of_the_published_crops(size, resized):
    assert center_crop(size).transforms[0].size == resized


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (300, 200), (20, 30)])
def test_the_crop_is_the_center_of_the_image(height, width):
    image = center_crop(32, crop_ratio=0.5)(ramp(height, width))  # 64 on the shorter side
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.uint8
    for values, length in ((image[0, 16], width), (image[1, :, 16], height)):
        shown = 255 * 32 / 64 * min(height, width) / length  # share of the ramp inside the crop
        assert float(values[[0, -1]].float().mean()) == pytest.approx(127.5, abs=4)
        assert float(values[-1]) - float(values[0]) == pytest.approx(shown, abs=8)


def test_an_image_of_the_right_size_stays_as_it_is():
    image = ramp(32, 32)
    assert torch.equal(center_crop(32, crop_ratio=1.0)(image), torch.from_numpy(np.array(image)).permute(2, 0, 1))


# Training images


def augmented(seed: int = 0, image=None, **options) -> torch.Tensor:
    with seeded(seed):
        return ImageNetAugmentation(32, **options)(ramp(60, 80) if image is None else image)


def test_augmentation_without_erasing_stays_in_the_range_of_images():
    for seed in range(10):
        image = augmented(seed, erase_prob=0.0)
        assert image.shape == (3, 32, 32)
        assert image.dtype == torch.float32
        torch.testing.assert_close(image, image.round().clamp(0, 255), atol=1e-3, rtol=0)


def test_augmentation_depends_on_the_seed_alone():
    assert torch.equal(augmented(1), augmented(1))
    assert not torch.equal(augmented(1), augmented(2))


def erased(erase_prob: float, count: int) -> torch.Tensor:
    """Grey images in which nothing but erasing changes a value."""
    gray = Image.new("RGB", (40, 40), (90, 90, 90))
    options = dict(auto_augment=None, color_jitter=0.0, erase_prob=erase_prob)
    return torch.stack([augmented(seed, gray, **options) for seed in range(count)])


def test_erased_pixels_are_normal_after_normalization():
    images = erased(1.0, 40)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    changed = (images - 90).abs().amax(1) > 1e-3
    assert 0.02 < changed.float().mean() < 0.34
    noise = (images.permute(0, 2, 3, 1)[changed] - mean) / std  # (pixels, 3)
    torch.testing.assert_close(noise.mean(0), torch.zeros(3), atol=0.08, rtol=0)
    torch.testing.assert_close(noise.std(0), torch.ones(3), atol=0.08, rtol=0)


def test_a_quarter_of_the_images_is_erased():
    changed = (erased(0.25, 80) - 90).abs().amax((1, 2, 3)) > 1
    assert 8 < int(changed.sum()) < 34


def test_color_jitter_steps_back_for_an_automatic_augmentation():
    names = [
        [type(step).__name__ for step in ImageNetAugmentation(32, auto_augment=policy)._transform.transforms]
        for policy in ("rand-m9-mstd0.5-inc1", None)
    ]
    assert ("RandAugment" in names[0], "ColorJitter" in names[0]) == (True, False)
    assert ("RandAugment" in names[1], "ColorJitter" in names[1]) == (False, True)


def test_augmentation_without_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.data", None)
    with pytest.raises(ImportError, match=r"pip install focalnet-d2\[classification\]"):
        ImageNetAugmentation(32)


# The mapper


def record(folder, name="ant", class_id=3) -> dict:
    make_image_folder(folder, {name: 1})
    return {"file_name": str(folder / name / "0.png"), "image_id": f"{name}/0.png", "class_id": class_id}


def test_the_mapper_adds_the_image_and_keeps_the_rest(tmp_path):
    source = record(tmp_path)
    sample = ClassificationMapper(transform=center_crop(32))(source)
    assert {key: sample[key] for key in source} == source
    assert "image" not in source
    assert sample["image"].shape == (3, 32, 32)
    blue_first = ClassificationMapper(transform=center_crop(32), image_format="BGR")(source)
    assert torch.equal(blue_first["image"], sample["image"].flip(0))


@pytest.mark.parametrize("transform", [center_crop(32), ImageNetAugmentation(32)], ids=("test", "train"))
def test_mappers_travel_to_worker_processes(tmp_path, transform):
    mapper, source = ClassificationMapper(transform=transform), record(tmp_path)
    with seeded(5):
        expected = mapper(source)["image"]
    with seeded(5):
        assert torch.equal(pickle.loads(pickle.dumps(mapper))(source)["image"], expected)


def test_loaders_take_images_without_instances(tmp_path):
    records, mapper = [record(tmp_path)] * 3, ClassificationMapper(transform=ImageNetAugmentation(32))
    batch = next(iter(build_train_loader(records, mapper=mapper, total_batch_size=2, num_workers=0)))
    assert [sample["class_id"] for sample in batch] == [3, 3]
    assert not torch.equal(batch[0]["image"], batch[1]["image"])  # each position has its own augmentation
    assert len(list(build_test_loader(records, mapper=mapper, num_workers=0))) == 3
