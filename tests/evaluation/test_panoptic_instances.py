"""AP of a panoptic data set that has no file of instances: the truth is that of its segments."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances

from focalnet_d2.data.catalog import load_dataset
from focalnet_d2.data.datasets.custom import register_panoptic_folder
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.evaluation.detection import DetectionEvaluator
from tests.data.segmentation_files import write_panoptic_set

NAME = "panoptic_without_instances"


@pytest.fixture
def registered(tmp_path):
    """The small set; car is class 1, dog class 0, and the other two are stuff."""

    def register(**options):
        return register_panoptic_folder(NAME, *write_panoptic_set(tmp_path), **options)

    yield register
    DatasetCatalog.remove(NAME)


def predicted(masks, classes):
    masks = torch.tensor(masks, dtype=torch.bool).reshape(-1, 2, 3)
    found = Instances((2, 3), pred_masks=masks, pred_classes=torch.tensor(classes, dtype=torch.int64))
    found.pred_boxes = Boxes(torch.tensor([[0.0, 0, 2, 2]]).expand(len(masks), 4))
    found.scores = torch.linspace(0.9, 0.5, len(masks))
    return {"instances": found}


CAR = [[1, 1, 0], [1, 0, 0]]
PERFECT = {1: predicted([], []), 3: predicted([CAR, [[0, 0, 1], [0, 0, 1]]], [1, 3])}  # class 3 is stuff


def results(predictions):
    evaluator = DetectionEvaluator(NAME, tasks=("bbox", "segm"), things_only=True)
    for image_id, output in predictions.items():
        evaluator.process([{"image_id": image_id}], [output])
    return evaluator.evaluate()


@pytest.mark.parametrize("instances_json", [None, "not/there.json"])
def test_boxes_and_masks_are_those_of_the_things(registered, instances_json):
    load_dataset(registered(instances_json=instances_json))
    scores = results(PERFECT)
    assert scores["bbox"]["AP"] == scores["segm"]["AP"] == scores["segm"]["AP-car"] == pytest.approx(100)
    assert np.isnan(scores["segm"]["AP-dog"]), "the only dog is a crowd"
    assert "AP-sky" not in scores["segm"]


def test_a_wrong_mask_is_wrong(registered):
    load_dataset(registered())
    scores = results(PERFECT | {3: predicted([[[1, 0, 0], [0, 0, 0]]], [1])})
    assert scores["segm"]["AP50"] == 0  # 1 pixel of 3


def test_a_crowd_excuses_and_counts_no_object(registered):
    load_dataset(registered())
    scores = results(PERFECT | {1: predicted([[[1, 1, 0], [0, 0, 0]]], [0])})
    assert scores["segm"]["AP"] == pytest.approx(100)


def test_the_file_of_instances_counts_where_it_is_there(registered, tmp_path):
    content = {"images": [{"id": i, "height": 2, "width": 3} for i in (1, 3)]}
    missed = {"size": [2, 3], "counts": [5, 1]}  # one pixel that nothing is predicted for
    content["annotations"] = [{"image_id": 3, "category_id": 7, "bbox": [2, 1, 1, 1], "segmentation": missed}]
    content["categories"] = [{"id": 7, "name": "dog"}, {"id": 90, "name": "car"}]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    load_dataset(registered(instances_json=tmp_path / "instances.json"))
    assert results(PERFECT)["segm"]["AP"] == 0


def test_a_png_that_does_not_fit_is_named_before_anything_is_predicted(registered, tmp_path):
    load_dataset(registered())
    write_panoptic_ids(np.full((2, 3), 5), tmp_path / "ids" / "3.png")
    with pytest.raises(ValueError, match=r"ids/3\.png has the segment ids 5"):
        DetectionEvaluator(NAME)


def test_images_that_the_annotations_lack_are_refused_before_they_are_predicted(registered):
    load_dataset(registered())
    with pytest.raises(ValueError, match=r"panoptic\.json does not list the image 4 of"):
        DetectionEvaluator(NAME).check_images([{"image_id": 3}, {"image_id": 4}])
