"""Mask R-CNN and Cascade Mask R-CNN as a whole, and how their anchors are trained."""

import math

import pytest
import torch
from detectron2.config import instantiate
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from focalnet_d2.modeling.rcnn.model import RegionPooler, num_samples
from tests.modeling.rcnn.building import DETECTORS, rcnn_input, tiny_node, tiny_rcnn

LOSSES = {
    "mask_rcnn": {"loss_cls", "loss_box_reg", "loss_mask"},
    "cascade_mask_rcnn": {
        f"{name}_stage{stage}" for name in ("loss_cls", "loss_box_reg", "loss_mask") for stage in (0, 1, 2)
    },
}


@pytest.fixture(scope="module", params=DETECTORS)
def trained(request):
    """A model in training, its losses on two images of different sizes with all anchors, and their gradients."""
    model = tiny_rcnn(request.param).train()
    model.proposal_generator.batch_size_per_image = 10_000
    losses = model([rcnn_input(64, 96), rcnn_input(96, 80, seed=1)])
    sum(losses.values()).backward()
    return request.param, model, losses


@pytest.fixture(scope="module", params=DETECTORS)
def model(request):
    return tiny_rcnn(request.param).eval()


def test_losses(trained):
    detector, _, losses = trained
    assert set(losses) == LOSSES[detector] | {"loss_rpn_cls", "loss_rpn_loc"}
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_gradient_reaches_every_parameter(trained):
    _, model, _ = trained
    without = [name for name, parameter in model.named_parameters() if not (parameter.grad.abs().sum() > 0)]
    assert without == []


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("objects", [(0, 0), (2, 0)])
def test_images_without_objects_give_finite_losses(detector, objects):
    model = tiny_rcnn(detector).train()
    images = [rcnn_input(objects=count, seed=seed) for seed, count in enumerate(objects)]
    with EventStorage():
        losses = model(images)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    if objects == (0, 0):
        assert all(loss == 0 for name, loss in losses.items() if "box_reg" in name or "mask" in name or "loc" in name)


@torch.no_grad()
def test_detections_have_the_size_that_is_asked_for(model):
    image = {**rcnn_input(64, 96), "height": 128, "width": 160}
    del image["instances"]
    (result,) = model([image])
    found = result["instances"]
    assert found.image_size == (128, 160)
    assert 0 < len(found) <= 100
    assert found.pred_masks.shape == (len(found), 128, 160)
    assert found.pred_masks.dtype == torch.bool
    assert (found.scores > 0.05).all()
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert found.pred_classes.min() >= 0
    assert found.pred_classes.max() < 5
    boxes = found.pred_boxes.tensor
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([160, 128, 160, 128])).all()
    for (left, top, right, bottom), mask in zip(boxes.tolist(), found.pred_masks, strict=True):
        rows, columns = mask.nonzero().unbind(-1)
        if len(rows):
            assert rows.min() >= top - 2
            assert rows.max() <= bottom + 2
            assert columns.min() >= left - 2
            assert columns.max() <= right + 2


@torch.no_grad()
def test_an_image_without_a_wanted_size_keeps_its_own(model):
    (result,) = model([{"image": rcnn_input(64, 96)["image"]}])
    assert result["instances"].image_size == (64, 96)


@torch.no_grad()
def test_a_batch_is_its_images(model):
    images = [rcnn_input(64, 96, seed=seed) for seed in range(2)]
    for single, together in zip([model([image])[0] for image in images], model(images), strict=True):
        single, together = single["instances"], together["instances"]
        torch.testing.assert_close(together.scores, single.scores)
        torch.testing.assert_close(together.pred_boxes.tensor, single.pred_boxes.tensor, atol=1e-3, rtol=1e-4)
        assert torch.equal(together.pred_classes, single.pred_classes)
        assert (together.pred_masks != single.pred_masks).float().mean() < 1e-3


@torch.no_grad()
def test_no_proposals_no_detections(model):
    features = {f"p{level}": torch.randn(1, 16, 64 >> level, 96 >> level) for level in range(2, 7)}
    none = Instances((64, 96), proposal_boxes=Boxes(torch.zeros(0, 4)))
    (found,), _ = model.roi_heads(None, features, [none])
    assert len(found) == 0
    assert found.pred_masks.shape == (0, 1, 28, 28)


@torch.no_grad()
def test_masks_of_given_boxes(model):
    """What test-time augmentation asks for."""
    image = rcnn_input(64, 96)
    given = Instances((64, 96), pred_boxes=Boxes(torch.tensor([[4.0, 5, 60, 50]])), pred_classes=torch.tensor([2]))
    (found,) = model.inference([image], [given], do_postprocess=False)
    assert found.pred_masks.shape == (1, 1, 28, 28)
    assert 0 < found.pred_masks.mean() < 1


@pytest.mark.parametrize("detector", DETECTORS)
def test_mixed_precision(detector):
    model = tiny_rcnn(detector).train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model([rcnn_input(64, 96)])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        (found,) = model.eval().inference([rcnn_input(64, 96)], do_postprocess=False)
    assert found.scores.dtype == found.pred_masks.dtype == found.pred_boxes.tensor.dtype == torch.float32


def test_regions_of_half_precision_maps_are_not_moved():
    settings = dict(output_size=7, scales=(1 / 4,), sampling_ratio=0, pooler_type="ROIAlignV2")
    maps = [torch.randn(1, 2, 300, 300).bfloat16()]
    boxes = [Boxes(torch.tensor([[1001.3, 1003.7, 1130.2, 1099.1]]))]
    pooled = RegionPooler(**settings)(maps, boxes)
    torch.testing.assert_close(pooled, ROIPooler(**settings)([maps[0].float()], boxes))
    assert pooled.dtype == torch.float32


# What a user can get wrong


@pytest.mark.parametrize("detector", DETECTORS)
def test_bad_targets_are_refused(detector):
    model, image = tiny_rcnn(detector).train(), rcnn_input()
    image["instances"].gt_classes[0] = 7
    with pytest.raises(ValueError, match=r"gt_classes are .*7.*0\.\.4.*num_classes"):
        model([image])
    image = rcnn_input()
    image["instances"].remove("gt_masks")
    with pytest.raises(ValueError, match="need gt_masks: use BoxAndMaskMapper"):
        model([image])


@pytest.mark.parametrize("detector", DETECTORS)
def test_heads_of_another_number_of_classes_are_refused(detector):
    node = tiny_node(detector)
    node.roi_heads.num_classes = 4
    with pytest.raises(ValueError, match=r"num_classes is 5, but roi_heads\.num_classes is 4"):
        instantiate(node)


def test_stages_need_an_entry_each():
    node = tiny_node("cascade_mask_rcnn")
    node.roi_heads.stage_weights = [1.0, 0.5]
    with pytest.raises(ValueError, match=r"need an entry for each stage, got 3, 3, 3, 3, 2"):
        instantiate(node)


def test_state_dict_has_no_constants():
    """Detectron2's other files have pixel statistics and anchors; here the recipe says them."""
    names = tiny_rcnn().state_dict()
    assert not [name for name in names if "pixel" in name or "anchor_generator" in name]


# Anchors

CELLS = torch.tensor([[0.0, 0, 8, 8], [28, 28, 36, 36], [60, 28, 68, 36], [92, 28, 100, 36], [28, 60, 36, 68]])


def labels_of(border: float, objects, size=(40, 70), anchors=CELLS):
    """Labels and boxes of anchors of two levels; an image of 40 x 70 has 64 x 96 pixels with its own padding."""
    node = tiny_node().proposal_generator
    node.head.in_channels, node.anchor_boundary_thresh = 16, border
    image = Instances(size, gt_boxes=Boxes(torch.tensor(objects, dtype=torch.float32).reshape(-1, 4)))
    (labels,), (boxes,) = instantiate(node).label_and_sample_anchors([Boxes(anchors[:2]), Boxes(anchors[2:])], [image])
    return labels.tolist(), boxes.tolist()


def test_anchors_over_the_padding_of_the_batch_are_neither_positive_nor_background():
    labels, boxes = labels_of(-1.0, [[28, 28, 36, 36]])
    assert labels == [0, 1, 0, -1, -1]  # the last two are centred at x = 96 and y = 64
    assert boxes[1] == [28, 28, 36, 36]


def test_within_the_image_means_all_of_the_anchor():
    assert labels_of(0.0, [[28, 28, 36, 36]])[0] == [0, 1, 0, -1, -1]


def test_the_best_anchor_is_sought_among_those_within_the_image():
    anchors = torch.tensor([[0.0, 0, 8, 8], [30, 0, 40, 10], [30, -2, 38, 8]])
    objects = [[30, 0, 38, 8]]  # the last anchor overlaps it most: 0.8; the middle one 0.64
    assert labels_of(0.0, objects, anchors=anchors)[0] == [0, 1, -1]
    assert labels_of(-1.0, objects, anchors=anchors)[0] == [0, -1, 1]


def test_without_objects_all_anchors_of_the_image_are_background():
    labels, boxes = labels_of(0.0, [])
    assert labels == [0, 0, 0, -1, -1]
    assert boxes == CELLS.tolist()


def test_without_anchors_in_the_image_there_is_nothing_to_train():
    assert set(labels_of(0.0, [[0, 0, 3, 3]], size=(4, 4))[0]) == {-1}


# The divisor of the anchors' losses


@pytest.mark.parametrize(
    ("labels", "samples"),
    [
        ([[1, 0, 0, -1]], 3),
        ([[0, 0, 0, -1]], 4),  # no positive: one is counted
        ([[1, 1, -1, -1]], 3),  # no background: one is counted
        ([[-1, -1, -1, -1]], 2),
        ([[1, 0, 0, 0], [0, 0, -1, -1], [-1, -1, -1, -1]], 4 + 3 + 2),  # image by image, not over the batch
    ],
)
def test_every_image_counts_at_least_one_positive_and_one_background_anchor(labels, samples):
    assert num_samples([torch.tensor(image) for image in labels]) == samples


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("objects", "wanted"), [((2, 2), 16), ((2, 0), 16), ((0, 0), 16), ((0,), 10_000)])
def test_losses_of_anchors_are_divided_by_those_that_were_sampled(detector, objects, wanted):
    """With logits and deltas of zero an anchor costs log 2, and a box the distance of its deltas from zero."""
    node = tiny_node(detector).proposal_generator
    node.head.in_channels, node.batch_size_per_image, node.anchor_boundary_thresh = 16, wanted, -1.0
    generator = instantiate(node)
    anchors = generator.anchor_generator(maps_of(64, 96))
    images = [rcnn_input(objects=count, seed=seed)["instances"] for seed, count in enumerate(objects)]
    labels, boxes = generator.label_and_sample_anchors(anchors, images)
    logits = [torch.zeros(len(images), len(level), dtype=torch.float64) for level in anchors]
    deltas = [torch.zeros(len(images), len(level), 4, dtype=torch.float64) for level in anchors]
    with EventStorage():
        losses = generator.losses(anchors, logits, labels, deltas, boxes)
    positive, background = (torch.tensor([int((image == value).sum()) for image in labels]) for value in (1, 0))
    divisor = int(positive.clamp(min=1).sum() + background.clamp(min=1).sum())
    objectness = math.log(2) * int((positive + background).sum())
    assert losses["loss_rpn_cls"].item() == pytest.approx(objectness / divisor, rel=1e-6)  # of float32 labels
    transform, all_anchors = generator.box2box_transform, Boxes.cat(anchors).tensor
    targets = [transform.get_deltas(all_anchors, image)[label == 1] for image, label in zip(boxes, labels, strict=True)]
    total = float(torch.cat(targets).abs().sum())
    assert losses["loss_rpn_loc"].item() == pytest.approx(of_smooth_l1(generator, targets, total) / divisor, rel=1e-6)


def maps_of(height: int, width: int) -> list[torch.Tensor]:
    return [torch.zeros(1, 16, -(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32, 64)]


def of_smooth_l1(generator, targets: list[torch.Tensor], total: float) -> float:
    """The sum of smooth L1 distances, of which L1 (beta 0) is the plain `total`."""
    beta = generator.smooth_l1_beta
    if not beta:
        return total
    sizes = torch.cat(targets).abs()
    return float(torch.where(sizes < beta, 0.5 * sizes.square() / beta, sizes - 0.5 * beta).sum())
