"""A big panoptic file is checked a chunk at a time, with the faults that it has when it is read at once."""

import json
import random

import pytest

from focalnet_d2.data.annotations.json_stream import JsonStream
from focalnet_d2.data.checks import stored_instances, stored_panoptic
from focalnet_d2.data.checks.stored_panoptic import StoredPanoptic
from focalnet_d2.data.checks.tasks import RecipeLimits, read_for_checks, tasks_of
from focalnet_d2.data.folders.finding import find_datasets
from tests.data.checks.label_sets import faults_in, write_panoptic
from tests.data.checks.planted import PANOPTIC
from tests.fuzzing import fuzz_count


@pytest.fixture
def in_chunks(monkeypatch):
    """Makes every file a big one, read in chunks of a few entries."""

    def patch():
        monkeypatch.setattr(stored_instances, "BIG", 0)
        monkeypatch.setattr(stored_panoptic, "JsonStream", lambda file: JsonStream(file, chunk=300))

    return patch


def content_of(root):
    """What reading for the checks gives, and the tasks that are made of it."""
    (dataset,) = find_datasets(root)
    content = read_for_checks(dataset, "train", lambda fault: None)
    return content, list(tasks_of(dataset, "train", content, RecipeLimits()))


def outcome(root):
    """The faults of a folder in no order, or why nothing is found there."""
    try:
        return sorted(faults_in(root), key=repr)
    except ValueError as error:
        return str(error)


def with_text_ids(content):
    """The same with text for the ids of images, in another order."""
    for entry in content["images"]:
        entry["id"] = f"n{entry['id']}"
    for entry in content["annotations"]:
        entry["image_id"] = f"n{entry['image_id']}"
    content["images"].reverse()


@pytest.mark.parametrize("change", [lambda content: None, with_text_ids])
def test_a_sound_file_is_kept_apart_and_asks_the_same(tmp_path, in_chunks, change):
    write_panoptic(tmp_path / "set", change)
    expected = content_of(tmp_path / "set")[1]
    in_chunks()
    content, tasks = content_of(tmp_path / "set")
    assert isinstance(content, StoredPanoptic)
    assert len(content.images) == len(expected) > 1
    assert tasks == expected


@pytest.mark.parametrize("case", PANOPTIC)
def test_planted_faults_are_found_alike(tmp_path, in_chunks, case):
    PANOPTIC[case].write(tmp_path / "set")
    expected = outcome(tmp_path / "set")
    in_chunks()
    assert outcome(tmp_path / "set") == expected


def oddly(draw, content):
    """What makes ids and references of a file odd: here and there, or everywhere."""
    image, annotation = draw.choice(content["images"]), draw.choice(content["annotations"])
    changes = [
        lambda: image.update(id=draw.choice([True, "5", None, 2**70, 5.0, -1])),
        lambda: annotation.update(image_id=draw.choice([True, "5", None, 2**70, 5.0, 999])),
        lambda: content["images"].append(dict(image)),
        lambda: content["annotations"].append(dict(annotation)),
        lambda: content["annotations"].remove(annotation),
        lambda: content["images"].append({**image, "id": 77}),
        lambda: content.update(annotations=[]),
        lambda: content.update(images=[]),
        lambda: content["categories"].append(dict(content["categories"][0])),
        lambda: annotation.update(segments_info=draw.choice([None, [], [3]])),
        lambda: [segment.update(iscrowd=draw.choice([1, None, 2])) for segment in annotation["segments_info"]],
        lambda: image.pop(draw.choice(["file_name", "height", "width"])),
        lambda: content.update(dict(reversed(list(content.items())))),
    ]
    draw.choice(changes)()


@pytest.mark.parametrize("seed", range(fuzz_count(40)))
def test_odd_files_have_the_same_faults(tmp_path, in_chunks, seed):
    draw = random.Random(seed)
    write_panoptic(tmp_path / "set", lambda content: oddly(draw, content))
    expected = outcome(tmp_path / "set")
    in_chunks()
    assert outcome(tmp_path / "set") == expected


def test_a_file_is_read_at_once_whose_images_come_last(tmp_path, in_chunks):
    """Two keys that are called images: which is meant is not guessed."""
    write_panoptic(tmp_path / "set")
    (file,) = (tmp_path / "set").rglob("panoptic_train.json")
    content = json.loads(file.read_text())
    content["info"] = {"images": [1]}
    file.write_text(json.dumps({"annotations": content.pop("annotations"), **content}))
    in_chunks()
    content, tasks = content_of(tmp_path / "set")
    assert not isinstance(content, StoredPanoptic)
    assert tasks
