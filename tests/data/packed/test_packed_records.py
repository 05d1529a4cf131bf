"""Packed records are those of the list, by the same rules, with the same messages, whatever is asked of them."""

import json
import pickle
import random
import sys
from collections import Counter
from multiprocessing.reduction import ForkingPickler

import pytest

from benchmarks.builders import data_growth
from focalnet_d2.data import catalog, record_choice
from focalnet_d2.data.annotations.instances import read_instances
from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts
from focalnet_d2.data.datasets import register_coco_folder
from focalnet_d2.data.instance_dicts import dataset_dicts
from focalnet_d2.data.packed import loading
from focalnet_d2.data.packed.loading import load_packed
from focalnet_d2.data.packed.records import PackedRecords
from focalnet_d2.data.record_choice import object_counts
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset
from focalnet_d2.kernels import box_annotations
from tests.data.annotations import coco_file
from tests.data.annotations.test_mutated_instances import mutate
from tests.data.packed.coco_content import content, content_of_boxes, write
from tests.fuzzing import fuzz_count

NAME = "packed_test"


def read_at_once(path):
    """The list, or the error that there is instead."""
    try:
        found = read_instances(path)
        return dataset_dicts(found, "root", {key: index for index, key in enumerate(found.class_names)})
    except ValueError as error:
        return error


def parts(caplog):
    """What was logged about the file, each phrase by itself."""
    phrases = [part for message in caplog.messages for part in message.rstrip(".").split("; ")]
    return sorted(phrase.rpartition(": ")[2] for phrase in phrases)


def read_and_heard(path, caplog):
    """The list, or the error, of a file that is read at once, and what was said about it."""
    expected = read_at_once(path)
    said = parts(caplog)
    caplog.clear()
    return expected, said


@pytest.mark.parametrize("without_orjson", [False, True])
@pytest.mark.parametrize("seed", range(fuzz_count(60)))
def test_records_equal_those_of_the_list(tmp_path, monkeypatch, caplog, pack_all, seed, without_orjson):
    if without_orjson:
        monkeypatch.setitem(sys.modules, "orjson", None)
    draw = random.Random(seed)
    path = write(tmp_path / "truth.json", draw, content(draw))
    expected, said = read_and_heard(path, caplog)
    pack_all(draw.choice([40, 700, 10**6]))
    packed = load_packed(path)
    if isinstance(expected, ValueError):
        assert packed is None
        return
    records = packed.records("root")
    assert len(records) == len(expected)
    assert [repr(record) for record in records] == [repr(record) for record in expected]
    assert records.image_ids() == [record["image_id"] for record in expected]
    assert records.file_names() == [record["file_name"] for record in expected]
    assert object_counts(records).tolist() == object_counts(expected).tolist()
    assert parts(caplog) == said


@pytest.mark.parametrize("without", ["", "library", "columns"])
@pytest.mark.parametrize("seed", range(fuzz_count(60)))
def test_boxes_alone_are_those_of_the_list_by_every_way(tmp_path, monkeypatch, caplog, pack_all, seed, without):
    draw = random.Random(seed)
    path = write(tmp_path / "truth.json", draw, content_of_boxes(draw))
    expected, said = read_and_heard(path, caplog)
    pack_all(draw.choice([200, 1000, 10**6]))
    if without:
        monkeypatch.setattr(loading, "chunk_of_text", lambda text, lists: None)
    if without == "columns":
        monkeypatch.setattr(loading, "usual_chunk", lambda annotations, lists: None)
    packed = load_packed(path)
    if isinstance(expected, ValueError):
        assert packed is None
        return
    assert [repr(record) for record in packed.records("root")] == [repr(record) for record in expected]
    assert parts(caplog) == said


@pytest.mark.parametrize("way", ["chunk_of_text", "usual_chunk"])
def test_boxes_alone_take_the_fast_way(tmp_path, monkeypatch, pack_all, way):
    if way == "chunk_of_text" and (reason := box_annotations.LIBRARY.unavailable_reason()):
        pytest.skip(reason)
    taken = []
    original = getattr(loading, way)
    monkeypatch.setattr(loading, "chunk_of_text", lambda text, lists: None)
    monkeypatch.setattr(loading, way, lambda *given: taken.append(original(*given)) or taken[-1])
    path = tmp_path / "boxes.json"
    path.write_text("".join(data_growth.file_parts(40)))
    pack_all(4000)
    records = load_packed(path).records("root")
    assert sum(len(chunk.rows) for chunk in taken if chunk is not None) > 0.9 * 40 * data_growth.OBJECTS
    assert [repr(record) for record in records] == [repr(record) for record in read_at_once(path)]


def outcome(load, path, **choice):
    """What the catalog gives, or the message of its error."""
    register_coco_folder(NAME, path, path.parent)
    try:
        return [repr(record) for record in load(NAME, **choice)]
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("load", [get_detection_dataset_dicts, get_segmentation_dataset_dicts])
@pytest.mark.parametrize("seed", range(fuzz_count(25)))
def test_the_catalog_chooses_alike(tmp_path, monkeypatch, pack_all, load, seed):
    monkeypatch.setattr(catalog, "missing_files", lambda paths: [])
    draw = random.Random(seed)
    value = content(draw)
    if load is get_segmentation_dataset_dicts:
        value["annotations"] = [one for one in value["annotations"] if one.get("segmentation") == [[1, 1, 5, 1, 5, 5]]]
        value["annotations"] += [
            {"image_id": value["images"][0]["id"], "category_id": value["categories"][-1]["id"], "bbox": [1, 1, 4, 4],
             "segmentation": [[1, 1, 5, 1, 5, 5]], "iscrowd": crowd} for crowd in (0, 1)
        ]  # fmt: skip
    path = write(tmp_path / "truth.json", draw, value)
    ids = [image["id"] for image in value["images"]]
    choices = [{}, {"filter_empty": True}, {"limit": 2}, {"image_ids": draw.choices(ids, k=3)}, {"image_ids": [999]}]
    tables = []
    monkeypatch.setattr(
        record_choice, "print_instances_class_histogram", lambda *table: tables.append(class_counts(*table))
    )
    expected = [outcome(load, path, **choice) for choice in choices]
    pack_all(500)
    assert [outcome(load, path, **choice) for choice in choices] == expected
    assert tables[: len(tables) // 2] == tables[len(tables) // 2 :]


def class_counts(records, class_names):
    """The table that Detectron2 prints."""
    annotations = [annotation for record in records for annotation in record["annotations"]]
    return Counter(class_names[one["category_id"]] for one in annotations if not one.get("iscrowd", 0))


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(fuzz_count(80)))
def test_a_mutated_file_gives_the_same_records_or_the_same_error(tmp_path, pack_all, seed, masks):
    path = coco_file.write(tmp_path, mutate(random.Random(seed), coco_file.content()))
    load = get_segmentation_dataset_dicts if masks else get_detection_dataset_dicts
    expected = outcome(load, path)
    pack_all(300)
    assert outcome(load, path) == expected


@pytest.fixture
def records(tmp_path, pack_all):
    pack_all(300)
    packed = load_packed(coco_file.write(tmp_path)).records(str(tmp_path))
    assert isinstance(packed, PackedRecords)
    return packed


def test_records_are_a_sequence(records):
    assert [record["image_id"] for record in records] == [5, 7, 9]
    assert records[-1] == records[2]
    assert [record["image_id"] for record in records[1:]] == records[1:].image_ids() == [7, 9]
    assert list(records.select([2, 0]).select([1])) == [records[0]]
    for index in (3, -4):
        with pytest.raises(IndexError):
            records[index]


def test_a_record_can_be_changed_without_harm(records):
    expected = repr(records[0])
    records[0]["annotations"][0]["bbox"].clear()
    assert repr(records[0]) == expected


def test_workers_get_the_block_and_no_list(records):
    shared = SharedMemoryDataset(records[::-1])
    assert [shared[index] for index in range(3)] == list(records)[::-1]
    assert len(ForkingPickler.dumps(shared)) < 4000
    assert [repr(one) for one in pickle.loads(pickle.dumps(records))] == [repr(one) for one in records]


@pytest.mark.parametrize("divisor", [1, 200])
def test_boxes_of_another_form_are_refused_as_in_a_small_file(tmp_path, pack_all, divisor):
    image = {"id": 1, "file_name": "a.png", "height": 100, "width": 100}
    box = [side / divisor for side in (50, 60, 90, 95)]
    objects = [{"id": key, "image_id": 1, "category_id": 1, "bbox": box} for key in range(4)]
    content = {"images": [image], "categories": [{"id": 1, "name": "cat"}], "annotations": objects}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    pack_all(64)
    assert load_packed(path) is None
    with pytest.raises(ValueError, match=r"4 of 4 boxes .* convert all of them"):
        read_instances(path)


def test_a_whole_number_that_no_float_holds_is_read_at_once(tmp_path, pack_all):
    value = coco_file.content()
    value["annotations"][0]["segmentation"][0][0] = 2**53 + 1
    path = coco_file.write(tmp_path, value)
    pack_all(300)
    assert load_packed(path) is None
    value["annotations"][0]["segmentation"][0][0] = True
    assert load_packed(coco_file.write(tmp_path, value)) is None
