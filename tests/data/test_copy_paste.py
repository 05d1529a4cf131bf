"""Objects of other images are pasted: pixels, masks and boxes, what is hidden, and what the seed decides."""

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image

from focalnet_d2.data.annotations.run_lengths import compressed_rle
from focalnet_d2.data.copy_paste import CopyPaste
from focalnet_d2.data.loader import build_train_loader, seeded
from focalnet_d2.data.mappers import (
    BoxAndMaskMapper,
    DetectionMapper,
    InstanceMapper,
    PanopticMapper,
    SemanticMaskMapper,
)
from focalnet_d2.data.mappers.base import boxes_around
from focalnet_d2.data.panoptic_png import write_panoptic_ids

SIZE = 24
STUFF = 9  # its class; things have 10 times the number of their image and their own number


def scene(folder, number):
    """A dataset dict with boxes, masks and segments: the values of the pixels say image and object (0: stuff)."""
    rng = np.random.default_rng(number)
    objects = np.zeros((SIZE, SIZE), np.int32)
    for place in range(1, 4):
        top, left = rng.integers(0, SIZE - 9, 2)
        objects[top : top + rng.integers(3, 10), left : left + rng.integers(3, 10)] = place
    pixels = (10 * number + objects).astype(np.uint8)
    Image.fromarray(np.repeat(pixels[..., None], 3, 2)).save(folder / f"{number}.png")
    write_panoptic_ids(objects + 1, folder / f"{number}_ids.png")
    found = [place for place in range(1, 4) if (objects == place).any()]
    boxes = boxes_around(np.stack([objects == place for place in found]))
    annotations = [
        {
            "bbox": box.tolist(), "bbox_mode": BoxMode.XYXY_ABS, "category_id": 10 * number + place, "iscrowd": 0,
            "segmentation": compressed_rle(objects == place),
        }
        for place, box in zip(found, boxes)
    ]  # fmt: skip
    things = [{"id": p + 1, "category_id": 10 * number + p, "iscrowd": 0, "isthing": True} for p in found]
    stuff = {"id": 1, "category_id": STUFF, "iscrowd": 0, "isthing": False}
    common = {"file_name": str(folder / f"{number}.png"), "image_id": number, "height": SIZE, "width": SIZE}
    segments = {"pan_seg_file_name": str(folder / f"{number}_ids.png"), "segments_info": [stuff, *things]}
    return common | {"annotations": annotations}, common | segments


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Instances and panoptic dicts of six images."""
    folder = tmp_path_factory.mktemp("scenes")
    return tuple(zip(*(scene(folder, number) for number in range(1, 7))))


def samples(records, mapper, count, *, start=0, workers=0, seed=3, **settings):
    loader = build_train_loader(
        list(records),
        mapper=mapper,
        total_batch_size=2,
        seed=seed,
        start_iteration=start,
        num_workers=workers,
        **settings,
    )
    return [sample for _, batch in zip(range(count), loader) for sample in batch]


def same(one, other):
    instances, others = one["instances"].get_fields(), other["instances"].get_fields()
    assert instances.keys() == others.keys()
    return torch.equal(one["image"], other["image"]) and all(
        torch.equal(getattr(value, "tensor", value), getattr(others[name], "tensor", others[name]))
        for name, value in instances.items()
    )


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_every_pixel_belongs_to_the_object_that_it_shows(scenes, kind):
    """Values of pixels are the classes of things; the stuff of a panoptic image is what no thing covers."""
    mapper_class, records = (InstanceMapper, scenes[0]) if kind == "instances" else (PanopticMapper, scenes[1])
    mapper, pasted = mapper_class(True, augmentations=[T.RandomFlip()]), 0
    for sample in samples(records, mapper, 40, copy_paste=1.0):
        instances, shown = sample["instances"], sample["image"][0].long()
        classes, masks = instances.gt_classes, instances.gt_masks.tensor
        things = classes != STUFF
        assert masks.sum(0).max() <= 1
        for label, mask in zip(classes[things], masks[things], strict=True):
            assert mask.any()
            assert (shown[mask] == label).all()
        own = 10 * sample["image_id"]
        assert torch.equal(masks[things].any(0), shown != own)  # all the rest is background of the image below
        if kind == "panoptic":
            assert torch.equal(masks[~things].any(0), shown == own)
        assert np.array_equal(instances.gt_boxes.tensor, boxes_around(masks.numpy()))
        pasted += bool(((classes[things] // 10) != sample["image_id"]).any())
    assert pasted > 50  # of 80: an image may be drawn for itself


def test_the_image_below_is_the_one_without_copy_paste(scenes):
    mapper = PanopticMapper(True, augmentations=[T.RandomFlip()])
    for plain, pasted in zip(
        samples(scenes[1], mapper, 10), samples(scenes[1], mapper, 10, copy_paste=1.0), strict=True
    ):
        assert plain["image_id"] == pasted["image_id"]
        changed = (plain["image"] != pasted["image"]).any(0)
        things = pasted["instances"].gt_classes != STUFF
        assert not (changed & ~pasted["instances"].gt_masks.tensor[things].any(0)).any()


def test_probability(scenes):
    mapper = InstanceMapper(True, augmentations=[])
    plain, never, half = (
        samples(scenes[0], mapper, 50, **more) for more in ({}, {"copy_paste": 0}, {"copy_paste": 0.5})
    )
    assert all(map(same, plain, never))
    assert 25 <= sum(map(same, plain, half)) <= 75


@pytest.mark.parametrize("workers", [0, 1])
def test_seed_and_position_decide_everything(scenes, workers):
    mapper = InstanceMapper(True, augmentations=[T.RandomFlip()])
    settings = {"copy_paste": 0.7, "repeat_threshold": 0.5}
    whole = samples(scenes[0], mapper, 6, **settings)
    resumed = samples(scenes[0], mapper, 3, start=3, workers=workers, **settings)
    assert all(map(same, whole[6:], resumed))
    assert not all(map(same, whole, samples(scenes[0], mapper, 6, seed=4, **settings)))


def test_boxes_of_detectors_are_those_of_what_is_visible(scenes):
    boxes, masks = (one(True, augmentations=[]) for one in (DetectionMapper, BoxAndMaskMapper))
    for with_boxes, with_masks in zip(
        *(samples(scenes[0], one, 10, copy_paste=1.0) for one in (boxes, masks)), strict=True
    ):
        assert not with_boxes["instances"].has("gt_masks")
        assert torch.equal(with_boxes["image"], with_masks["image"])
        tight = boxes_around(with_masks["instances"].gt_masks.tensor.numpy())
        assert np.array_equal(with_boxes["instances"].gt_boxes.tensor, tight)
        assert with_boxes["instances"].gt_classes.tolist() == with_masks["instances"].gt_classes.tolist()


@pytest.mark.parametrize("sizes", [((10, 12), (24, 24)), ((24, 24), (10, 30))])
def test_images_of_other_sizes(scenes, sizes):
    below, above = (CopyPaste(InstanceMapper(True, augmentations=[T.Resize(size)]), 1.0) for size in sizes)
    for seed in range(10):
        with seeded(seed):
            objects = above.draw_objects(scenes[0][seed % 6])
            sample = below.paste(scenes[0][(seed + 1) % 6], objects)
        assert sample["image"].shape[1:] == sizes[0]
        masks = sample["instances"].gt_masks.tensor
        assert masks.sum(0).max() <= 1
        assert masks.flatten(1).any(1).all()


def test_hidden_objects_are_gone_and_empty_ones_stay_as_their_mapper_has_them(scenes):
    pasting = CopyPaste(PanopticMapper(True, augmentations=[]), 1.0)
    plain = pasting.mapper(scenes[1][0])["instances"]
    covering = plain.gt_masks.tensor[1:2], [77]
    sample = pasting.paste(scenes[1][0], (torch.full((3, SIZE, SIZE), 200, dtype=torch.uint8), *covering))
    assert sample["instances"].gt_classes.tolist() == [*plain.gt_classes[[0, *range(2, len(plain))]].tolist(), 77]
    assert (sample["image"][:, plain.gt_masks.tensor[1]] == 200).all()
    absent = CopyPaste(PanopticMapper(True, augmentations=[T.CropTransform(0, 0, 1, 1)]), 1.0)
    nothing = torch.zeros(3, 1, 1, dtype=torch.uint8), torch.zeros(0, 1, 1, dtype=torch.bool), []
    assert len(absent.paste(scenes[1][0], nothing)["instances"]) == len(plain)


@pytest.mark.parametrize("mapper", [DetectionMapper, BoxAndMaskMapper])
def test_a_box_that_holds_no_pixel_of_its_mask_stays(scenes, mapper):
    tiny = {
        "bbox": [2.1, 2.1, 2.4, 2.4], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 5,
        "segmentation": [[2.1, 2.1, 2.4, 2.1, 2.4, 2.4]],
    }  # fmt: skip
    pasting = CopyPaste(mapper(True, augmentations=[]), 1.0)
    sample = pasting.paste(scenes[0][0] | {"annotations": [tiny]}, pasting.draw_objects(scenes[0][1]))
    assert sample["instances"].gt_classes[0] == 5
    assert np.allclose(sample["instances"].gt_boxes.tensor[0], tiny["bbox"])
    assert (sample["instances"].gt_boxes.area() > 0).all()


def test_images_drawn_for_pasting_follow_the_repeat_factors():
    pasting = CopyPaste(InstanceMapper(True, augmentations=[]), 1.0, np.array([1.0, 3.0, 0.0]))
    drawn = np.bincount([pasting.draw_source(3) for _ in range(400)], minlength=3)
    assert drawn[2] == 0
    assert 250 < drawn[1] < 350


def test_what_cannot_be_pasted_is_refused(scenes):
    bare = [
        scenes[0][0]
        | {"annotations": [{k: v for k, v in scenes[0][0]["annotations"][0].items() if k != "segmentation"}]}
    ]
    boxes = DetectionMapper(True, augmentations=[])
    with pytest.raises(ValueError, match=r"pastes objects with their masks, and .*1\.png has objects with a box alone"):
        samples(bare, boxes, 1, copy_paste=0.5)
    with pytest.raises(ValueError, match="the SemanticMaskMapper of this recipe makes none: leave it off"):
        samples(scenes[1], SemanticMaskMapper(True, augmentations=[], num_classes=80), 1, copy_paste=0.5)
    with pytest.raises(ValueError, match=r"copy_paste=1\.5 must be a probability from 0 to 1"):
        samples(scenes[0], boxes, 1, copy_paste=1.5)
