"""Pipelines of albumentations: image, boxes, masks, ids and classes of pixels stay those of one image."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image

from focalnet_d2.data.albumentations_adapter import Albumentations
from focalnet_d2.data.albumentations_pipeline import read_pipeline
from focalnet_d2.data.annotations.run_lengths import compressed_rle
from focalnet_d2.data.channel_transforms import EightBitsOnlyError, ImageInput
from focalnet_d2.data.channels import ChannelFormat
from focalnet_d2.data.loader import build_train_loader, seeded
from focalnet_d2.data.mappers import (
    BoxAndMaskMapper,
    ClassificationMapper,
    DetectionMapper,
    InstanceMapper,
    PanopticMapper,
    SemanticMaskMapper,
    SemanticSegMapper,
)
from focalnet_d2.data.mappers.base import boxes_around
from focalnet_d2.data.panoptic_png import write_panoptic_ids

A, cv2 = pytest.importorskip("albumentations"), pytest.importorskip("cv2")

HEIGHT, WIDTH = 40, 56
CLASSES = {300: 2, 70000: 0, 5: 2, 65536: 1}  # by segment id; the last is stuff, 5 lies in 300


def moderate():
    """What people put into a pipeline for photographs."""
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.RandomRotate90(p=0.3),
            A.OneOf([A.RandomCrop(30, 32), A.RandomResizedCrop((36, 36)), A.Affine(scale=(0.7, 1.3), p=1)], p=0.7),
            A.Affine(translate_percent=0.1, rotate=(-30, 30), shear=(-5, 5), p=0.5),
            A.Perspective(p=0.3),
            A.ElasticTransform(alpha=10, sigma=5, p=0.3),
            A.CoarseDropout(fill_mask=0, p=0.3),
            A.SomeOf([A.RandomBrightnessContrast(p=1), A.GaussNoise(p=1), A.HueSaturationValue(p=1)], n=2),
        ]
    )


def segment_ids():
    """(H, W): two things, one of them below another, stuff, and void."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[25:, :40] = 65536
    ids[8:30, 6:28] = 300
    ids[12:20, 10:18] = 5
    ids[4:22, 36:50] = 70000
    return ids


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Dataset dict with all kinds of truth about one image, whose pixels are noise."""
    folder, ids = tmp_path_factory.mktemp("scene"), segment_ids()
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    write_panoptic_ids(ids, folder / "ids.png")
    labels = np.full(ids.shape, 255, np.uint8)
    for number, category in CLASSES.items():
        labels[ids == number] = category
    Image.fromarray(labels).save(folder / "labels.png")
    segments = [{"id": number, "category_id": category, "iscrowd": 0} for number, category in CLASSES.items()]
    boxes = boxes_around(np.stack([ids == number for number in CLASSES]))
    annotations = [
        {
            "bbox": box.tolist(), "bbox_mode": BoxMode.XYXY_ABS, "category_id": segment["category_id"], "iscrowd": 0,
            "segmentation": compressed_rle(ids == segment["id"]),
        }
        for box, segment in zip(boxes, segments)
    ]  # fmt: skip
    crowd = annotations[0] | {"iscrowd": 1, "bbox": [0, 0, WIDTH, HEIGHT]}
    return {
        "file_name": str(folder / "image.png"), "height": HEIGHT, "width": WIDTH, "class_id": 3,
        "pan_seg_file_name": str(folder / "ids.png"), "sem_seg_file_name": str(folder / "labels.png"),
        "segments_info": segments, "annotations": [crowd, *annotations],
    }  # fmt: skip


def mapped(mapper, record, seed):
    with seeded(seed):
        return mapper(record)


@pytest.mark.parametrize("part", range(5))
def test_all_targets_agree_in_500_draws_and_no_object_appears(record, part):
    augmentations = [Albumentations(moderate())]
    instance, panoptic = (one(True, augmentations=augmentations) for one in (InstanceMapper, PanopticMapper))
    both, boxes_only = (one(True, augmentations=augmentations) for one in (BoxAndMaskMapper, DetectionMapper))
    semantic, per_pixel = (
        one(True, augmentations=augmentations, num_classes=3) for one in (SemanticMaskMapper, SemanticSegMapper)
    )
    left = 0
    for seed in range(100 * part, 100 * part + 100):
        segments = mapped(panoptic, record, seed)
        masks = segments["instances"].gt_masks.tensor
        shown = masks.flatten(1).any(1)
        left += int(shown.sum())
        assert segments["instances"].gt_classes.tolist() == list(CLASSES.values())
        assert masks.sum(0).max() <= 1  # no pixel has two ids
        objects = mapped(instance, record, seed)
        assert torch.equal(objects["image"], segments["image"])
        assert torch.equal(objects["instances"].gt_masks.tensor, masks[shown])
        assert objects["instances"].gt_classes.tolist() == segments["instances"].gt_classes[shown].tolist()
        tight = torch.from_numpy(boxes_around(masks[shown].numpy()))
        assert torch.equal(objects["instances"].gt_boxes.tensor, tight)
        regions = mapped(both, record, seed)["instances"]
        assert torch.equal(regions.gt_boxes.tensor, torch.from_numpy(boxes_around(regions.gt_masks.tensor.numpy())))
        assert all(any(torch.equal(one, mask) for mask in masks) for one in regions.gt_masks.tensor)
        found = mapped(boxes_only, record, seed)["instances"]
        assert found.image_size == tuple(masks.shape[1:])
        assert len(found) <= len(CLASSES)
        by_class = [masks[segments["instances"].gt_classes == label].any(0) for label in range(3)]
        labels = mapped(per_pixel, record, seed)["sem_seg"]
        assert all(torch.equal(labels == label, mask) for label, mask in enumerate(by_class))
        assert set(labels.unique().tolist()) <= {0, 1, 2, 255}
        classes = mapped(semantic, record, seed)["instances"]
        assert classes.gt_classes.tolist() == [label for label in range(3) if by_class[label].any()]
    assert left > 300  # of at most 400


def test_boxes_without_masks_hold_what_is_left_of_their_objects(record):
    """Warps take boxes by their corners and masks by the nearest pixel, so an edge may be a pixel off."""
    warps = [A.Affine(scale=(0.7, 1.4), rotate=(-30, 30)), A.Perspective(), A.RandomResizedCrop((36, 48))]
    augmentations = [Albumentations(A.Compose([A.HorizontalFlip(), *warps]))]
    boxes_only, masks = (
        DetectionMapper(True, augmentations=augmentations),
        PanopticMapper(True, augmentations=augmentations),
    )
    for seed in range(100):
        found, truth = (mapped(one, record, seed)["instances"] for one in (boxes_only, masks))
        for place in (truth.gt_boxes.area() > 30).nonzero()[:, 0].tolist():
            box = truth.gt_boxes.tensor[place]
            own = found.gt_boxes.tensor[found.gt_classes == truth.gt_classes[place]]
            outside = torch.cat([own[:, :2] - box[:2], box[2:] - own[:, 2:]], 1)
            assert outside.amax(1).amin() <= 1.5


@pytest.mark.parametrize(
    "transform",
    [
        A.HorizontalFlip(p=1), A.VerticalFlip(p=1), A.Transpose(p=1), A.RandomRotate90(p=1), A.D4(p=1),
        A.RandomCrop(20, 30, p=1), A.CenterCrop(20, 30, p=1), A.RandomCropFromBorders(p=1), A.Pad(7, fill=9, p=1),
        A.PadIfNeeded(64, 80, fill=9, fill_mask=255, p=1), A.RandomGridShuffle((3, 3), p=1), A.NoOp(p=1),
        A.CoarseDropout(fill=9, fill_mask=0, p=1), A.GridDropout(fill=9, fill_mask=7, p=1),
        A.PixelDropout(drop_value=9, p=0), A.BBoxSafeRandomCrop(p=1),
        A.Pad(9, border_mode=cv2.BORDER_REFLECT_101, p=1), A.XYMasking(1, 1, 5, 5, fill=9, fill_mask=3, p=1),
    ],
    ids=lambda transform: type(transform).__name__,
)  # fmt: skip
def test_pixels_of_image_and_labels_are_the_same_ones_in_lossless_transforms(transform):
    """Ids are painted into the image; 9 is what a transform fills with."""
    ids = np.random.default_rng(1).integers(10, 250, (HEIGHT, WIDTH), np.uint8)
    augmentation = Albumentations(transform)
    for seed in range(5):
        painted = T.AugInput(np.repeat(ids[..., None], 3, 2), boxes=np.array([[3.0, 4, 20, 30]]))
        with seeded(seed):
            drawn = augmentation(painted)
        labels = drawn.apply_segmentation(ids)
        labels[labels == 255] = 9
        assert np.array_equal(painted.image[..., 0], labels)


def test_boxes_move_exactly_with_flips_and_crops():
    boxes = np.array([[3.25, 4.5, 20.75, 30], [-5, 10, 8, 60], [50, 2, 50, 9]])
    flipped = T.AugInput(np.zeros((HEIGHT, WIDTH, 3), np.uint8), boxes=boxes)
    Albumentations(A.HorizontalFlip(p=1))(flipped)
    expected = [[WIDTH - 20.75, 4.5, WIDTH - 3.25, 30], [WIDTH - 8, 10, WIDTH, HEIGHT], [0, 0, 0, 0]]
    assert np.allclose(flipped.boxes, expected, atol=1e-4)
    cropped = T.AugInput(np.zeros((HEIGHT, WIDTH, 3), np.uint8), boxes=boxes)
    Albumentations(A.Crop(10, 5, 30, 25, p=1))(cropped)
    assert np.allclose(cropped.boxes, [[0, 0, 10.75, 20], [0, 0, 0, 0], [0, 0, 0, 0]], atol=1e-4)
    mirrored = T.AugInput(np.zeros((HEIGHT, WIDTH, 3), np.uint8), boxes=np.array([[2.0, 3, 9, 8]]))
    Albumentations(A.Pad(10, border_mode=cv2.BORDER_REFLECT_101, p=1))(mirrored)  # with three mirror images
    assert np.allclose(mirrored.boxes, [[1, 2, 19, 18]], atol=1.01)


@pytest.mark.parametrize(
    "transform",
    [
        A.Resize(17, 23, p=1), A.Resize(90, 130, p=1), A.LongestMaxSize(20, p=1), A.SmallestMaxSize(70, p=1),
        A.RandomScale((-0.6, -0.5), p=1), A.RandomResizedCrop((16, 16), p=1),
        A.RandomSizedCrop((20, 30), (10, 10), p=1), A.RandomSizedBBoxSafeCrop(15, 15, p=1),
        A.Affine(scale=(0.4, 0.4), p=1), A.Affine(rotate=(20, 40), p=1),
        A.Rotate(p=1), A.SafeRotate(p=1), A.Perspective(p=1), A.ElasticTransform(alpha=20, sigma=6, p=1),
        A.GridDistortion(p=1), A.OpticalDistortion(p=1), A.ThinPlateSpline(p=1), A.PiecewiseAffine(p=1),
        A.CropAndPad(percent=-0.1, p=1), A.GridElasticDeform((3, 3), 4, p=1),
    ],
    ids=lambda transform: type(transform).__name__,
)  # fmt: skip
def test_labels_lie_where_the_image_is(transform):
    """The image is a ramp, so its values say where a pixel came from: on average it is where the label came from."""
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(np.uint8)
    ramp = np.stack([row * 4, column * 4, np.full_like(row, 200)], -1)
    augmentation, differences = Albumentations(transform), []
    for seed in range(8):
        aug_input = T.AugInput(ramp, boxes=np.array([[20.0, 15, 30, 25]]))
        with seeded(seed):
            drawn = augmentation(aug_input)
        inside = (drawn.apply_segmentation(row) < 255) & (aug_input.image[..., 2] == 200)
        moved = np.stack([drawn.apply_segmentation(one)[inside] for one in (row, column)], -1)
        differences.append(aug_input.image[inside][:, :2] / 4 - moved)
    together = np.concatenate(differences)
    scale = max(HEIGHT / aug_input.image.shape[0], 1)  # pixels of the source in one afterwards
    assert len(together) > 500
    assert np.abs(together.mean(0)).max() < 0.2 * scale
    assert np.percentile(np.abs(together), 95) <= 1.2 * scale


def test_images_of_other_channels():
    channels = ChannelFormat("uint8", 5, range(5), mean=[9] * 5, std=[3] * 5)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 5), np.uint8)
    flipped = ImageInput(image, channels)
    Albumentations(A.HorizontalFlip(p=1))(flipped)
    assert np.array_equal(flipped.image, image[:, ::-1])
    with pytest.raises(EightBitsOnlyError, match="images of 8 bits, not float32"):
        Albumentations(A.HorizontalFlip(p=1))(ImageInput(image.astype(np.float32), channels))


def test_two_flips_are_drawn_independently():
    augmentation = Albumentations(A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]))
    corners = np.repeat(np.arange(4, dtype=np.uint8).reshape(2, 2, 1), 3, 2)
    seen = set()
    for _ in range(40):
        aug_input = T.AugInput(corners)
        augmentation(aug_input)
        seen.add(int(aug_input.image[0, 0, 0]))
    assert seen == {0, 1, 2, 3}


def test_classification(record):
    crop = Albumentations(A.Crop(2, 3, 10, 9, p=1))
    mapper = ClassificationMapper(transform=lambda image: torch.from_numpy(np.array(image)))
    sample = mapper.augmented_first(crop)(record)
    assert torch.equal(sample["image"], mapper(record)["image"][3:9, 2:10])
    assert sample["class_id"] == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_loader_sees_the_same_draws(record, workers):
    def batches(start, count):
        loader = build_train_loader(
            [record] * 3, mapper=InstanceMapper(True, augmentations=[T.RandomFlip()]), total_batch_size=2,
            num_workers=workers, seed=7, start_iteration=start, albumentations=A.to_dict(moderate()),
        )  # fmt: skip
        return [sample for _, batch in zip(range(count), loader) for sample in batch]

    whole, resumed = batches(0, 4), batches(2, 2)
    for one, other in zip(whole[4:], resumed, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["instances"].gt_masks.tensor, other["instances"].gt_masks.tensor)
    assert not torch.equal(whole[0]["image"], whole[1]["image"])


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_files_are_the_pipelines_that_were_saved(record, tmp_path, form):
    file = tmp_path / f"pipeline.{form}"
    A.save(moderate(), file, data_format=form)
    written, read = (DetectionMapper(True, augmentations=[Albumentations(one)]) for one in (moderate(), str(file)))
    for seed in range(3):
        assert torch.equal(mapped(written, record, seed)["image"], mapped(read, record, seed)["image"])


def test_limits_of_boxes_count(record):
    limited = A.Compose(
        [A.Crop(0, 0, 40, 40)], bbox_params=A.BboxParams("coco", label_fields=["x"], min_visibility=0.3)
    )
    found = DetectionMapper(True, augmentations=[Albumentations(limited)])(record)["instances"]
    assert found.gt_classes.tolist() == [2, 2, 1]  # of the fourth less than a third is left


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "pipeline.json cannot be read: Expecting property name"),
        ("[1]", "pipeline.json is none that albumentations wrote: it lacks the group transform"),
        (
            {"transform": {"__class_fullname__": "HorizontalFlop"}},
            "names HorizontalFlop, .* did you mean HorizontalFlip",
        ),
        ({"transform": {"__class_fullname__": "os.system", "p": 1}}, "names os.system, which albumentations"),
        ({"transform": {"__class_fullname__": "HorizontalFlip", "p": 1, "q": 2}}, r"Argument\(s\) 'q' are not valid"),
        (
            {"transform": {"__class_fullname__": "RandomCrop", "p": 1, "height": 0, "width": 4}},
            "height Input should be greater than or equal to 1\\.$",
        ),
        ({"transform": {"__class_fullname__": "Lambda", "__name__": "x"}}, "names Lambda, which"),
        ({"transform": {"transforms": [3]}}, "names None"),
    ],
)
def test_files_that_are_no_pipelines(tmp_path, content, message):
    file = tmp_path / "pipeline.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        read_pipeline(str(file))
    assert str(file) in str(error.value)


def test_a_file_that_is_missing():
    with pytest.raises(FileNotFoundError, match=r"augmentations nothing\.json does not exist"):
        read_pipeline("nothing.json")


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (A.MaskDropout(p=1), "MaskDropout of albumentations cannot be used here"),
        (A.Compose([A.OneOf([A.Morphological(p=1)])]), "Morphological of albumentations cannot"),
        (A.Lambda(image=lambda x, **_: x, p=1), "Lambda of albumentations cannot"),
        (A.PixelDropout(mask_drop_value=0), "PixelDropout"),
        (A.CropNonEmptyMaskIfExists(4, 4), "CropNonEmptyMaskIfExists"),
        (A.RandomCrop3D((2, 2, 2)), "RandomCrop3D"),
        (3, "pipeline=3 is no transform"),
    ],
)
def test_transforms_that_cannot_be_used(pipeline, message):
    with pytest.raises(ValueError, match=message):
        Albumentations(pipeline)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (A.Normalize(), "the pipeline makes float32 of uint8 images"),
        (A.ToGray(num_output_channels=1, p=1), r"the pipeline makes an array of shape .* of 3 channels"),
        (A.RandomCrop(400, 400), "cannot be augmented"),
        (A.BBoxSafeRandomCrop(p=1), "BBoxSafeRandomCrop looks at boxes"),
    ],
)
def test_images_that_cannot_be_augmented_are_named(record, pipeline, message):
    with pytest.raises(ValueError, match=message) as error:
        PanopticMapper(True, augmentations=[Albumentations(pipeline)])(record)
    assert record["file_name"] in str(error.value)
