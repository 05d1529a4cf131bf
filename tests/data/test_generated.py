"""The generated data set: repeatable, and labels that agree with each other to the pixel."""

import hashlib
import json
import re

import numpy as np
import pycocotools.mask as mask_codec
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import given, settings
from hypothesis import strategies as st
from panopticapi.utils import rgb2id
from PIL import Image

from focalnet_d2.commands.generate import main
from focalnet_d2.data.generated import (
    SHAPES,
    STUFF,
    STYLES,
    draw_scene,
    generate_dataset,
    get_style,
    register_generated,
)
from focalnet_d2.data.generated.scene import UNLABELLED
from focalnet_d2.data.generated.writer import FIRST_STUFF_ID, uncompressed_rle


def scene_of(seed, style="day", size=(96, 128)):
    return draw_scene(np.random.Generator(np.random.PCG64(seed)), *size, get_style(style))


def load(root, task, split="train"):
    return json.loads((root / "annotations" / f"{task}_{split}.json").read_text())


def pixels(path):
    return np.asarray(Image.open(path))


def folder_hash(root):
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_gives_same_scene_and_another_seed_another(style):
    first, second, other = scene_of(3, style), scene_of(3, style), scene_of(4, style)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.stuff, second.stuff)
    assert first.segments == second.segments
    assert not np.array_equal(first.image, other.image)


def test_same_arguments_give_the_same_files(tmp_path):
    arguments = {"num_train": 3, "num_val": 2, "image_size": (64, 80), "seed": 5}
    first = generate_dataset(tmp_path / "first", **arguments)
    assert folder_hash(first) == folder_hash(generate_dataset(tmp_path / "second", **arguments))
    other_seed = generate_dataset(tmp_path / "third", **{**arguments, "seed": 6})
    assert folder_hash(first) != folder_hash(other_seed)


def test_larger_set_starts_with_the_smaller_one_and_splits_differ(tmp_path):
    arguments = {"num_val": 1, "image_size": (64, 64), "seed": 2}
    small = generate_dataset(tmp_path / "small", num_train=2, **arguments)
    large = generate_dataset(tmp_path / "large", num_train=4, **arguments)
    for name in ("000001.png", "000002.png"):
        assert np.array_equal(pixels(small / "train" / name), pixels(large / "train" / name))
    assert not np.array_equal(pixels(small / "train/000001.png"), pixels(small / "val/000001.png"))


@given(seed=st.integers(0, 2**32), style=st.sampled_from(sorted(STYLES)), height=st.integers(32, 150))
@settings(max_examples=25, deadline=None)
def test_scene_invariants(seed, style, height):
    scene = scene_of(seed, style, (height, 90))
    assert scene.image.shape == (height, 90, 3)
    assert scene.image.dtype == np.uint8
    numbers = [segment.number for segment in scene.segments]
    assert numbers == list(range(1, len(numbers) + 1))
    assert set(np.unique(scene.labels)) - {0} == set(numbers)
    assert set(np.unique(scene.stuff)) <= set(range(UNLABELLED, len(STUFF)))
    assert all(segment.class_name in get_style(style).classes for segment in scene.segments)


def test_scenes_hold_every_kind_of_image():
    scenes = [scene_of(seed, size=(80, 80)) for seed in range(150)]
    assert any(not scene.segments for scene in scenes)
    assert any(segment.is_crowd for scene in scenes for segment in scene.segments)
    assert {segment.class_name for scene in scenes for segment in scene.segments} == set(STYLES["day"].classes)
    sizes = [
        np.sqrt((scene.labels == segment.number).sum())
        for scene in scenes
        for segment in scene.segments
        if not segment.is_crowd
    ]
    assert min(sizes) < 0.12 * 80
    assert max(sizes) > 0.4 * 80
    assert {name for scene in scenes for name in np.unique(scene.stuff)} == set(range(UNLABELLED, len(STUFF)))


@pytest.mark.parametrize("name", SHAPES)
def test_shape_is_negative_inside_only_and_near_its_outline_a_distance(name):
    x, y = (axis.astype(np.float32) for axis in np.meshgrid(np.linspace(-2, 2, 201), np.linspace(-2, 2, 201)))
    distance = SHAPES[name](x, y)
    inside = distance < 0
    assert 0.1 < inside.sum() * 0.02**2 < 3.2
    assert not inside[np.sqrt(x * x + y * y) > 1.2].any()
    slope = np.abs(np.gradient(distance, 0.02)).max(axis=0)[np.abs(distance) < 0.05]
    assert slope.max() < 1.6
    assert np.median(slope) > 0.5


def test_shapes_differ_from_each_other():
    x, y = (axis.astype(np.float32) for axis in np.meshgrid(np.linspace(-1, 1, 81), np.linspace(-1, 1, 81)))
    masks = {name: shape(x, y) < 0 for name, shape in SHAPES.items()}
    for first in masks:
        for second in masks:
            if first < second:
                union = (masks[first] | masks[second]).sum()
                assert (masks[first] & masks[second]).sum() / union < 0.86, (first, second)


@pytest.mark.parametrize("split", ["train", "val"])
def test_panoptic_png_holds_exactly_the_segments_of_its_json(generated_root, split):
    content = load(generated_root, "panoptic", split)
    for annotation in content["annotations"]:
        ids = rgb2id(pixels(generated_root / f"panoptic_{split}" / annotation["file_name"]))
        infos = {info["id"]: info for info in annotation["segments_info"]}
        assert set(np.unique(ids)) - {0} == set(infos)
        for segment_id, info in infos.items():
            mask = ids == segment_id
            assert info["area"] == mask.sum()
            assert info["bbox"] == visible_extent(mask)


def visible_extent(mask):
    rows, columns = np.nonzero(mask)
    left, top = columns.min(), rows.min()
    return [left, top, columns.max() + 1 - left, rows.max() + 1 - top]


def test_instances_are_the_thing_segments_and_their_masks_decode_to_the_visible_pixels(generated_root):
    instances, panoptic = load(generated_root, "instances"), load(generated_root, "panoptic")
    things = {category["id"] for category in panoptic["categories"] if category["isthing"]}
    names = {image["id"]: image["file_name"] for image in instances["images"]}
    crowds = 0
    for annotation in instances["annotations"]:
        encoded = annotation["segmentation"]
        if annotation["iscrowd"]:
            crowds += 1
            assert isinstance(encoded["counts"], list)
            encoded = mask_codec.frPyObjects(encoded, *encoded["size"])
        mask = mask_codec.decode(encoded).astype(bool)
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == visible_extent(mask)
        ids = rgb2id(pixels(generated_root / "panoptic_train" / names[annotation["image_id"]]))
        assert len(np.unique(ids[mask])) == 1
        assert (ids == ids[mask][0]).sum() == mask.sum()
    expected = sum(info["category_id"] in things for a in panoptic["annotations"] for info in a["segments_info"])
    assert len(instances["annotations"]) == expected
    assert crowds > 0
    assert len(names) > len({annotation["image_id"] for annotation in instances["annotations"]}), "no empty image"


def test_semantic_png_is_the_contiguous_class_of_the_panoptic_segment(generated_root):
    content = load(generated_root, "panoptic")
    contiguous = {category["id"]: i for i, category in enumerate(content["categories"])}
    assert [c["id"] for c in content["categories"] if not c["isthing"]] == list(range(FIRST_STUFF_ID, 106))
    for annotation in content["annotations"]:
        ids = rgb2id(pixels(generated_root / "panoptic_train" / annotation["file_name"]))
        expected = np.full(ids.shape, 255)
        for info in annotation["segments_info"]:
            expected[ids == info["id"]] = contiguous[info["category_id"]]
        assert np.array_equal(pixels(generated_root / "semantic_train" / annotation["file_name"]), expected)


def test_image_sizes_vary_within_the_range_and_match_the_json(generated_root):
    sizes = set()
    for image in load(generated_root, "instances")["images"]:
        assert pixels(generated_root / "train" / image["file_name"]).shape == (image["height"], image["width"], 3)
        sizes.update((image["height"], image["width"]))
    assert min(sizes) >= 72
    assert max(sizes) <= 120
    assert len(sizes) > 5


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6))
def test_uncompressed_rle_round_trip(rows):
    mask = np.array(rows)
    encoded = mask_codec.frPyObjects(uncompressed_rle(mask), *mask.shape)
    assert np.array_equal(mask_codec.decode(encoded).astype(bool), mask)


def test_complete_set_with_the_same_arguments_is_kept(tmp_path):
    root = generate_dataset(tmp_path / "set", num_train=1, num_val=1, image_size=(64, 64))
    marker = root / "train" / "000001.png"
    before = marker.stat().st_mtime_ns
    assert generate_dataset(root, num_train=1, num_val=1, image_size=(64, 64)) == root
    assert marker.stat().st_mtime_ns == before


def test_other_arguments_need_overwrite(tmp_path):
    root = generate_dataset(tmp_path / "set", num_train=1, num_val=1, image_size=(64, 64))
    with pytest.raises(ValueError, match=r"set holds .* other parameters \(num_train\).*overwrite"):
        generate_dataset(root, num_train=2, num_val=1, image_size=(64, 64))
    generate_dataset(root, num_train=2, num_val=1, image_size=(64, 64), overwrite=True)
    assert len(list((root / "train").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="photos exists and is not a generated data set"):
        generate_dataset(tmp_path / "photos", num_train=1, num_val=1, overwrite=True)
    assert (tmp_path / "photos" / "mine.txt").read_text() == "keep"


def test_help_names_every_style(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.search(r"list of classes: (.*?) \(", " ".join(capsys.readouterr().out.split()))[1]
    assert set(re.split(r", | or ", listed)) == set(STYLES)


def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("focalnet_d2.data.generated.writer.draw_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_dataset(tmp_path / "set", num_train=1, num_val=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"style": "dusk"}, "no style 'dusk'.*day, night, paper"),
        ({"classes": ("disk", "cube")}, "'cube'.*must be different names out of disk"),
        ({"classes": ("disk", "disk")}, "must be different names"),
        ({"image_size": (80, 64)}, r"image_size=\(80, 64\)"),
        ({"num_train": 0}, "num_train=0"),
    ],
)
def test_bad_arguments(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        generate_dataset(tmp_path / "set", **{"num_train": 1, "num_val": 1, **changed})
    assert list(tmp_path.iterdir()) == []


def test_chosen_classes_are_the_only_ones(tmp_path):
    root = generate_dataset(tmp_path / "set", num_train=6, num_val=1, image_size=(64, 64), classes=("heart", "disk"))
    assert [c["name"] for c in load(root, "instances")["categories"]] == ["heart", "disk"]
    assert {a["category_id"] for a in load(root, "instances")["annotations"]} == {1, 2}


def test_registered_set_loads_through_detectron2(generated_root, tmp_path):
    assert register_generated(generated_root, "drawn") == ("drawn_train", "drawn_val")
    records = DatasetCatalog.get("drawn_train")
    metadata = MetadataCatalog.get("drawn_train")
    assert len(records) == 40
    assert tuple(metadata.thing_classes) == STYLES["day"].classes
    assert metadata.evaluator_type == "coco"
    assert metadata.json_file == str(generated_root / "annotations" / "instances_train.json")
    other = generate_dataset(tmp_path / "set", num_train=1, num_val=1, image_size=(64, 64), classes=("bolt",))
    register_generated(other, "drawn")
    assert len(DatasetCatalog.get("drawn_train")) == 1
    assert MetadataCatalog.get("drawn_train").thing_classes == ["bolt"]


def test_command_writes_the_set_it_names(tmp_path, capsys):
    assert main(["--root", str(tmp_path / "set"), "--train", "2", "--val", "1", "--style", "paper"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'set'}: 2 training and 1 held-out images, style paper\n"
    assert len(list((tmp_path / "set" / "train").iterdir())) == 2
    assert [c["name"] for c in load(tmp_path / "set", "instances")["categories"]] == list(STYLES["paper"].classes)
