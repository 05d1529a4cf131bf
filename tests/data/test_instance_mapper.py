"""Instance targets out of polygons, compressed and uncompressed run lengths in one file."""

import json

import numpy as np
import pycocotools.mask as mask_codec
import pytest
from detectron2.data import DatasetCatalog
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, HFlipTransform
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from focalnet_d2.data.annotations.run_lengths import compressed_rle
from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts
from focalnet_d2.data.datasets import register_coco_folder
from focalnet_d2.data.generated.writer import uncompressed_rle
from focalnet_d2.data.mappers import InstanceMapper
from focalnet_d2.data.mappers.instance import draw_polygons as draw_polygons_into
from tests.data.segmentation_files import save_image

HEIGHT, WIDTH = 24, 30
SQUARE = [4.0, 3.0, 10.0, 3.0, 10.0, 8.0, 4.0, 8.0]  # columns 4..9, rows 3..7


def draw_polygons(polygons, size):
    mask = np.zeros(size, bool)
    draw_polygons_into(polygons, mask)
    return mask


def blob(seed):
    return np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.3


def mapped(folder, *segmentations, augmentations=(), drop_empty=True, **more):
    annotations = [
        {"category_id": i, "iscrowd": 0, "segmentation": segmentation, **more}
        for i, segmentation in enumerate(segmentations)
    ]
    record = {"file_name": save_image(folder / "image.png", HEIGHT, WIDTH), "annotations": annotations}
    return InstanceMapper(True, augmentations=augmentations, drop_empty=drop_empty)(record)["instances"]


@pytest.fixture
def mixed_set(tmp_path):
    """A registered COCO file with every kind of mask: (name, what pycocotools reads in it)."""
    kinds = [[SQUARE, [20.5, 2, 28, 9.5, 15, 20]], compressed_rle(blob(1)), uncompressed_rle(blob(2)), [SQUARE]]
    annotations = [
        {"id": i + 1, "image_id": 1, "category_id": i + 1, "iscrowd": 0, "bbox": [0, 0, 9, 9], "area": 50}
        | {"segmentation": kind}
        for i, kind in enumerate(kinds)
    ]
    annotations.append({**annotations[2], "id": 9, "iscrowd": 1})
    content = {
        "images": [{"id": 1, "file_name": "image.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": annotations,
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, 5)],
    }
    save_image(tmp_path / "image.png", HEIGHT, WIDTH)
    (tmp_path / "mixed.json").write_text(json.dumps(content))
    register_coco_folder("mixed", tmp_path / "mixed.json", tmp_path)
    yield "mixed", COCO(tmp_path / "mixed.json")
    DatasetCatalog.remove("mixed")


def test_mixed_file_gives_the_masks_of_pycocotools(mixed_set):
    name, coco = mixed_set
    (record,) = get_segmentation_dataset_dicts(name)
    instances = InstanceMapper(True, augmentations=[])(record)["instances"]
    expected = [coco.annToMask(coco.anns[i]).astype(bool) for i in (1, 2, 3, 4)]
    assert instances.gt_classes.tolist() == [0, 1, 2, 3]
    assert np.array_equal(instances.gt_masks.tensor.numpy(), expected)
    assert instances.gt_boxes.tensor[3].tolist() == [4, 3, 10, 8]


def test_annotation_without_a_mask_is_refused_before_the_training(mixed_set, tmp_path):
    content = json.loads((tmp_path / "mixed.json").read_text())
    content["annotations"][1].pop("segmentation")
    (tmp_path / "mixed.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="mixed has an annotation without a mask on image 1"):
        get_segmentation_dataset_dicts("mixed")
    assert len(get_detection_dataset_dicts("mixed")) == 1


def test_run_lengths_may_come_in_any_of_three_forms(tmp_path):
    mask = blob(3)
    compressed = compressed_rle(mask)
    raw = {**compressed, "counts": compressed["counts"].encode()}
    masks = mapped(tmp_path, compressed, raw, uncompressed_rle(mask)).gt_masks.tensor.numpy()
    assert np.array_equal(masks, [mask] * 3)


def test_crowds_and_objects_outside_the_crop_are_no_targets(tmp_path):
    crop = CropTransform(12, 0, 10, HEIGHT, WIDTH, HEIGHT)
    other = [14.0, 2.0, 40.0, 2.0, 40.0, 6.0, 14.0, 6.0]
    left_half = np.zeros((HEIGHT, WIDTH), bool)
    left_half[:, :12] = True
    instances = mapped(tmp_path, [SQUARE], [other], compressed_rle(left_half), augmentations=[crop])
    assert instances.gt_classes.tolist() == [1]
    assert instances.gt_boxes.tensor.tolist() == [[2, 2, 10, 6]]
    assert len(mapped(tmp_path, [SQUARE], iscrowd=1)) == 0
    kept = mapped(tmp_path, [SQUARE], [other], compressed_rle(left_half), augmentations=[crop], drop_empty=False)
    assert kept.gt_masks.tensor.sum(dim=(1, 2)).tolist() == [0, 32, 0]


def test_image_without_objects(tmp_path):
    instances = mapped(tmp_path, augmentations=[T.Resize((10, 20))])
    assert instances.gt_masks.tensor.shape == (0, 10, 20)
    assert instances.gt_boxes.tensor.shape == (0, 4)


def test_polygons_stay_sharp_when_resized_and_masks_follow_the_same_grid(tmp_path):
    mask = draw_polygons([np.reshape(SQUARE, (-1, 2))], (HEIGHT, WIDTH))
    transforms = [T.ResizeTransform(HEIGHT, WIDTH, 3 * HEIGHT, 3 * WIDTH), HFlipTransform(3 * WIDTH)]
    instances = mapped(tmp_path, [SQUARE], compressed_rle(mask), augmentations=transforms)
    assert instances.gt_boxes.tensor.tolist() == [[60, 9, 78, 24]] * 2
    assert instances.gt_masks.tensor[0].equal(instances.gt_masks.tensor[1])
    triangle = mapped(tmp_path, [[0, 0, 10, 0, 0, 10]], augmentations=transforms[:1]).gt_masks.tensor[0]
    assert [int(row.sum()) for row in triangle[:30]] == [*range(29, -1, -1)], "no steps of three pixels"


@given(
    corners=st.lists(st.lists(st.tuples(*[st.floats(-20, 40)] * 2), min_size=3, max_size=7), min_size=1, max_size=3),
    size=st.tuples(st.integers(1, 25), st.integers(1, 25)),
)
def test_drawing_a_part_of_the_image_gives_what_drawing_all_of_it_gives(corners, size):
    whole = mask_codec.frPyObjects([np.ravel(polygon).tolist() for polygon in corners], *size)
    expected = mask_codec.decode(mask_codec.merge(whole)).astype(bool)
    assert np.array_equal(draw_polygons([np.array(polygon) for polygon in corners], size), expected)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "has no segmentation, only a box"),
        ([], "has no segmentation, only a box"),
        ([[1.0, 2.0, 3.0, 4.0]], "has a polygon that is not a list of three or more pairs"),
        ([[*SQUARE, 5.0]], "has a polygon that is not a list of three or more pairs"),
        ([[float("nan"), *SQUARE[1:]]], "has a polygon .* pairs x, y of finite numbers: .*nan, 3.0"),
        ({"size": [WIDTH, HEIGHT], "counts": [720]}, "has a mask of 24 x 30 pixels, but the image has 30 x 24"),
        ({"size": [HEIGHT, WIDTH], "counts": [20, 30]}, "has run lengths of 50 pixels, but the image has 720"),
    ],
)
def test_damaged_masks_name_the_image(tmp_path, segmentation, message):
    with pytest.raises(ValueError, match=rf"An annotation of .*image\.png {message}"):
        mapped(tmp_path, segmentation)
