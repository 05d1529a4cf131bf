"""Faults of labels that are planted one into each data set: found with file and id, and nothing in clean ones."""

import pytest

from focalnet_d2.data.checks.tasks import RecipeLimits
from tests.data.checks.label_sets import faults_in, serious, write_instances, write_panoptic, write_semantic
from tests.data.checks.planted import ALL

CLEAN = {
    "instances": write_instances,
    "panoptic": write_panoptic,
    "semantic": lambda root: write_semantic(root, ["ground", "tree", "water"]),
    "semantic without a list": lambda root: write_semantic(root, None),
}


@pytest.mark.parametrize("kind", CLEAN)
def test_clean_sets_have_no_fault(tmp_path, kind):
    CLEAN[kind](tmp_path / "set")
    assert faults_in(tmp_path / "set", RecipeLimits(queries=100, short_side=80, long_side=200)) == []


@pytest.mark.parametrize("case", ALL)
def test_a_planted_fault_is_found_with_file_and_id(tmp_path, case):
    planted = ALL[case]
    planted.write(tmp_path / "set")
    found = [fault for fault in serious(faults_in(tmp_path / "set")) if fault.kind == planted.kind]
    assert [(fault.severity, fault.ids, fault.count) for fault in found] == [
        (planted.severity, planted.ids, len(planted.ids))
    ]
    assert found[0].file.endswith(planted.file)
    assert str(tmp_path / "set") in found[0].message


def test_more_objects_than_queries_name_the_image_and_both_numbers(tmp_path):
    write_instances(
        tmp_path / "set",
        lambda c: c["annotations"].extend(
            {**c["annotations"][0], "id": 200 + n, "bbox": [n, n, 5, 5], "segmentation": [], "area": 25}
            for n in range(9)
        ),
    )
    found = faults_in(tmp_path / "set", RecipeLimits(queries=10))
    (many,) = [fault for fault in found if fault.kind == "more-objects-than-queries"]
    assert many.ids == ("3",)
    assert "11 objects" in many.message
    assert "10 queries" in many.message


def test_objects_below_a_pixel_after_resizing_are_named(tmp_path):
    write_panoptic(tmp_path / "panoptic", pixels=lambda ids: None)
    write_instances(
        tmp_path / "set",
        lambda c: c["annotations"][2].update(bbox=[7, 3, 3, 20], area=60, segmentation=[[7, 3, 10, 3, 10, 23, 7, 23]]),
    )
    small = [fault for fault in faults_in(tmp_path / "set", RecipeLimits(short_side=10)) if "pixel" in fault.kind]
    assert [(fault.kind, fault.ids) for fault in small] == [("object-below-a-pixel", ("102",))]
    assert [fault.kind for fault in faults_in(tmp_path / "set", RecipeLimits(short_side=20))] == []
