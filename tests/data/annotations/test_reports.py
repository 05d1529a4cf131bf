"""The rules of reading with a report that goes on: the same sentences, and what is left passes them all."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.annotations.faults import SEVERITIES
from focalnet_d2.data.annotations.instances import CocoInstances, check_instances, read_instances
from tests.data.annotations.coco_file import content, write
from tests.data.annotations.test_instances import REFUSED, TAKEN, changed, set_first

NOTHING_IS_LEFT = {"every-object-is-crowd", "nothing-to-find", "no-annotations", "no-images", "no-categories"}


def collected(data):
    faults = []
    return check_instances(data, "truth.json", faults.append), faults


def as_content(read: CocoInstances):
    """The file again, of what reading has left."""
    categories = [{"id": key, "name": name} for key, name in read.class_names.items()]
    return {"images": read.images, "categories": categories, "annotations": read.annotations}


@pytest.mark.parametrize(
    "case", sorted(REFUSED.keys() - {"all boxes outside"})
)  # that one is refused where boxes are needed
def test_the_first_error_is_the_one_that_training_raises_and_the_rest_can_be_read(case):
    with pytest.raises(ValueError, match=r"truth\.json") as caught:
        check_instances(changed(REFUSED[case][0]), "truth.json")
    read, faults = collected(changed(REFUSED[case][0]))
    errors = [fault for fault in faults if fault.severity == "error"]
    assert errors[0].message == str(caught.value)
    assert {fault.file for fault in faults} == {"truth.json"}
    if not NOTHING_IS_LEFT & {fault.kind for fault in errors} and read.annotations:
        check_instances(as_content(read), "truth.json")


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_harmless_is_no_error_and_is_not_logged(case, caplog):
    _, faults = collected(changed(TAKEN[case][0]))
    assert {fault.severity for fault in faults} <= {"warning", "note"}
    assert bool(TAKEN[case][1]) <= any(TAKEN[case][1] in fault.message for fault in faults)
    assert caplog.text == ""


def test_a_good_file_has_but_a_note_about_its_crowd():
    assert [(fault.kind, fault.severity, fault.ids) for fault in collected(content())[1]] == [
        ("crowds", "note", ("4",))
    ]


def test_a_fault_names_its_entries_and_how_many_there_are():
    def change(data):
        data["annotations"] *= 10
        for number, entry in enumerate(data["annotations"]):
            data["annotations"][number] = {**entry, "id": number, "bbox": None, "segmentation": None}

    read, faults = collected(changed(change))
    boxes = next(fault for fault in faults if fault.kind == "box-value")
    assert (boxes.count, boxes.ids) == (40, tuple(map(str, range(20))))
    assert read.annotations == []


def test_ids_in_another_form_are_written_as_in_their_list():
    read, faults = collected(
        changed(lambda c: [entry.update(image_id=str(entry["image_id"])) for entry in c["annotations"]])
    )
    assert [entry["image_id"] for entry in read.annotations] == [5, 5, 9, 9]
    assert ("image-id-type", 4) in [(fault.kind, fault.count) for fault in faults]


def test_of_entries_with_one_id_the_first_stays():
    read, faults = collected(changed(lambda c: c["images"].append({**c["images"][0], "file_name": "other.png"})))
    assert [image["file_name"] for image in read.images] == ["5.png", "7.png", "9.png"]
    assert ("duplicate-image-id", ("9",)) in [(fault.kind, fault.ids) for fault in faults]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_box_that_is_none_is_taken_from_its_mask(place):
    box = content()["annotations"][place]["bbox"]
    read, faults = collected(changed(lambda c: c["annotations"][place].pop("bbox")))
    assert read.annotations[place]["bbox"] == pytest.approx(box)
    assert [fault.ids for fault in faults if fault.kind == "box-value"] == [(str(place + 1),)]


@pytest.mark.parametrize(("flag", "meant"), [("1", 1), ("True", 1), ("no", 0), ("0", 0), ("?", 0)])
def test_a_flag_in_words_is_read_as_it_is_meant(flag, meant):
    assert collected(changed(set_first("annotations", iscrowd=flag)))[0].annotations[0]["iscrowd"] == meant


def test_a_damaged_file_is_one_fault(tmp_path):
    path = write(tmp_path, '{"images": [')
    faults = []
    read = read_instances(path, faults.append)
    assert [(fault.kind, fault.severity) for fault in faults] == [("json-damaged", "error")]
    assert (read.images, read.class_names, read.annotations) == ([], {}, None)


scraps = st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=2) | st.just([1, 2, 3, 4])
places = st.tuples(
    st.sampled_from(["images", "categories", "annotations"]),
    st.integers(0, 2),
    st.sampled_from(
        ["id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "height", "name", "segmentation"]
    ),
)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(places, scraps), max_size=4), lost=st.lists(places, max_size=2))
def test_whatever_is_wrong_reading_goes_on_and_leaves_what_can_be_read(changes, lost):
    data = content()
    for (key, place, name), value in changes:
        if place < len(data[key]):
            data[key][place][name] = value
    for key, place, name in lost:
        if place < len(data[key]):
            data[key][place].pop(name, None)
    try:
        check_instances(json.loads(json.dumps(data)), "truth.json")
        refused = False
    except ValueError:
        refused = True
    read, faults = collected(data)
    errors = {fault.kind for fault in faults if fault.severity == "error"}
    assert refused == bool(errors)
    assert all(fault.severity in SEVERITIES and fault.message and fault.count > 0 for fault in faults)
    if not NOTHING_IS_LEFT & errors and read.annotations:
        check_instances(as_content(read), "truth.json")


def test_training_still_logs_one_line(caplog):
    with caplog.at_level(logging.WARNING):
        check_instances(changed(set_first("annotations", iscrowd=None, area=None)), "truth.json")
    assert len(caplog.messages) == 1
