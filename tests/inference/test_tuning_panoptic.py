"""PQ of all pairs of thresholds from one pass, against the ordinary post-processing and evaluator for each pair."""

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog

from focalnet_d2.data.class_metadata import metadata_classes
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.inference import tuning_panoptic
from focalnet_d2.inference.tuning_panoptic import PanopticTally, PanopticThresholds
from mask2former.postprocessing import PanopticInference, SegmentationInference
from tests.evaluation import panoptic_sets as sets
from tests.registered_sets import forgotten_afterwards

SIZE = (12, 16)
CLASS_OF = {0: 2, 1: 0, 2: 1}  # of the data by that of the model


def make_image(folder, number: int) -> tuple[dict, torch.Tensor, torch.Tensor]:
    """A sample with its annotation, and class and mask logits that are right in part."""
    draws = np.random.default_rng(number)
    truth = np.zeros(SIZE, np.int32)
    truth[:6], truth[6:, 3:] = 1, 2
    truth[2:9, 4:9], truth[7:11, 10:15] = 3, 4
    classes = {1: 2, 2: 2, 3: 0, 4: 1}  # of the data
    sample = sets.sample_of(folder, number, truth, [sets.segment(key, one) for key, one in classes.items()])
    model_class = {own: key for key, own in CLASS_OF.items()}
    masks = [np.where(truth == key, 2.0, -2.0) for key in classes] * 2
    labels = [model_class[one] for one in classes.values()] * 2
    noise = draws.normal(0, 1.4, (len(masks), *SIZE))
    logits = draws.normal(0, 1, (len(masks), 4))
    logits[np.arange(len(masks)), labels] += draws.uniform(0.5, 4, len(masks))
    return sample, torch.tensor(logits, dtype=torch.float32), torch.tensor(np.stack(masks) + noise, dtype=torch.float32)


@pytest.fixture
def data_set(tmp_path):
    with forgotten_afterwards():
        images = [make_image(tmp_path, number) for number in range(4)]
        sets.register("tuned", [sample for sample, *_ in images], tmp_path)
        yield "tuned", images


def infer(panoptic: object, logits: torch.Tensor, masks: torch.Tensor) -> dict:
    inference = SegmentationInference(thing_ids=(1, 2), panoptic=panoptic)
    return inference(logits, masks, padded_size=SIZE, image_size=SIZE, output_size=SIZE)


def test_all_pairs_equal_ordinary_evaluations(data_set, monkeypatch):
    monkeypatch.setattr(tuning_panoptic, "STEPS", (0.05, 0.3, 0.45, 0.6, 0.95))
    name, images = data_set
    evaluator = PanopticEvaluator(name)
    classes = metadata_classes(MetadataCatalog.get(name))
    tally = PanopticTally(PanopticThresholds(0.33, 0.8), CLASS_OF, classes)
    for sample, logits, masks in images:
        swept = infer(PanopticInference().sweep(tally.objects), logits, masks)["panoptic_seg"]
        tally.add(swept, evaluator.read_truth(sample), "a prediction")
    assert (tally.objects, tally.overlaps) == ((0.05, 0.3, 0.33, 0.45, 0.6, 0.95), (0.05, 0.3, 0.45, 0.6, 0.8, 0.95))
    quality = {}
    for pair in tally.counts:
        evaluator.reset()
        plain = PanopticInference(**pair._asdict())
        for sample, logits, masks in images:
            ids, segments = infer(plain, logits, masks)["panoptic_seg"]
            mapped = [{**one, "category_id": CLASS_OF[one["category_id"]]} for one in segments]
            evaluator.process([sample], [{"panoptic_seg": (ids, mapped)}])
        expected = evaluator.evaluate()["panoptic_seg"]
        np.testing.assert_equal(tally.quality(pair), expected)
        quality[pair] = expected["PQ"]
    assert len(set(quality.values())) > 10
    assert quality[tally.best()] == max(quality.values()) > quality[tally.default]


def test_ties_go_to_the_default(data_set):
    name, images = data_set
    classes = metadata_classes(MetadataCatalog.get(name))
    empty = PanopticTally(PanopticThresholds(0.33, 0.77), CLASS_OF, classes)
    assert empty.best() == (0.33, 0.77)
    truth = PanopticEvaluator(name).read_truth(images[0][0])
    masks = torch.tensor(truth.map == truth.segments.ids[:, None, None]).float() * 60 - 30
    model_class = {own: key for key, own in CLASS_OF.items()}
    sure = torch.eye(4)[[model_class[one] for one in truth.segments.classes.tolist()]] * 30
    empty.add(infer(PanopticInference().sweep(empty.objects), sure, masks)["panoptic_seg"], truth, "a prediction")
    assert len({empty.quality(pair)["PQ"] for pair in empty.counts}) == 1
    assert empty.quality(empty.default)["PQ"] > 80
    assert empty.best() == (0.33, 0.77)
