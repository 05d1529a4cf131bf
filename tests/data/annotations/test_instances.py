"""COCO instances files: what is refused, left out, counted and taken, in training and in scoring alike."""

import json
import math

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json, register_coco_instances

from focalnet_d2.data.catalog import get_detection_dataset_dicts
from tests.data.annotations.coco_file import NAME, content, train, truth, write


def without(entry, *keys):
    return {key: value for key, value in entry.items() if key not in keys}


def changed(change):
    """The file after a change."""
    changed_content = content()
    change(changed_content)
    return changed_content


def set_all(key, **values):
    """A change of every entry of a list."""
    return lambda content: [entry.update(values) for entry in content[key]]


def set_first(key, **values):
    return lambda content: content[key][0].update(values)


def drop_first(key, name):
    return lambda content: content[key][0].pop(name)


def test_a_good_file_reads_as_with_detectron2_and_without_a_warning(tmp_path, caplog):
    path = write(tmp_path)
    expected = load_coco_json(str(path), str(tmp_path), "annotation_file_of_detectron2")
    assert train(path) == train(path, masks=True) == expected
    MetadataCatalog.remove("annotation_file_of_detectron2")
    assert [len(record["annotations"]) for record in expected] == [2, 0, 2]
    read = truth(path, masks=True)
    assert (read.image_ids, read.category_ids, read.class_names) == ([5, 7, 9], [1, 7], ["owl", "fox"])
    assert [entry["image_id"] for entry in read.annotations] == [1, 1, 3, 3]
    assert [record for record in caplog.records if "truth.json" in record.message and record.levelname != "INFO"] == []


REFUSED = {
    "no images": (lambda c: c.pop("images"), "has no images, so it is not in COCO's instances format"),
    "images are none": (lambda c: c["images"].clear(), "images are none"),
    "an entry is text": (lambda c: c["annotations"].append("x"), "annotations are not a list of objects"),
    "annotations are null": (lambda c: c.update(annotations=None), "annotations are not a list of objects"),
    "image ids repeat": (set_first("images", id=5), r"images with the same id: 5"),
    "category ids repeat": (set_all("categories", id=3), r"categories with the same id: 3"),
    "image without id": (drop_first("images", "id"), r"images without id: 1 of 3, entries 0"),
    "category without id": (drop_first("categories", "id"), r"categories without id"),
    "annotation without image_id": (drop_first("annotations", "image_id"), "annotations without image_id"),
    "annotation without category_id": (drop_first("annotations", "category_id"), "annotations without category_id"),
    "image ids as text": (
        lambda c: [image.update(id=str(image["id"])) for image in c["images"]],
        r"\(image_id\) have whole numbers for ids \(5\), but .*images have text \('5'\): write both alike",
    ),
    "image_id as text": (set_all("annotations", image_id="5"), r"\(image_id\) have text for ids \('5'\), but "),
    "one image_id as text": (set_first("annotations", image_id="5"), r"whole numbers and text for ids \(5, '5'\)"),
    "category_id as text": (set_all("annotations", category_id="1"), r"\(category_id\) have text for ids \('1'\)"),
    "category_id null": (set_first("annotations", category_id=None), "neither a whole number nor text: None"),
    "image_id is a list": (set_first("annotations", image_id=[5]), r"neither a whole number nor text: \[5\]"),
    "unknown category": (set_first("annotations", category_id=33), "category ids 33 that are not in its list"),
    "all crowds": (set_all("annotations", iscrowd=1), r"Nothing is left to find: .*4 are crowds \(iscrowd: 1\)"),
    "all ignored": (set_all("annotations", ignore=1), r"Nothing is left to find: .*4 have ignore: 1"),
    "all of unknown images": (set_all("annotations", image_id=4), "Nothing is left to find: .*4 are of images that"),
    "all boxes outside": (set_all("annotations", bbox=[16, 0, 5, 5]), "pixel of (the|its) image"),
    "box of nan": (set_first("annotations", bbox=[0, 0, math.nan, 2]), "without a box of four finite .* on image 5"),
    "box of infinity": (set_first("annotations", bbox=[0, 0, math.inf, 2]), "without a box of four finite numbers"),
    "box of text": (set_first("annotations", bbox=["0", "0", "3", "2"]), "without a box of four finite numbers"),
    "no box": (drop_first("annotations", "bbox"), r"without a box .* id 1 has None"),
    "box of three": (set_first("annotations", bbox=[0, 0, 2]), r"without a box .* has \[0, 0, 2\]"),
    "iscrowd as text": (set_first("annotations", iscrowd="0"), "id 1 has iscrowd '0', which must be 0 or 1"),
    "ignore as text": (set_first("annotations", ignore="no"), "id 1 has ignore 'no', which must be 0 or 1"),
    "area as text": (set_first("annotations", area="36"), "id 1 has the area '36'"),
    "area of nan": (set_first("annotations", area=math.nan), "id 1 has the area nan"),
    "negative area": (set_first("annotations", area=-36), "id 1 has the area -36"),
    "true in a box": (set_first("annotations", bbox=[2, True, 6, 6]), r"without a box .* has \[2, True, 6, 6\]"),
    "false in a box": (set_first("annotations", bbox=[2.5, 2, False, 6]), r"without a box .* has \[2.5, 2, False"),
    "true as area": (set_first("annotations", area=True), "id 1 has the area True"),
    "no annotations": (lambda c: c["annotations"].clear(), "annotations are none; the list is empty, so nothing is"),
    "width as text": (set_first("images", width="16"), "9 has the width '16'"),
    "height of 0": (set_first("images", height=0), "9 has the height 0"),
    "name is a list": (set_first("categories", name=["fox"]), r"7 has the name \['fox'\]"),
}


@pytest.mark.parametrize("read", [train, truth])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_file_in_training_and_in_scoring(tmp_path, read, case):
    change, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        read(write(tmp_path, changed(change)))
    assert "truth.json" in str(caught.value) or NAME in str(caught.value)


TAKEN = {
    "annotation ids repeat": (set_all("annotations", id=1), "3 repeat the id of another"),
    "annotation ids are missing": (lambda c: [a.pop("id") for a in c["annotations"]], "4 have no id"),
    "iscrowd null": (set_first("annotations", iscrowd=None), "1 have iscrowd null, which counts as 0"),
    "no iscrowd": (drop_first("annotations", "iscrowd"), ""),
    "no area": (drop_first("annotations", "area"), "1 have no area"),
    "sizes with a decimal point": (set_all("images", height=12.0, width=16.0), ""),
    "category without a name": (drop_first("categories", "name"), ""),
    "box beyond its image": (set_first("annotations", bbox=[2, 2, 40, 5]), "1 boxes reach beyond their image"),
    "no list of annotations": (lambda c: c.pop("annotations"), ""),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_harmless_is_counted_and_changes_no_object(tmp_path, caplog, case):
    change, message = TAKEN[case]
    path = write(tmp_path, changed(change))
    records, read = train(path), truth(path, masks=True)
    expected = len(changed(change).get("annotations", []))
    assert sum(len(record["annotations"]) for record in records) == len(read.annotations or []) == expected
    assert message in caplog.text
    assert all(type(record["height"]) is int for record in records)


def test_a_category_without_a_name_is_called_by_its_id(tmp_path):
    assert truth(write(tmp_path, changed(drop_first("categories", "name")))).class_names == ["owl", "7"]


def test_annotations_of_other_images_are_left_out_and_counted(tmp_path, caplog):
    path = write(tmp_path, changed(set_first("annotations", image_id=4)))
    assert [len(record["annotations"]) for record in train(path)] == [1, 0, 2]
    assert len(truth(path).annotations) == 3
    assert "1 are of images that it does not list, and left out" in caplog.text


def test_what_is_to_be_ignored_is_a_crowd_for_training_and_scoring(tmp_path, caplog):
    path = write(tmp_path, changed(set_first("annotations", ignore=1)))
    assert train(path)[0]["annotations"][0]["iscrowd"] == 1
    assert [entry["iscrowd"] for entry in truth(path).as_coco("bbox")["annotations"]] == [1, 0, 0, 1]
    assert "1 have ignore: 1 and count as crowds" in caplog.text


@pytest.mark.parametrize("box", [[8, 8, -6, -6], [2, 2, 0, 6], [16, 0, 4, 4], [-9, 2, 9, 4], [0, 12, 3, 3]])
def test_a_box_without_a_pixel_counts_neither_in_training_nor_in_scoring_but_its_mask_does(tmp_path, caplog, box):
    path = write(tmp_path, changed(set_first("annotations", bbox=box)))
    assert [len(record["annotations"]) for record in train(path)] == [1, 0, 2]
    assert [len(record["annotations"]) for record in train(path, masks=True)] == [2, 0, 2]
    assert [len(truth(path).as_coco(kind)["annotations"]) for kind in ("bbox", "segm")] == [3, 4]
    assert "1 boxes have no pixel of their image" in caplog.text


def test_a_missing_area_is_that_of_the_box_or_of_the_mask(tmp_path):
    read = truth(write(tmp_path, changed(lambda c: [a.pop("area") for a in c["annotations"]])), masks=True)
    assert [entry["area"] for entry in read.as_coco("bbox")["annotations"]] == [36, 12, 30, 25]
    assert [entry["area"] for entry in read.as_coco("segm")["annotations"]] == [36, 12, 30, 25]


@pytest.mark.parametrize("key", ["file_name", "height", "width"])
def test_training_needs_names_and_sizes_of_all_images_and_box_scores_do_not(tmp_path, key):
    path = write(tmp_path, changed(drop_first("images", key)))
    with pytest.raises(ValueError, match=rf"truth\.json: images without {key}, with the ids 9"):
        train(path)
    assert len(truth(path).annotations) == 4


def test_sets_registered_by_detectron2_are_read_by_the_same_rules(tmp_path):
    path = write(tmp_path, changed(set_first("images", id=5)))
    register_coco_instances(NAME, {}, str(path), str(tmp_path))
    try:
        with pytest.raises(ValueError, match=r"images with the same id: 5"):
            get_detection_dataset_dicts(NAME)
        path.write_text(json.dumps(content()))
        assert len(get_detection_dataset_dicts(NAME)) == 3
    finally:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


def test_an_image_that_is_missing_is_found_wherever_it_is(tmp_path):
    path = write(tmp_path)
    (tmp_path / "7.png").unlink()
    (tmp_path / "7.png").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"7\.png .* does not exist \(1 of 3 are missing\)"):
        train(path)
