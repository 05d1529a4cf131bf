"""Loading by name, the choices among images, and one clear sentence for everything that can be wrong."""

import json
import shutil
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts
from focalnet_d2.data.datasets import register_coco_folder
from focalnet_d2.data.datasets.custom import replace_dataset
from focalnet_d2.data.generated import register_generated
from tests.data.segmentation_files import save_label


@pytest.fixture
def dataset(tmp_path, generated_root):
    """A registered copy of the validation split that a test may damage: (name, annotation file)."""
    root = shutil.copytree(generated_root, tmp_path / "copied")
    register_coco_folder("copied_val", root)
    yield "copied_val", root / "annotations" / "instances_val.json"
    DatasetCatalog.remove("copied_val")


def damage(json_file, change):
    content = json.loads(json_file.read_text())
    change(content)
    json_file.write_text(json.dumps(content))


def test_all_images_or_only_those_with_targets(generated_root):
    register_generated(generated_root)
    everything = get_detection_dataset_dicts("generated_train")
    filtered = get_detection_dataset_dicts(["generated_train"], filter_empty=True)
    assert len(everything) == 40
    assert 0 < len(filtered) < 40
    assert all(any(not a["iscrowd"] for a in record["annotations"]) for record in filtered)


def test_limit_takes_the_first_images_with_targets(generated_root):
    register_generated(generated_root)
    filtered = get_detection_dataset_dicts("generated_train", filter_empty=True)
    limited = get_detection_dataset_dicts("generated_train", limit=8)
    assert [r["image_id"] for r in limited] == [r["image_id"] for r in filtered[:8]]


def test_chosen_images_come_in_the_given_order(generated_root):
    register_generated(generated_root)
    chosen = get_detection_dataset_dicts("generated_val", image_ids=[5, 2])
    assert [record["image_id"] for record in chosen] == [5, 2]
    with pytest.raises(ValueError, match="generated_val has no images with the ids 99"):
        get_detection_dataset_dicts("generated_val", image_ids=[5, 99])


def test_several_sets_are_joined_unless_their_classes_differ(generated_root, dataset):
    register_generated(generated_root)
    assert len(get_detection_dataset_dicts(["generated_train", dataset[0]])) == 60
    damage(dataset[1], rename_first_class)
    register_coco_folder(dataset[0], dataset[1].parent.parent)
    with pytest.raises(ValueError, match="generated_train and copied_val have different class lists"):
        get_detection_dataset_dicts(["generated_train", dataset[0]])


def rename_first_class(content):
    content["categories"][0].update(name="sphere")


def test_class_names_other_than_the_registered_ones(dataset):
    get_detection_dataset_dicts(dataset[0])
    damage(dataset[1], rename_first_class)
    with pytest.raises(ValueError, match=r"instances_val\.json and the registered class list differ in disk, sphere"):
        get_detection_dataset_dicts(dataset[0])


def test_unknown_name_suggests_similar_ones():
    with pytest.raises(ValueError, match=r"'coco_2017_trian'; similar names: .*coco_2017_train"):
        get_detection_dataset_dicts("coco_2017_trian")


@pytest.mark.parametrize("variable", ["/data/sets", None])
def test_missing_folder_names_path_and_variable(monkeypatch, variable):
    monkeypatch.setenv("DETECTRON2_DATASETS", variable) if variable else monkeypatch.delenv(
        "DETECTRON2_DATASETS", raising=False
    )
    register_coco_folder("absent_train", Path(variable or "datasets") / "absent")
    setting = "DETECTRON2_DATASETS is /data/sets" if variable else "DETECTRON2_DATASETS is not set"
    with pytest.raises(FileNotFoundError, match=rf"absent/annotations/instances_train\.json .*; {setting}"):
        get_detection_dataset_dicts("absent_train")


def test_what_lies_elsewhere_is_not_looked_for_below_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data/sets")
    register_coco_folder("absent_train", tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="does not exist: put it there, or correct the path"):
        get_detection_dataset_dicts("absent_train")


def test_an_unknown_name_says_how_to_register_it():
    with pytest.raises(ValueError, match=r"'unknown_birds'; .*data=DIR.*register_folder"):
        get_detection_dataset_dicts("unknown_birds")


def test_missing_image_folder_and_missing_image(dataset):
    folder = dataset[1].parent.parent / "val"
    (folder / "000001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"The image .*000001\.png of the data set copied_val"):
        get_detection_dataset_dicts(dataset[0])
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=r"The image folder .*copied/val of the data set copied_val"):
        get_detection_dataset_dicts(dataset[0])


def test_category_ids_without_a_category(dataset):
    damage(dataset[1], lambda content: content["annotations"][0].update(category_id=77))
    with pytest.raises(ValueError, match=r"instances_val\.json uses category ids 77 that are not in its list"):
        get_detection_dataset_dicts(dataset[0])


def test_category_ids_outside_the_registered_list(dataset):
    folder = dataset[1].parent.parent
    ids = {"thing_dataset_id_to_contiguous_id": {1: 0, 2: 1}, "thing_classes": ["disk", "ring"]}
    register_coco_folder(dataset[0], dataset[1], folder / "val", metadata=ids)
    with pytest.raises(ValueError, match=r"category ids 3, 4, 5, 6, 7, 8 outside the registered list of 2 classes"):
        get_detection_dataset_dicts(dataset[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("categories"), "has no categories, so it is not in COCO's"),
        (lambda content: content["images"][1].update(id=1), ": images with the same id: 1"),
        (lambda content: content["images"].clear(), ": images are none"),
    ],
)
def test_malformed_annotations(dataset, change, message):
    damage(dataset[1], change)
    with pytest.raises(ValueError, match=rf"copied_val cannot be used: .*instances_val\.json *{message}"):
        get_detection_dataset_dicts(dataset[0])


@pytest.mark.parametrize("box", [None, [], [1, 2, 3]])
def test_annotation_without_a_box(dataset, box):
    damage(dataset[1], lambda content: content["annotations"][0].update(bbox=box))
    with pytest.raises(ValueError, match=r"instances_val\.json .* without a box .* on image 1\b"):
        get_detection_dataset_dicts(dataset[0])


def test_truncated_annotation_file(dataset):
    text = dataset[1].read_text()
    dataset[1].write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"instances_val\.json is not valid JSON"):
        get_detection_dataset_dicts(dataset[0])


def test_no_images_left_names_set_and_filter(dataset):
    damage(dataset[1], lambda content: content.pop("annotations"))
    with pytest.raises(ValueError, match="copied_val has no images left with filter_empty=True, limit=None"):
        get_detection_dataset_dicts(dataset[0], filter_empty=True)
    with pytest.raises(ValueError, match="copied_val has no images left with filter_empty=False, limit=0"):
        get_detection_dataset_dicts(dataset[0], limit=0)


@pytest.fixture
def semantic(tmp_path):
    """A registered semantic set of two images without ids, and the folder of its labels."""
    folders = {"image_root": tmp_path / "images", "sem_seg_root": tmp_path / "labels"}
    for folder in folders.values():
        folder.mkdir()
        for stem in ("first", "second"):
            save_label(folder / f"{stem}.png", [[0]])

    def records():
        stems = sorted(path.stem for path in folders["image_root"].iterdir())
        assert stems, "no images at all"
        return [
            {"file_name": f"{tmp_path}/images/{stem}.png", "sem_seg_file_name": f"{tmp_path}/labels/{stem}.png"}
            for stem in stems
        ]

    replace_dataset("terrain_val", records, **{key: str(folder) for key, folder in folders.items()})
    yield "terrain_val", folders
    DatasetCatalog.remove("terrain_val")


def test_semantic_images_have_the_names_of_their_files_as_ids_and_are_never_empty(semantic):
    records = get_segmentation_dataset_dicts(semantic[0], filter_empty=True)
    assert [record["image_id"] for record in records] == ["first", "second"]
    assert len(get_segmentation_dataset_dicts(semantic[0], limit=1)) == 1
    (second,) = get_segmentation_dataset_dicts(semantic[0], image_ids=["second"])
    assert second["sem_seg_file_name"].endswith("labels/second.png")


def test_semantic_set_has_no_boxes(semantic):
    with pytest.raises(ValueError, match="terrain_val has no boxes; its images have .*sem_seg_file_name"):
        get_detection_dataset_dicts(semantic[0])


def test_failure_of_a_loader_without_an_annotation_file_names_the_set(semantic):
    for path in semantic[1]["image_root"].iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="terrain_val cannot be used: no images at all"):
        get_segmentation_dataset_dicts(semantic[0])


def test_missing_folder_of_semantic_labels(semantic):
    shutil.rmtree(semantic[1]["sem_seg_root"])
    with pytest.raises(FileNotFoundError, match=r"The folder of semantic PNGs .*labels of the data set terrain_val"):
        get_segmentation_dataset_dicts(semantic[0])


def test_masks_of_a_set_of_instances(generated_root):
    register_generated(generated_root)
    everything = get_segmentation_dataset_dicts("generated_train")
    assert everything == get_detection_dataset_dicts("generated_train")
    assert 0 < len(get_segmentation_dataset_dicts("generated_train", filter_empty=True)) < len(everything)
