"""Best pairs of query and class, as boxes in pixels."""

import pytest
import torch

from focalnet_d2.set_prediction.postprocessing import select_detections


def logit(probability: float) -> float:
    return torch.logit(torch.tensor(probability)).item()


def test_by_hand():
    """One query may give several detections; boxes are scaled by width and height, best first."""
    logits = torch.tensor([[[logit(0.9), logit(0.6)], [logit(0.1), logit(0.8)]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.0]]])
    (found,) = select_detections(logits, boxes, [(100, 200)], num_select=3)
    assert found.image_size == (100, 200)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8, 0.6]))
    assert found.pred_classes.tolist() == [0, 1, 1]
    expected = [[80.0, 30.0, 120.0, 70.0], [0.0, 0.0, 100.0, 100.0], [80.0, 30.0, 120.0, 70.0]]
    torch.testing.assert_close(found.pred_boxes.tensor, torch.tensor(expected))


def test_every_image_has_its_own_size_and_detections():
    logits, boxes = torch.randn(2, 6, 3), torch.rand(2, 6, 4)
    sizes = [(30, 40), (500, 300)]
    together = select_detections(logits, boxes, sizes, num_select=5)
    for i, found in enumerate(together):
        (alone,) = select_detections(logits[i : i + 1], boxes[i : i + 1], sizes[i : i + 1], num_select=5)
        assert torch.equal(found.pred_boxes.tensor, alone.pred_boxes.tensor)
        assert torch.equal(found.scores, alone.scores)
        assert len(found) == 5


def test_scores_fall():
    (found,) = select_detections(torch.randn(1, 20, 7), torch.rand(1, 20, 4), [(10, 10)], num_select=50)
    assert torch.equal(found.scores, found.scores.sort(descending=True).values)


def test_boxes_are_not_cut_unless_asked():
    logits = torch.tensor([[[2.0], [1.0], [0.0]]])
    boxes = torch.tensor([[[0.0, 0.5, 0.5, 0.5], [1.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.1, 0.1]]])
    (free,) = select_detections(logits, boxes, [(100, 100)], num_select=3)
    torch.testing.assert_close(free.pred_boxes.tensor[0], torch.tensor([-25.0, 25.0, 25.0, 75.0]))
    assert len(free) == 3
    (cut,) = select_detections(logits, boxes, [(100, 100)], num_select=3, clip_boxes=True)
    assert len(cut) == 2  # the second one lies outside
    torch.testing.assert_close(cut.pred_boxes.tensor[0], torch.tensor([0.0, 25.0, 25.0, 75.0]))
    assert cut.scores[1].item() == pytest.approx(0.5)
