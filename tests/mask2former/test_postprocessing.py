"""Semantic, panoptic and instance results: by hand, beside the reference implementation, and whatever the tiles."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.structures.packed_masks import PackedMasks
from mask2former.accumulators import extent, number_segments
from mask2former.postprocessing import InstanceInference, PanopticInference, SegmentationInference, SemanticInference
from tests.reference import postprocessing as reference

BIG, NONE = 30.0, -30.0  # logits of a sure pixel, and of none


def class_logits(*rows: dict[int, float], num_classes: int) -> torch.Tensor:
    """(Q, K + 1) logits whose softmax is as given, what is left going to no object."""
    probs = torch.full((len(rows), num_classes + 1), 1e-12, dtype=torch.float64)
    for row, given_probs in zip(probs, rows, strict=True):
        for label, prob in given_probs.items():
            row[label] = prob
        row[-1] = max(1 - sum(given_probs.values()), 1e-12)
    return probs.log()


def run(inference: SegmentationInference, logits: torch.Tensor, masks: torch.Tensor, size=None) -> dict:
    """Masks at the resolution of the network's input, and of the result unless `size` is given."""
    own = tuple(masks.shape[1:])
    return inference(logits, masks, padded_size=own, image_size=own, output_size=size or own)


def everything(dense_bytes: int = 2**30, top_k: int = 4) -> SegmentationInference:
    return SegmentationInference(
        thing_ids=(0, 1),
        semantic=SemanticInference(dense_bytes=dense_bytes),
        panoptic=PanopticInference(object_mask_threshold=0.4, overlap_threshold=0.5),
        instance=InstanceInference(top_k=top_k, dense_bytes=dense_bytes),
    )


def test_semantic_by_hand():
    logits = class_logits({0: 0.6, 1: 0.3}, {0: 0.2, 1: 0.7}, num_classes=2)
    masks = torch.tensor([[[BIG, 0.0]], [[NONE, BIG]]], dtype=torch.float64)
    scores = run(SegmentationInference(semantic=SemanticInference()), logits, masks)["sem_seg"]
    expected = torch.tensor([[[0.6, 0.3 + 0.2]], [[0.3, 0.15 + 0.7]]], dtype=torch.float64)
    torch.testing.assert_close(scores, expected)
    classes = run(SegmentationInference(semantic=SemanticInference(dense_bytes=0)), logits, masks)["sem_seg"]
    assert classes.tolist() == [[0, 1]]
    assert not classes.is_floating_point()


def test_panoptic_by_hand():
    """Two queries of a stuff class share a segment; no object, weak and overlapped queries become none."""
    logits = class_logits({2: 0.9}, {0: 0.95}, {2: 0.85}, {0: 0.8}, {}, {1: 0.6}, num_classes=3)
    masks = torch.full((6, 1, 8), NONE, dtype=torch.float64)
    masks[0, 0, :2] = BIG  # stuff
    masks[1, 0, 2:4] = BIG  # a thing
    masks[2, 0, 4:6] = BIG  # the same stuff
    masks[3, 0, 2:6] = BIG  # as strong as the threshold, which is not enough
    masks[4, 0] = BIG  # no object
    masks[5, 0, 3:7] = BIG  # loses 3 of its 4 pixels to stronger queries
    inference = SegmentationInference(
        thing_ids=(0, 1), panoptic=PanopticInference(object_mask_threshold=0.59, overlap_threshold=0.5)
    )
    logits[3] = class_logits({0: 0.58}, num_classes=3)[0]
    ids, segments = run(inference, logits, masks)["panoptic_seg"]
    assert ids.dtype == torch.int32
    assert ids.tolist() == [[1, 1, 2, 2, 1, 1, 0, 0]]
    assert segments == [
        {"id": 1, "isthing": False, "category_id": 2, "score": pytest.approx(0.9)},  # the best of its two queries
        {"id": 2, "isthing": True, "category_id": 0, "score": pytest.approx(0.95)},
    ]


def test_panoptic_threshold_is_strict():
    logits, masks = torch.zeros(1, 2), torch.full((1, 2, 2), BIG)
    logits[0, 0] = 2.0
    score = logits.softmax(-1)[0, 0].item()
    for threshold, count in ((score, 0), (score - 1e-6, 1)):
        inference = SegmentationInference(panoptic=PanopticInference(object_mask_threshold=threshold))
        ids, segments = run(inference, logits, masks)["panoptic_seg"]
        assert len(segments) == count
        assert bool(ids.any()) is bool(count)


@pytest.mark.parametrize(
    ("owned", "inside", "area", "kept"),
    [(8, 8, 10, True), (7, 7, 10, False), (9, 2, 10, True), (0, 0, 10, False), (5, 0, 0, False)],
)
def test_overlap_counts_all_pixels_that_a_query_owns(owned, inside, area, kept):
    ids, segments = number_segments([4], [owned], [inside], [area], thing_ids=(), overlap_threshold=0.8)
    assert ids == [int(kept)]
    assert len(segments) == int(kept)


def test_instances_by_hand():
    """Best pairs of query and class; score times mean probability; boxes end after the last pixel."""
    logits = class_logits({0: 0.6, 1: 0.3}, {0: 0.2, 1: 0.7}, {1: 0.05}, num_classes=2)
    masks = torch.full((3, 4, 5), NONE, dtype=torch.float64)
    masks[0, 1:3, 2:5] = BIG
    masks[0, 1, 2] = 1.0
    masks[1, 0, 0] = BIG
    found = run(SegmentationInference(instance=InstanceInference(top_k=4)), logits, masks)["instances"]
    assert found.pred_classes.tolist() == [1, 0, 1, 0]
    assert found.pred_masks.flatten(1).sum(1).tolist() == [1, 6, 6, 1]
    mean = (5 + torch.tensor(1.0).sigmoid().item()) / 6
    expected = torch.tensor([0.7, 0.6 * mean, 0.3 * mean, 0.2], dtype=torch.float64)
    torch.testing.assert_close(found.scores, expected, rtol=1e-5, atol=0)
    one, two = [0.0, 0.0, 1.0, 1.0], [2.0, 1.0, 5.0, 3.0]
    assert found.pred_boxes.tensor.tolist() == [one, two, two, one]


def test_an_empty_mask_has_no_score_and_no_box():
    logits, masks = class_logits({0: 0.9}, num_classes=1), torch.full((1, 3, 3), NONE)
    found = run(SegmentationInference(instance=InstanceInference(top_k=1)), logits, masks)["instances"]
    assert found.scores.tolist() == [0.0]
    assert found.pred_boxes.tensor.tolist() == [[0.0] * 4]


def test_things_are_chosen_after_the_best_pairs():
    logits = class_logits({2: 0.9}, {0: 0.5, 2: 0.4}, num_classes=3)
    found = run(everything(top_k=2), logits, torch.full((2, 2, 2), BIG, dtype=torch.float64))["instances"]
    assert found.pred_classes.tolist() == [0]


def test_nothing_found():
    """No query is kept and no class is a thing: empty results of the right shapes."""
    inference = SegmentationInference(panoptic=PanopticInference(), instance=InstanceInference(top_k=2))
    for semantic in (None, SemanticInference()):
        inference.semantic = semantic
        results = run(inference, torch.zeros(3, 3), torch.randn(3, 4, 6), size=(5, 7))
        ids, segments = results["panoptic_seg"]
        assert ids.tolist() == [[0] * 7] * 5
        assert segments == []
        assert len(results["instances"]) == 0
        assert results["instances"].pred_masks.shape == (0, 5, 7)


def test_more_instances_than_pairs():
    inference = SegmentationInference(instance=InstanceInference(top_k=7))
    with pytest.raises(ValueError, match="top_k 7 .* 3 queries times 2 classes.*num_queries"):
        inference.check(3, 2)
    with pytest.raises(ValueError, match="top_k 7"):
        run(inference, torch.zeros(3, 3), torch.zeros(3, 2, 2))
    SegmentationInference(instance=InstanceInference(top_k=6)).check(3, 2)


def test_nothing_to_infer():
    with pytest.raises(ValueError, match="semantic, panoptic, instance"):
        SegmentationInference(thing_ids=(1,))


def test_half_precision_logits_are_computed_in_float32():
    logits, masks = torch.randn(5, 4).bfloat16(), torch.randn(5, 6, 7).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = run(everything(), logits, masks)
    expected = run(everything(), logits.float(), masks.float())
    assert found["sem_seg"].dtype == torch.float32
    assert torch.equal(found["sem_seg"], expected["sem_seg"])
    assert torch.equal(found["instances"].scores, expected["instances"].scores)


def test_extent():
    first, stop = extent(torch.tensor([[False, True, False, True, False], [False] * 5, [True] * 5]))
    assert first.tolist() == [1, 0, 0]
    assert stop.tolist() == [4, 0, 5]


@st.composite
def problems(draw):
    """Logits, sizes, and which tasks are on."""
    side, stride = st.integers(1, 9), draw(st.sampled_from([1, 3, 4]))
    queries, classes = draw(st.integers(1, 9)), draw(st.integers(2, 6))
    low = (draw(side), draw(side))
    padded = tuple(stride * n for n in low)
    image = tuple(draw(st.integers(1, n)) for n in padded)
    output = draw(st.just(image) | st.tuples(st.integers(1, 30), st.integers(1, 30)))
    tasks = draw(st.sets(st.sampled_from(["semantic", "panoptic", "instance"]), min_size=1))
    logits = 3 * torch.randn(queries, classes + 1, dtype=torch.float64)
    masks = 4 * torch.randn(queries, *low, dtype=torch.float64)
    return logits, masks, {"padded_size": padded, "image_size": image, "output_size": output}, tasks


def only(inference: SegmentationInference, tasks: set[str]) -> SegmentationInference:
    for task in {"semantic", "panoptic", "instance"} - tasks:
        setattr(inference, task, None)
    return inference


@settings(max_examples=60)
@given(problems())
def test_equal_to_the_reference_implementation(problem):
    """Whose float64 masks are made at full size."""
    logits, masks, sizes, tasks = problem
    found = only(everything(top_k=2), tasks)(logits, masks, **sizes)
    large = reference.resize_masks(masks, **sizes)
    if tasks == {"semantic"}:
        scores = reference.reference_semantic(
            logits, reference.resize_masks(masks, sizes["padded_size"], *2 * [sizes["padded_size"]])
        )
        sizes["padded_size"] = scores.shape[1:]
        torch.testing.assert_close(found["sem_seg"], reference.resize_masks(scores, **sizes), rtol=0, atol=1e-12)
    elif "semantic" in tasks:
        torch.testing.assert_close(found["sem_seg"], reference.reference_semantic(logits, large), rtol=0, atol=1e-12)
    if "panoptic" in tasks:
        settings_ = everything().panoptic
        ids, segments = reference.reference_panoptic(logits, large, settings_, (0, 1))
        assert found["panoptic_seg"][1] == segments
        assert torch.equal(found["panoptic_seg"][0], ids)
    if "instance" in tasks:
        things = (0, 1) if "panoptic" in tasks else None
        inside, scores, classes = reference.reference_instances(logits, large, 2, things)
        assert torch.equal(found["instances"].pred_masks, inside.bool())
        assert torch.equal(found["instances"].pred_classes, classes)
        torch.testing.assert_close(found["instances"].scores, scores, rtol=0, atol=1e-12)
        boxes = BitMasks(inside.bool()).get_bounding_boxes().tensor
        assert torch.equal(found["instances"].pred_boxes.tensor, boxes)


@settings(max_examples=60)
@given(problems(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([0, 2**12, 2**15]))
def test_tiles_and_compact_forms_change_rounding_only(problem, dtype, tile_bytes):
    logits, masks, sizes, tasks = problem
    logits, masks = logits.to(dtype), masks.to(dtype)
    whole = only(everything(top_k=2), tasks)(logits, masks, **sizes)
    with patch("mask2former.postprocessing._TILE_BYTES", tile_bytes):
        tiles = only(everything(top_k=2), tasks)(logits, masks, **sizes)
        compact = only(everything(top_k=2, dense_bytes=0), tasks)(logits, masks, **sizes)
    share = 1e-5 if dtype is torch.float32 else 1e-13
    if "semantic" in tasks:
        torch.testing.assert_close(tiles["sem_seg"], whole["sem_seg"], rtol=share, atol=share)
        assert torch.equal(compact["sem_seg"].long(), whole["sem_seg"].argmax(0))
    if "panoptic" in tasks:
        assert torch.equal(tiles["panoptic_seg"][0], whole["panoptic_seg"][0])
        assert tiles["panoptic_seg"][1] == whole["panoptic_seg"][1]
    if "instance" in tasks:
        packed = compact["instances"].pred_masks
        assert isinstance(packed, PackedMasks) or len(packed) == 0
        np.testing.assert_array_equal(np.asarray(packed), whole["instances"].pred_masks.numpy())
        for found in (tiles["instances"], compact["instances"]):
            torch.testing.assert_close(found.scores, whole["instances"].scores, rtol=share, atol=share)
            assert torch.equal(found.pred_boxes.tensor, whole["instances"].pred_boxes.tensor)
        assert torch.equal(tiles["instances"].pred_masks, whole["instances"].pred_masks)
