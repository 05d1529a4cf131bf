"""A big COCO file is checked a chunk at a time, with the faults that it has when it is read at once."""

import json
import random
import sys
import tracemalloc
from functools import partial

import pytest

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.annotations.json_stream import JsonStream
from focalnet_d2.data.checks import stored_instances
from focalnet_d2.data.checks.stored_instances import StoredInstances, store_instances
from focalnet_d2.data.checks.tasks import RecipeLimits, read_for_checks, tasks_of
from focalnet_d2.data.folders.dataset import Part
from focalnet_d2.data.folders.finding import find_datasets
from tests.data.annotations.test_mutated_instances import mutate
from tests.data.checks.label_sets import faults_in, instances, write_instances
from tests.data.checks.planted import INSTANCES
from tests.fuzzing import fuzz_count


@pytest.fixture
def in_chunks(monkeypatch):
    """Makes every file a big one, read in chunks of some size."""

    def patch(chunk):
        monkeypatch.setattr(stored_instances, "BIG", 0)
        monkeypatch.setattr(stored_instances, "JsonStream", partial(JsonStream, chunk=chunk))

    return patch


def content_of(root):
    """What the first reading of a folder gives."""
    (dataset, *_) = find_datasets(root)
    return read_for_checks(dataset, "train", lambda fault: None)


def outcome(root):
    """The faults of a folder in no order, or why nothing is found there."""
    try:
        return sorted(faults_in(root), key=repr)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("case", INSTANCES)
def test_planted_faults_are_found_alike(tmp_path, in_chunks, case):
    INSTANCES[case].write(tmp_path / "set")
    expected = outcome(tmp_path / "set")
    in_chunks(300)
    assert outcome(tmp_path / "set") == expected


def oddly(draw, content):
    """What is harmless or an error of one entry, many times and in any order."""
    changes = [
        lambda one: one.update(iscrowd=draw.choice([None, 1, True])),
        lambda one: one.update(ignore=draw.choice([None, 1, 0])),
        lambda one: one.update(area=draw.choice([-1, "12", None, 0.5])),
        lambda one: one.update(bbox=draw.choice([None, [1, 2, 3], [1, 2, "3", 4], [1e3, 1, 5, 5], [50, 30, 20, 20]])),
        lambda one: one.update(segmentation=draw.choice([None, [], [[1, 2]], "1", {"size": [1, 2], "counts": "1"}])),
        lambda one: one.update(id=draw.choice([100, -1, -2, "a", None])),
        lambda one: one.update(image_id=draw.choice([3, 999])),
        lambda one: one.pop(draw.choice(["id", "area", "iscrowd", "segmentation", "bbox"]), None),
    ]
    content["annotations"] *= 5
    content["annotations"] = [dict(one) for one in content["annotations"]]
    for one in draw.sample(content["annotations"], draw.randint(0, 30)):
        draw.choice(changes)(one)
    if draw.random() < 0.3:
        image = draw.choice(content["images"])
        image.update(draw.choice([{"file_name": 3}, {"file_name": ""}, {"width": -3}, {"height": None}]))


@pytest.mark.parametrize("seed", range(fuzz_count(60)))
def test_odd_files_have_the_same_faults(tmp_path, monkeypatch, in_chunks, seed):
    draw = random.Random(seed)
    if draw.random() < 0.3:
        monkeypatch.setitem(sys.modules, "orjson", None)
    root = write_instances(tmp_path / "set", partial(oddly, draw))
    expected = outcome(root)
    in_chunks(draw.choice([200, 900, 10**6]))
    assert isinstance(content_of(root), StoredInstances)
    assert outcome(root) == expected


@pytest.mark.parametrize("seed", range(fuzz_count(40)))
def test_mutated_files_have_the_same_faults(tmp_path, in_chunks, seed):
    root = write_instances(tmp_path / "set")
    mutated = mutate(random.Random(seed), instances())
    (root / "annotations" / "instances_train.json").write_text(json.dumps(mutated))
    expected = outcome(root)
    in_chunks(300)
    assert outcome(root) == expected


def peak(root):
    """Bytes that reading a folder and making all of its tasks takes at most."""
    (dataset, *_) = find_datasets(root)
    tracemalloc.start()
    content = read_for_checks(dataset, "train", lambda fault: None)
    labels = sum(len(task.labels) for task in tasks_of(dataset, "train", content, RecipeLimits()))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return labels, used


def test_memory_is_a_fraction_of_that_of_reading_at_once(tmp_path, monkeypatch, in_chunks):
    def many(content):
        polygon = [[value / 7 for value in range(200)]]
        content["annotations"] = [
            {**one, "id": number, "segmentation": polygon} for number, one in enumerate(content["annotations"] * 100)
        ]

    root = write_instances(tmp_path / "set", many)
    monkeypatch.setattr(stored_instances, "BIG", 1 << 30)
    labels, whole = peak(root)
    in_chunks(1 << 14)
    assert labels == 800
    assert peak(root)[0] == 800
    assert peak(root)[1] < whole / 4


def test_entries_are_not_kept_in_memory(tmp_path, in_chunks):
    root = write_instances(tmp_path / "set")
    in_chunks(300)
    stored = content_of(root)
    (image, labels), *_ = stored.grouped()
    assert (image["id"], image["file_name"]) == (3, str(root / "train" / "3.png"))
    assert [one["id"] for one in labels] == [100, 101]
    labels[0].clear()
    assert next(stored.grouped())[1][0]["id"] == 100
    assert stored.images.image(stored.images[9])["id"] == 9
    with pytest.raises(KeyError):
        stored.images[4]


def peak_of(root, count):
    """Bytes that reading a file of so many images, and giving each with its object, takes at most."""
    images = [{"id": 7 * n, "file_name": f"{n:012d}.jpg", "width": 640, "height": 480} for n in range(count, 0, -1)]
    objects = [
        {"id": n, "image_id": 7 * n, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12} for n in range(1, count + 1)
    ]
    path = root / f"{count}.json"
    path.write_text(json.dumps({"images": images, "annotations": objects, "categories": [{"id": 1, "name": "a"}]}))
    del images, objects
    tracemalloc.start()
    stored = store_instances(Part(str(root), str(path)), strict)
    seen = sum(len(labels) for _, labels in stored.grouped())
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == count
    return used


def test_memory_grows_by_a_hundred_bytes_an_image_at_most(tmp_path, in_chunks):
    in_chunks(1 << 15)
    peak_of(tmp_path, 10)  # what is imported and kept once
    few, many = (peak_of(tmp_path, count) for count in (2000, 12_000))
    assert (many - few) / 10_000 < 100


@pytest.mark.parametrize(
    "ids", [[3, 1, 2], ["c", "a", "b"], [2**63, 1, 2], [1, 2, 1], ["a", "b", "a"], [1, "1", 2], [1.5, 2, 3]]
)
def test_ids_of_every_kind_are_found_as_when_read_at_once(tmp_path, in_chunks, ids):
    def renamed(content):
        names = dict(zip((one["id"] for one in content["images"]), ids))
        content["images"] = [{**one, "id": names.get(one["id"], one["id"])} for one in content["images"]]
        for one in content["annotations"]:
            one["image_id"] = names.get(one["image_id"], one["image_id"])

    root = write_instances(tmp_path / "set", renamed)
    expected = outcome(root)
    in_chunks(100)
    assert outcome(root) == expected
