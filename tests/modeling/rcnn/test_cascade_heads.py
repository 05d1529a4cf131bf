"""The stages of Cascade Mask R-CNN: what goes from one to the next, and what comes out of all of them."""

import math

import pytest
import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from tests.modeling.rcnn.building import rcnn_input, tiny_node, tiny_rcnn

CLASSES = 2


class Fixed(nn.Module):
    """Gives the same values for every box: (values) -> (N, values)."""

    def __init__(self, values):
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32))

    def forward(self, boxes):
        return self.values.expand(len(boxes), *self.values.shape)


@pytest.fixture
def heads():
    """Heads of two classes whose three stages predict fixed logits and deltas; masks are those of their stage."""
    node = tiny_node("cascade_mask_rcnn", num_classes=CLASSES)
    heads = instantiate(node).roi_heads.eval()
    logits = ([4.0, 0.0, 2.0], [0.0, 3.0, 1.0], [2.0, 0.0, 3.0])
    unit = [10.0, 20.0, 1 / 0.033]
    for stage in range(3):
        deltas = torch.zeros(CLASSES, 4)
        deltas[0, 0] = unit[stage] * 0.5  # class 0: half a width to the right
        deltas[1, 1] = unit[stage] * 0.5  # class 1: half a height down
        heads.box_head[stage] = nn.Flatten()
        heads.box_predictor[stage].cls_score = Fixed(logits[stage])
        heads.box_predictor[stage].bbox_pred = Fixed(deltas.flatten().tolist())
        masks = torch.stack([torch.full((28, 28), float(stage)), torch.full((28, 28), -50.0)])
        heads.mask_head[stage].layers = Fixed(masks.tolist())
    return heads


def features(size=(128, 128)):
    return {f"p{level}": torch.randn(1, 16, size[0] >> level, size[1] >> level) for level in range(2, 6)}


@torch.no_grad()
def test_boxes_of_the_last_stage_and_the_softmax_of_mean_logits(heads):
    proposals = Instances((128, 128), proposal_boxes=Boxes(torch.tensor([[10.0, 10, 30, 50]])))
    (found,), losses = heads(None, features(), [proposals])
    # stage 1 goes on with class 0: right by 10; stage 2 with class 1: down by 20; stage 3: each class by its own
    expected = {0: [30.0, 30, 50, 70], 1: [20.0, 50, 40, 90]}
    means = torch.tensor([6.0, 3.0, 6.0]) / 3
    for box, score, label in zip(found.pred_boxes.tensor, found.scores, found.pred_classes.tolist(), strict=True):
        torch.testing.assert_close(box, torch.tensor(expected[label]))
        torch.testing.assert_close(score, means.softmax(0)[label])
    assert sorted(found.pred_classes.tolist()) == [0, 1]
    assert losses == {}


@torch.no_grad()
def test_masks_are_mean_probabilities_of_the_class(heads):
    proposals = Instances((128, 128), proposal_boxes=Boxes(torch.tensor([[10.0, 10, 30, 50]])))
    (found,), _ = heads(None, features(), [proposals])
    mean = sum(1 / (1 + math.exp(-stage)) for stage in range(3)) / 3
    for label, mask in zip(found.pred_classes.tolist(), found.pred_masks, strict=True):
        torch.testing.assert_close(mask, torch.full((1, 28, 28), mean if label == 0 else 0.0))


def test_in_training_a_box_goes_on_with_its_own_class_and_background_with_the_best(heads):
    samples = Instances((128, 128))
    samples.proposal_boxes = Boxes(torch.tensor([[10.0, 10, 30, 50]] * 4))
    samples.gt_classes = torch.tensor([1, 0, CLASSES, 1])
    samples.is_object = torch.tensor([False, False, False, True])
    predictions = heads.box_predictor[0](torch.zeros(4, 1))
    (boxes,) = heads._next_boxes(0, predictions, [samples])
    right, down = [20.0, 10, 40, 50], [10.0, 30, 30, 70]
    torch.testing.assert_close(boxes.tensor, torch.tensor([down, right, right]))  # the object itself is left out
    assert not boxes.tensor.requires_grad


def test_box_loss_by_hand():
    """10 times the mean over all samples of 1 - GIoU of the decoded box of the sample's class."""
    predictor = instantiate(tiny_node("cascade_mask_rcnn", num_classes=CLASSES)).roi_heads.box_predictor[1]
    samples = Instances((100, 100))
    samples.proposal_boxes = Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 9, 9]]))
    samples.gt_boxes = Boxes(torch.tensor([[0.0, 0, 10, 20], [0, 0, 10, 10], [50, 50, 60, 60], [40, 40, 50, 50]]))
    samples.gt_classes = torch.tensor([0, 1, 0, CLASSES])
    deltas = torch.zeros(4, CLASSES, 4)
    deltas[1, 1, 0] = 20.0 * 1.5  # right by 15: apart from the object by 5, GIoU 0 - 5 / 25
    deltas[2, 1] = 7.0  # of another class: means nothing
    with EventStorage():
        losses = predictor.losses((torch.zeros(4, CLASSES + 1), deltas.flatten(1)), [samples])
    torch.testing.assert_close(losses["loss_box_reg"], torch.tensor(10 * (0.5 + 1.2 + 0 + 0) / 4))
    torch.testing.assert_close(losses["loss_cls"], torch.tensor(math.log(3)))


def test_each_stage_wants_a_better_overlap(heads):
    objects = rcnn_input(objects=1, num_classes=CLASSES)["instances"]
    objects.gt_boxes = Boxes(torch.tensor([[0.0, 0, 40, 40]]))
    proposals = Boxes(torch.tensor([[0.0, 0, 40, 22], [0, 0, 40, 26], [0, 0, 40, 30]]))  # IoU 0.55, 0.65, 0.75
    positives = [(~image.is_object & (image.gt_classes < CLASSES)).sum() for image in (
        heads._sample(stage, proposals, objects) for stage in range(3)
    )]  # fmt: skip
    assert positives == [3, 2, 1]


def test_the_losses_of_the_stages_have_their_weights(monkeypatch):
    model, seen = tiny_rcnn("cascade_mask_rcnn").train(), []
    heads = model.roi_heads
    for stage in range(3):
        monkeypatch.setattr(heads.box_predictor[stage], "losses", lambda predictions, samples: (
            seen.append(samples) or {"loss_cls": torch.tensor(1.0)}))  # fmt: skip
    losses = model([rcnn_input()])
    assert [losses[f"loss_cls_stage{stage}"].item() for stage in range(3)] == [1.0, 0.5, 0.25]
    for (samples,) in seen:
        assert samples.is_object.sum() == 2  # added at every stage
        assert len(samples) <= 128


def test_each_stage_trains_its_own_mask_head():
    model = tiny_rcnn("cascade_mask_rcnn").train()
    losses = model([rcnn_input()])
    for stage in range(3):
        model.zero_grad()
        losses[f"loss_mask_stage{stage}"].backward(retain_graph=True)
        trained = [head.predictor.weight.grad is not None for head in model.roi_heads.mask_head]
        assert trained == [index == stage for index in range(3)]
