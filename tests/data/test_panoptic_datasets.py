"""Data sets in COCO's panoptic format: any category ids, complete metadata, and a clear word on damaged files."""

import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts, load_dataset
from focalnet_d2.data.datasets.custom import (
    datasets_root,
    register_custom,
    register_panoptic_folder,
    register_panoptic_split,
)
from focalnet_d2.data.generated import register_generated
from focalnet_d2.data.panoptic_labels import read_panoptic_ids, semantic_from_panoptic
from focalnet_d2.data.semantic_labels import read_semantic_labels
from tests.data.segmentation_files import CATEGORIES, save_label, write_panoptic_set


@pytest.fixture
def registered(tmp_path):
    """Registers the small set, damaged by `change`, as "small_panoptic"."""

    def register(change=lambda content: None, **arguments):
        return register_panoptic_folder("small_panoptic", *write_panoptic_set(tmp_path, change=change), **arguments)

    yield register
    DatasetCatalog.remove("small_panoptic")


def test_records_have_contiguous_classes_things_first(registered, tmp_path):
    first, second = get_segmentation_dataset_dicts(registered())
    assert (first["image_id"], second["image_id"]) == (1, 3)
    assert first["file_name"] == str(tmp_path / "photos" / "photo_1.png")
    assert first["pan_seg_file_name"] == str(tmp_path / "ids" / "1.png")
    assert (first["height"], first["width"]) == (2, 3)
    assert first["segments_info"] == [
        {"id": 9, "category_id": 0, "isthing": True, "iscrowd": 1},
        {"id": 8, "category_id": 2, "isthing": False, "iscrowd": 0},
    ]
    assert [segment["category_id"] for segment in second["segments_info"]] == [1, 3]
    assert "sem_seg_file_name" not in first


def test_metadata_come_with_the_first_use(registered):
    metadata = MetadataCatalog.get(registered(instances_json="instances.json"))
    assert metadata.get("thing_classes") is None
    load_dataset("small_panoptic")
    assert metadata.thing_classes == metadata.stuff_classes == ["dog", "car", "sea", "sky"]
    assert metadata.thing_dataset_id_to_contiguous_id == {7: 0, 90: 1}
    assert metadata.stuff_dataset_id_to_contiguous_id == {7: 0, 90: 1, 12: 2, 40: 3}
    assert (metadata.label_divisor, metadata.ignore_label) == (1000, 255)
    assert (metadata.evaluator_type, metadata.json_file) == ("coco_panoptic_seg", "instances.json")
    assert len(set(map(tuple, metadata.thing_colors))) == 4
    assert metadata.stuff_colors == metadata.thing_colors
    assert len(load_dataset("small_panoptic")) == 2, "a second use finds its own metadata"


def test_registered_categories_give_their_order_and_complete_metadata_at_once(registered):
    categories = [{**category, "color": (i, 2, 3)} for i, category in enumerate(CATEGORIES)]
    metadata = MetadataCatalog.get(registered(categories=categories))
    assert metadata.stuff_classes == ["sky", "dog", "car", "sea"]
    assert metadata.thing_dataset_id_to_contiguous_id == {7: 1, 90: 2}
    assert metadata.thing_colors == metadata.stuff_colors == [[0, 2, 3], [1, 2, 3], [2, 2, 3], [3, 2, 3]]
    classes = [[s["category_id"] for s in record["segments_info"]] for record in load_dataset("small_panoptic")]
    assert classes == [[1, 3], [2, 0]]


def test_semantic_files_are_named_only_where_their_folder_exists(registered, tmp_path):
    name = registered(sem_seg_root=tmp_path / "semantic")
    assert all("sem_seg_file_name" not in record for record in load_dataset(name))
    (tmp_path / "semantic").mkdir()
    save_label(tmp_path / "semantic" / "3.png", [[1, 1, 3]])
    with pytest.raises(
        FileNotFoundError, match=r"The semantic PNG .*semantic/1\.png does not exist \(1 of 2 are missing"
    ):
        load_dataset(name)
    save_label(tmp_path / "semantic" / "1.png", [[1, 1, 3]])
    assert load_dataset(name)[1]["sem_seg_file_name"] == str(tmp_path / "semantic" / "3.png")


def test_images_with_nothing_but_crowds_count_as_empty(registered):
    name = registered(lambda content: content["annotations"][1]["segments_info"].pop())
    assert [record["image_id"] for record in get_segmentation_dataset_dicts(name, filter_empty=True)] == [3]
    assert [record["image_id"] for record in get_segmentation_dataset_dicts(name, limit=1)] == [3]
    assert [record["image_id"] for record in get_segmentation_dataset_dicts(name, image_ids=[3, 1])] == [3, 1]


def segment(content):
    return content["annotations"][0]["segments_info"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["categories"].append(CATEGORIES[0]), "categories with the same id: 40"),
        (
            lambda c: c["categories"].append({"id": 1, "name": "sky", "isthing": 0}),
            "categories with the same name: 'sky'",
        ),
        (lambda c: c["categories"].append({"id": 1, "name": "cat"}), "categories without isthing: 1 of 5, entries 4"),
        (lambda c: c["categories"][0].pop("id"), "categories without id: 1 of 4, entries 0"),
        (lambda c: c["categories"][0].update(name=None), "categories: 40 has the name None, which is no text"),
        (lambda c: c["categories"][0].update(isthing="no"), "categories: 'sky' has isthing 'no'; write 1 for"),
        (lambda c: c["categories"].clear(), "categories are none"),
        (
            lambda c: segment(c).update(category_id=41),
            "image 3: segment 300 has the unknown category id 41; .* 7, 12, 40",
        ),
        (lambda c: segment(c).update(category_id="90"), "image 3: segment 300 has the category id '90', but the cate"),
        (lambda c: segment(c).update(category_id=[90]), r"image 3: segment 300 has the unknown category id \[90\]"),
        (lambda c: segment(c).pop("category_id"), "image 3: segment 300 has no category_id"),
        (lambda c: segment(c).update(id=70000), "image 3: segments with the same id: 70000"),
        (lambda c: segment(c).update(id=0), "image 3: the segment id 0 must be a whole number from 1 to 16777215"),
        (lambda c: segment(c).update(id=2**24), "the segment id 16777216 must be a whole number from 1 to 16777215"),
        (lambda c: segment(c).update(id="300"), "image 3: the segment id '300' must be a whole number"),
        (lambda c: segment(c).pop("id"), "image 3: the segment id None must be a whole number"),
        (lambda c: segment(c).update(area="4"), "image 3: segment 300 has the area '4', which has no meaning"),
        (lambda c: segment(c).update(area=float("nan")), "image 3: segment 300 has the area nan"),
        (lambda c: segment(c).update(iscrowd="no"), "image 3: segment 300 has the iscrowd 'no'"),
        (lambda c: c["images"].append(c["images"][0]), "images with the same id: 3"),
        (lambda c: c["annotations"].append(c["annotations"][1]), "annotations with the same image_id: 1"),
        (lambda c: c["images"].pop(0), "annotations of images that it does not list: 3"),
        (lambda c: c["images"][0].pop("id"), "images without id: 1 of 2, entries 0"),
        (lambda c: c["images"][0].update(id="3"), "images have whole numbers and text for ids"),
        (lambda c: [image.update(id=str(image["id"])) for image in c["images"]], "have whole numbers .* have text"),
        (lambda c: c["images"][0].pop("width"), "images: 3 has no width; write the number of pixels"),
        (lambda c: c["images"][0].update(height="2"), "images: 3 has the height '2'; write the number of pixels"),
        (lambda c: c["images"][0].pop("file_name"), "images: 3 has no file_name"),
        (lambda c: c["annotations"][0].update(file_name=None), "that of image 3 has the file_name None"),
        (lambda c: c["annotations"][0].pop("image_id"), "annotations without image_id: 1 of 2"),
        (lambda c: c["annotations"][0].update(segments_info=None), "image 3 has a segments_info that is no list"),
        (lambda c: c["annotations"][0].update(segments_info=[7]), "image 3 has a segments_info that is no list"),
        (lambda c: [one["segments_info"].clear() for one in c["annotations"]], "has nothing to find"),
        (lambda c: c.pop("categories"), "has no categories, so it is not in COCO's panoptic format"),
        (lambda c: c.update(images={}), "its images are not a list of objects"),
        (lambda c: c["annotations"][0].pop("segments_info"), "lack segments_info.*is it an instances file"),
    ],
)
def test_damaged_annotations(registered, change, message):
    name = registered(change)
    with pytest.raises(ValueError, match=rf"small_panoptic cannot be used: .*panoptic\.json.* {message}"):
        get_segmentation_dataset_dicts(name)


def test_categories_other_than_the_registered_ones(registered):
    categories = [{**category, "name": category["name"].replace("dog", "cat")} for category in CATEGORIES]
    with pytest.raises(ValueError, match=r"registered categories differ in 7 \(cat, thing\), 7 \(dog, thing\)"):
        load_dataset(registered(categories=categories))


def test_things_other_than_the_registered_ones(registered):
    categories = [{**category, "isthing": int(category["name"] in ("dog", "car", "sea"))} for category in CATEGORIES]
    with pytest.raises(ValueError, match=r"categories differ in 12 \(sea, stuff\), 12 \(sea, thing\)"):
        load_dataset(registered(categories=categories))


def several_segments(content):
    """Both segments of image 3 are sky, which is stuff."""
    segment(content)["category_id"] = 40


def test_a_file_without_things_in_which_a_class_has_several_segments(registered):
    def without_things(content):
        several_segments(content)
        content["categories"] = [{**category, "isthing": 0} for category in CATEGORIES]

    with pytest.raises(ValueError, match=r"no category is a thing .* image 3 has several segments of 'sky': write"):
        load_dataset(registered(without_things))


def test_harmless_oddities_are_counted_in_one_line(registered, caplog):
    def change(content):
        several_segments(content)
        segment(content)["iscrowd"] = None
        content["images"].append({"id": 9, "file_name": "x.png", "height": 1, "width": 1})

    assert len(load_dataset(registered(change))) == 2
    assert [
        record.getMessage().partition(": ")[2] for record in caplog.records if "panoptic.json" in record.message
    ] == [
        "1 images have no annotation and are left out; 1 segments have iscrowd null, which counts as 0; 1 images have "
        "several segments of one kind of stuff (isthing 0), which predictions join."
    ]


def test_truncated_annotations(registered, tmp_path):
    name = registered()
    (tmp_path / "panoptic.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"small_panoptic cannot be used: .*panoptic\.json is not valid JSON"):
        load_dataset(name)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ids/3.png", r"The panoptic PNG .*ids/3\.png does not exist"),
        ("photos/photo_1.png", r"The image .*photo_1\.png of the data set small_panoptic"),
        ("panoptic.json", r"The panoptic annotation file .*panoptic\.json of the data set small_panoptic"),
    ],
)
def test_missing_files(registered, tmp_path, path, message):
    name = registered()
    (tmp_path / path).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load_dataset(name)


def test_missing_folder_of_pngs(registered, tmp_path):
    name = registered()
    (tmp_path / "ids").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"The folder of panoptic PNGs .*ids of the data set small_panoptic"):
        load_dataset(name)


def test_png_in_a_folder_of_its_own(registered, tmp_path):
    def move(content):
        (tmp_path / "ids" / "city").mkdir()
        (tmp_path / "ids" / "3.png").rename(tmp_path / "ids" / "city" / "3.png")
        content["annotations"][0]["file_name"] = "city/3.png"

    assert load_dataset(registered(move))[1]["pan_seg_file_name"] == str(tmp_path / "ids" / "city" / "3.png")


def test_boxes_of_a_panoptic_set_are_refused(registered):
    with pytest.raises(ValueError, match="small_panoptic has no boxes; its images have .*segments_info"):
        get_detection_dataset_dicts(registered())


def test_different_stuff_cannot_be_joined(registered, generated_root):
    register_generated(generated_root)
    joined = get_segmentation_dataset_dicts(["generated_train_panoptic", "generated_val_panoptic"])
    assert len(joined) == 60
    with pytest.raises(ValueError, match="generated_val_panoptic and small_panoptic have different class lists"):
        get_segmentation_dataset_dicts(["generated_val_panoptic", registered()])


@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_of_the_generated_set_agree(generated_root, split):
    register_generated(generated_root)
    name = f"generated_{split}_panoptic"
    records, metadata = load_dataset(name), MetadataCatalog.get(name)
    content = json.loads((generated_root / "annotations" / f"panoptic_{split}.json").read_text())
    assert metadata.stuff_classes == [category["name"] for category in content["categories"]]
    assert metadata.thing_dataset_id_to_contiguous_id == {i + 1: i for i in range(8)}
    assert list(metadata.stuff_dataset_id_to_contiguous_id) == [*range(1, 9), *range(101, 106)]
    for record in records:
        ids = read_panoptic_ids(record["pan_seg_file_name"])
        semantic = semantic_from_panoptic(ids, record["segments_info"])
        assert np.array_equal(semantic, read_semantic_labels(record["sem_seg_file_name"]))


def test_generated_set_is_known_before_and_after_it_is_written(tmp_path, generated_root):
    register_generated(tmp_path / "later", prefix="later")
    assert MetadataCatalog.get("later_val_panoptic").get("stuff_classes") is None
    register_generated(generated_root, prefix="later")
    assert len(MetadataCatalog.get("later_val_panoptic").stuff_classes) == 13


def test_split_of_a_folder(tmp_path):
    register_panoptic_split("birds_val_panoptic", tmp_path, "val")
    metadata = MetadataCatalog.get("birds_val_panoptic")
    assert metadata.panoptic_json == str(tmp_path / "annotations" / "panoptic_val.json")
    assert metadata.panoptic_root == str(tmp_path / "panoptic_val")
    assert metadata.image_root == str(tmp_path / "val")
    assert metadata.json_file == str(tmp_path / "annotations" / "instances_val.json")
    assert metadata.sem_seg_root == str(tmp_path / "semantic_val")


@pytest.mark.parametrize("folder", ["balloon", "nuclei", "generated"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_small_sets_are_registered_with_their_panoptic_labels(folder, split):
    register_custom()
    metadata = MetadataCatalog.get(f"{folder}_{split}_panoptic")
    assert metadata.evaluator_type == "coco_panoptic_seg"
    assert metadata.panoptic_json == str(datasets_root() / folder / "annotations" / f"panoptic_{split}.json")
