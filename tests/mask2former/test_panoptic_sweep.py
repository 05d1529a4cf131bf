"""Maps of many thresholds at once, and what became of every query: both equal the ordinary post-processing."""

from unittest.mock import patch

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mask2former import postprocessing
from mask2former.postprocessing import InstanceInference, PanopticInference, SegmentationInference
from tests.mask2former.test_postprocessing import BIG, NONE, class_logits, run

OBJECTS, OVERLAPS = (0.1, 0.35, 0.5, 0.7, 0.99), (0.0, 0.3, 0.5, 0.8, 1.0)
THINGS = (0, 1)


@st.composite
def outputs(draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Class and mask logits of few values, so that scores and masks are equal in many places."""
    queries, seed = draw(st.integers(1, 7)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    levels = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])
    classes = levels[torch.randint(5, (queries, 4), generator=generator)]
    masks = levels[torch.randint(5, (queries, 4, 6), generator=generator)]
    return classes, masks if draw(st.booleans()) else masks + torch.randn(masks.shape, generator=generator)


def inference(panoptic: object) -> SegmentationInference:
    return SegmentationInference(thing_ids=THINGS, panoptic=panoptic, instance=InstanceInference(top_k=3))


@settings(max_examples=30)
@given(outputs(), st.booleans())
def test_each_map_is_that_of_its_thresholds(found, tiled):
    with patch.object(postprocessing, "_TILE_BYTES", 1 if tiled else 2**27):
        swept = run(inference(PanopticInference().sweep(OBJECTS)), *found, size=(7, 9))["panoptic_seg"]
        assert list(swept) == list(OBJECTS)
        for score, one in swept.items():
            for overlap in OVERLAPS:
                plain = PanopticInference(object_mask_threshold=score, overlap_threshold=overlap)
                expected, expected_segments = run(inference(plain), *found, size=(7, 9))["panoptic_seg"]
                ids, segments = one.segments(overlap)
                assert segments == [{key: s[key] for key in s if key != "score"} for s in expected_segments]
                table = torch.tensor([0, *ids], dtype=torch.int32)
                assert torch.equal(table[one.owners.long()], expected)


@settings(max_examples=30)
@given(outputs(), st.sampled_from(OBJECTS), st.sampled_from(OVERLAPS))
def test_the_segments_are_the_queries_that_are_said_to_be_some(found, score, overlap):
    plain = PanopticInference(object_mask_threshold=score, overlap_threshold=overlap)
    traced = plain.traced()
    ids, segments = run(inference(traced), *found)["panoptic_seg"]
    expected, expected_segments = run(inference(plain), *found)["panoptic_seg"]
    assert torch.equal(ids, expected)
    assert segments == expected_segments
    (image,) = traced.images
    rows = image.outcomes()
    assert [row.query for row in rows] == list(range(len(found[0])))
    kept = {row.segment: row for row in rows if row.outcome == "segment"}
    assert [(row.segment, row.class_id) for row in kept.values()] == [
        (one["id"], one["category_id"]) for one in segments
    ]
    for segment in segments:
        own = [row for row in rows if row.segment == segment["id"]]
        assert sum(row.inside for row in own) == int((ids == segment["id"]).sum())
        assert all(row.outcome == "merged" and row.class_id not in THINGS for row in own[1:])
    for row in rows:
        assert (row.outcome in ("segment", "merged")) == bool(row.segment)
        if row.outcome in ("no object", "low score"):
            assert row.area is None


def test_reasons_by_hand():
    logits = class_logits({0: 0.9}, {1: 0.8}, {0: 0.7}, {0: 0.6}, {2: 0.45, 1: 0.2}, {}, {2: 0.75}, num_classes=3)
    masks = torch.full((7, 1, 8), NONE, dtype=torch.float64)
    masks[0, 0, :4] = BIG
    masks[1, 0, 3:6] = BIG  # loses 1 of 3 pixels
    masks[2, 0, 1:3] = BIG  # loses both
    masks[6, 0, 4:8] = BIG  # loses 2 of 4
    traced = PanopticInference(object_mask_threshold=0.5, overlap_threshold=0.6).traced()
    run(SegmentationInference(thing_ids=THINGS, panoptic=traced), logits, masks)
    rows = traced.images[0].outcomes()
    assert [row.outcome for row in rows] == [
        *("segment", "segment", "covered", "empty mask", "low score", "no object", "overlap")
    ]
    assert [row.segment for row in rows] == [1, 2, 0, 0, 0, 0, 0]
    assert [(row.rival, row.lost) for row in rows] == [
        *((None, 0), (0, 1), (0, 2), (None, 0), (None, 0), (None, 0), (1, 2))
    ]
    assert (rows[6].area, rows[6].inside, rows[6].share) == (4, 2, 0.5)
    assert rows[5].class_id is None
