"""What exported Mask2Formers decode, beside torch's post-processing, on random logits of any size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.export.decoding import resizing
from focalnet_d2.export.decoding.query_masks import decode
from focalnet_d2.export.result import Sizes
from mask2former.postprocessing import (  # fmt: skip
    InstanceInference,
    PanopticInference,
    SegmentationInference,
    SemanticInference,
)

TASKS = ("panoptic", "instance", "semantic")
SIDES = st.integers(1, 40)


def inference(tasks=TASKS, *, object_threshold=0.4, overlap=0.5, top_k=9, thing_ids=(0, 2)) -> SegmentationInference:
    return SegmentationInference(
        thing_ids=thing_ids,
        panoptic=PanopticInference(object_mask_threshold=object_threshold, overlap_threshold=overlap)
        if "panoptic" in tasks
        else None,
        instance=InstanceInference(top_k=top_k) if "instance" in tasks else None,
        semantic=SemanticInference() if "semantic" in tasks else None,
    )


def logits(queries: int, classes: int, size: tuple[int, int], seed: int, sharpness: float = 4.0):
    """(Q, K + 1) and smooth masks (Q, h, w), in float32."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, queries, 3, 3, generator=draws) * sharpness
    masks = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")[0]
    return torch.randn(queries, classes + 1, generator=draws) * 3, masks + torch.randn(masks.shape, generator=draws) / 9


def both(inferring: SegmentationInference, classes: torch.Tensor, masks: torch.Tensor, sizes: Sizes):
    """What torch makes of the logits, and what numpy does."""
    wanted = inferring(classes, masks, padded_size=sizes.padded, image_size=sizes.image, output_size=sizes.output)
    outputs = {"pred_logits": classes.numpy(), "pred_masks": masks.numpy()}
    return wanted, decode(outputs, inferring.settings(), sizes)


def assert_same(wanted: dict, found: dict) -> None:
    """Equal but for rounding: a pixel in a thousand (or one) may lie on a border."""
    if "panoptic_seg" in wanted:
        ids, segments = wanted["panoptic_seg"]
        assert found["panoptic_map"].dtype == np.int32
        assert different(ids.numpy(), found["panoptic_map"]) == 0
        for one, segment in zip(found["segments"], segments, strict=True):
            named = {"id": one["id"], "isthing": one["isthing"], "category_id": one["class_id"]}
            assert named | {"score": pytest.approx(one["score"], abs=1e-4)} == segment
    if "sem_seg" in wanted:
        assert found["semantic_map"].dtype == np.int32
        assert different(wanted["sem_seg"].argmax(0).numpy(), found["semantic_map"]) == 0
    if "instances" in wanted:
        assert_same_instances(wanted["instances"], found)


def different(wanted: np.ndarray, found: np.ndarray) -> int:
    assert wanted.shape == found.shape
    return max(0, int((wanted != found).sum()) - max(1, found.size // 1000))


def assert_same_instances(wanted, found: dict) -> None:
    """The same objects; which of two comes first whose scores differ by rounding is nobody's."""
    assert len(found["scores"]) == len(wanted)
    assert (np.diff(found["scores"]) <= 0).all()
    remaining = list(range(len(wanted)))
    fields = (wanted.scores, wanted.pred_classes, wanted.pred_masks, wanted.pred_boxes.tensor)
    scores, classes, masks, boxes = (values.numpy() for values in fields)
    for place in range(len(wanted)):
        mask, box = found["masks"][place], found["boxes"][place]
        same = [
            one
            for one in remaining
            if abs(scores[one] - found["scores"][place]) < 1e-4 and classes[one] == found["class_ids"][place]
            and different(masks[one], mask) == 0 and (np.abs(boxes[one] - box).max() < 1 or (masks[one] != mask).any())
        ]  # fmt: skip
        assert same, f"The object {place} of score {found['scores'][place]} is nowhere else."
        remaining.remove(same[0])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6), queries=st.integers(3, 9), cells=st.tuples(SIDES, SIDES),
    output=st.tuples(SIDES, SIDES), cut=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    tasks=st.sets(st.sampled_from(TASKS), min_size=1), same=st.booleans(),
)  # fmt: skip
def test_results_are_those_of_torch(seed, queries, cells, output, cut, tasks, same):
    padded = (4 * cells[0], 4 * cells[1])
    image = (max(1, padded[0] - cut[0]), max(1, padded[1] - cut[1]))
    classes, masks = logits(queries, 3, cells, seed)
    sizes = Sizes(padded, image, image if same else output)
    wanted, found = both(inference(tuple(tasks)), classes, masks, sizes)
    assert_same(wanted, found)


def decoded(inferring: SegmentationInference, classes: torch.Tensor, masks: torch.Tensor, **more) -> dict:
    size = (4 * masks.shape[1], 4 * masks.shape[2])
    outputs = {"pred_logits": classes.numpy(), "pred_masks": masks.numpy()}
    return decode(outputs, {**inferring.settings(), **more}, Sizes(size, size, (30, 50)))


def test_no_query_is_kept():
    classes, masks = logits(5, 3, (6, 9), seed=0)
    found = decoded(inference(("panoptic",), object_threshold=1.0), classes, masks)
    assert found["panoptic_map"].shape == (30, 50)
    assert not found["panoptic_map"].any()
    assert found["segments"] == ()


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
def test_all_queries_are_kept(overlap):
    classes, masks = logits(6, 3, (6, 9), seed=1)
    classes[:, -1] = -30
    sizes = Sizes((24, 36), (20, 33), (37, 41))
    wanted, found = both(inference(("panoptic",), object_threshold=0.0, overlap=overlap), classes, masks, sizes)
    assert_same(wanted, found)


def test_equal_queries_share_nothing():
    """The first of equal queries owns all pixels; the others own none and become none."""
    classes, masks = logits(1, 3, (8, 16), seed=2)  # whole vectors of any processor: equal queries round alike
    classes, masks = classes.expand(3, -1).clone(), masks.abs().expand(3, -1, -1).clone()
    classes[:, 0] = 20.0
    wanted, found = both(inference(("panoptic",)), classes, masks, Sizes((32, 64), (32, 64), (32, 64)))
    assert_same(wanted, found)
    assert len(found["segments"]) == 1
    assert (found["panoptic_map"] == 1).all()


def test_queries_of_one_stuff_class_share_a_segment_with_the_higher_score():
    classes = torch.full((2, 4), -9.0)
    classes[0, 1], classes[1, 1] = 2.0, 5.0
    masks = torch.full((2, 4, 4), -9.0)
    masks[0, :2] = masks[1, 2:] = 9.0
    found = decoded(inference(("panoptic",)), classes, masks)
    ((segment),) = found["segments"]
    assert segment == {"id": 1, "class_id": 1, "isthing": False, "score": pytest.approx(1.0, abs=1e-4)}
    assert (found["panoptic_map"] == 1).mean() > 0.9


def test_an_empty_mask_has_no_score_and_no_box():
    classes, masks = logits(4, 3, (6, 9), seed=3)
    masks[:] = -5.0
    found = decoded(inference(("instance",), top_k=12), classes, masks)
    assert not found["scores"].any()
    assert not found["boxes"].any()
    assert not found["masks"].any()
    assert len(found["masks"]) == 12


def test_a_threshold_leaves_out_what_is_below_it_and_nothing_else():
    classes, masks = logits(8, 3, (6, 9), seed=4)
    everything, best = (decoded(inference(("instance",), top_k=24), classes, masks, threshold=t) for t in (0.0, 0.5))
    count = int((everything["scores"] >= 0.5).sum())
    assert 0 < count < 24
    for name, values in best.items():
        np.testing.assert_array_equal(values, everything[name][:count])


def test_a_mask_of_one_pixel_has_the_score_of_that_pixel():
    """Sums of whole rows would lose it among the probabilities outside the mask."""
    classes, masks = torch.tensor([[9.0, -9.0]]), torch.full((1, 1, 4000), -0.001)
    masks[0, 0, 77] = 3.0
    sizes = Sizes((1, 4000), (1, 4000), (1, 4000))
    wanted, found = both(inference(("instance",), top_k=1, thing_ids=(0,)), classes, masks, sizes)
    np.testing.assert_allclose(found["scores"], wanted["instances"].scores.numpy(), rtol=1e-5)
    assert found["boxes"].tolist() == [[77, 0, 78, 1]]


def test_half_precision_is_decoded_as_float32():
    classes, masks = logits(5, 3, (6, 9), seed=5)
    wanted = decoded(inference(), classes.half().float(), masks.half().float())
    outputs = {"pred_logits": classes.half().numpy(), "pred_masks": masks.half().numpy()}
    found = decode(outputs, inference().settings(), Sizes((24, 36), (24, 36), (30, 50)))
    for name in ("panoptic_map", "semantic_map", "masks", "scores"):
        np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.parametrize("rows", [1, 5])
def test_tiles_change_nothing(monkeypatch, rows):
    classes, masks = logits(7, 3, (11, 13), seed=6)
    whole = decoded(inference(), classes, masks)
    monkeypatch.setattr(resizing, "_TILE_ROWS", rows)
    tiled = decoded(inference(), classes, masks)
    for name in ("panoptic_map", "semantic_map", "masks", "boxes"):
        np.testing.assert_array_equal(tiled[name], whole[name])
