"""Tiles: grids, votes and stitched objects, against brute force and against a predictor that is always right."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_codec

from focalnet_d2.data.class_map import class_map
from focalnet_d2.inference.image_input import InputImage
from focalnet_d2.inference.label_vote import LabelVote
from focalnet_d2.inference.prediction import Prediction, Segment
from focalnet_d2.inference.stitching import EDGE, TileObject, margin, stitch
from focalnet_d2.inference.tile_grid import PREFERENCE, Tile, tile_grid, tile_weights
from focalnet_d2.inference.tiles import TileSettings, compose_panoptic, predict_tiled
from focalnet_d2.structures.cropped_masks import CroppedMask, CroppedMasks

CLASSES = class_map([7, 9, 12], ["balloon", "sky", "sea"], things=[True, False, False])
BALLOON, SKY, SEA = 0, 1, 2


@st.composite
def scenes(draw) -> np.ndarray:
    """(H, W) of up to seven disks, 1 and up, that may touch but not hide each other, in sky (-1) and sea (-2)."""
    height, width = draw(st.integers(30, 90)), draw(st.integers(30, 90))
    scene = np.full((height, width), -1)
    scene[draw(st.integers(0, height)) :] = -2
    rows, columns = np.mgrid[:height, :width]
    for number in range(1, draw(st.integers(1, 7)) + 1):
        y, x, radius = draw(st.integers(0, height)), draw(st.integers(0, width)), draw(st.integers(2, 30))
        disk = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        if disk.any() and (scene[disk] < 0).all():
            scene[disk] = number
    return scene


def extent(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def classes_of(scene: np.ndarray) -> np.ndarray:
    return np.select([scene > 0, scene == -1], [BALLOON, SKY], SEA)


def right_prediction(image: InputImage) -> Prediction:
    """What the pixels say: they hold the scene itself in their first channel."""
    scene = image.pixels[..., 0].astype(int) - 2
    disks = [number for number in np.unique(scene).tolist() if number > 0]
    panoptic, segments = np.zeros(scene.shape, np.int32), []
    for value, class_id in [(number, BALLOON) for number in disks] + [(-1, SKY), (-2, SEA)]:
        if (scene == value).any():
            segments.append(Segment(len(segments) + 1, class_id, class_id == BALLOON))
            panoptic[scene == value] = segments[-1].id
    masks = np.array([scene == number for number in disks]).reshape(-1, *scene.shape)
    return Prediction(
        image.pixels,
        CLASSES,
        boxes=np.array([extent(mask) for mask in masks], np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(disks), dtype=np.float32),
        class_ids=np.zeros(len(disks), np.int64),
        masks=masks,
        panoptic_map=panoptic,
        segments=tuple(segments),
        semantic_map=classes_of(scene).astype(np.int32),
    )


def predictions(images: list[InputImage]) -> list[Prediction]:
    return [right_prediction(image) for image in images]


def touches_border(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def map_of(predict):
    """As `predict_tiled` takes what predicts one image."""
    return lambda images: map(predict, images)


def tiled(scene: np.ndarray, tile: int, overlap: float) -> Prediction:
    image = InputImage(np.repeat((scene + 2).astype(np.uint8)[..., None], 3, -1), "scene")
    return predict_tiled(predictions, image, CLASSES, TileSettings(tile, overlap))


@settings(max_examples=40, deadline=None)
@given(scenes(), st.integers(16, 48), st.sampled_from([0.25, 0.4, 0.5]))
def test_a_right_predictor_is_right_by_tiles(scene, tile, overlap):
    found = tiled(scene, tile, overlap)
    disks = {mask.tobytes() for number in np.unique(scene) if number > 0 for mask in [scene == number]}
    assert {mask.tobytes() for mask in found.masks} == disks
    assert len(found.masks) == len(disks)
    assert {tuple(box) for box in found.boxes.tolist()} == {tuple(extent(mask)) for mask in np.asarray(found.masks)}
    kinds = {segment.id: segment.class_id for segment in found.segments}
    assert sorted(kinds) == np.unique(found.panoptic_map).tolist()
    assert np.array_equal(np.vectorize(kinds.get)(found.panoptic_map), classes_of(scene))
    assert {(found.panoptic_map == one.id).tobytes() for one in found.segments if one.is_thing} == disks
    assert np.array_equal(found.semantic_map, classes_of(scene))


def prediction_that_fails_at_edges(image: InputImage) -> Prediction:
    """The right one, but of disks that reach an edge every second column is missing, and these have the best scores."""
    found = right_prediction(image)
    reach = np.array([touches_border(mask) for mask in found.masks], bool)
    masks, panoptic = found.masks.copy(), found.panoptic_map.copy()
    for mask in masks[reach]:
        panoptic[:, 1::2][mask[:, 1::2]] = 0
    masks[reach, :, 1::2] = False
    scores = np.where(reach, 1, found.scores).astype(np.float32)
    return replace(found, masks=masks, scores=scores, panoptic_map=panoptic)


@settings(max_examples=40, deadline=None)
@given(scenes(), st.integers(16, 48), st.sampled_from([0.25, 0.4, 0.5]))
def test_no_object_that_lies_inside_one_tile_is_cut_at_the_seam_of_others(scene, size, overlap):
    image = InputImage(np.repeat((scene + 2).astype(np.uint8)[..., None], 3, -1), "scene")
    settings_ = TileSettings(size, overlap)
    found = predict_tiled(map_of(prediction_that_fails_at_edges), image, CLASSES, settings_)
    tiles = [one for row in tile_grid(scene.shape, size, int(size * overlap)) for one in row]
    things = [found.panoptic_map == one.id for one in found.segments if one.is_thing]
    for number in np.unique(scene[scene > 0]):
        disk = scene == number
        if max(margin(extent(disk), tile, scene.shape) for tile in tiles) < EDGE or touches_border(disk):
            continue  # no tile sees it whole
        for masks in (np.asarray(found.masks), things):
            overlapping = [mask for mask in masks if (mask & disk).any()]
            assert len(overlapping) == 1
            assert np.array_equal(overlapping[0], disk)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120), st.floats(0, 0.5))
def test_a_grid_covers_the_image_with_the_overlap_asked_for(height, width, tile, share):
    overlap = int(tile * share)
    rows = tile_grid((height, width), tile, overlap)
    covered = np.zeros((height, width), int)
    for one in (one for row in rows for one in row):
        assert (one.bottom - one.top, one.right - one.left) == (min(tile, height), min(tile, width))
        covered[one.top : one.bottom, one.left : one.right] += 1
    assert covered.min() >= 1
    for before, after in pairwise(rows[0]):
        assert before.right - after.left >= overlap
    for before, after in pairwise(rows):
        assert before[0].bottom - after[0].top >= overlap


@settings(max_examples=30, deadline=None)
@given(
    st.integers(5, 40), st.integers(5, 40), st.integers(4, 16), st.sampled_from([0.0, 0.25, 0.5]), st.integers(0, 999),
    st.booleans(),
)  # fmt: skip
def test_votes_are_those_of_every_pixel_by_itself(height, width, tile, share, seed, scored):
    numbers = np.random.default_rng(seed)
    grid = tile_grid((height, width), tile, int(tile * share))
    tiles = [one for row in grid for one in row]
    maps = [numbers.integers(0, 3, (one.bottom - one.top, one.right - one.left)) for one in tiles]
    scores = numbers.integers(1, 9, (len(tiles), 3)).astype(np.float32) / 8
    vote = LabelVote((height, width))
    for one, labels, sure in zip(tiles, maps, scores):
        vote.add(one, labels, sure if scored else None)
    votes = np.zeros((3, height, width))
    for one, labels, sure in zip(tiles, maps, scores):
        weights = tile_weights(one, (height, width)).astype(np.float64)
        for label in (1, 2):
            share_of_label = (labels == label) * weights * (sure[label] if scored else 1)
            votes[label, one.top : one.bottom, one.left : one.right] += share_of_label
    labels = vote.finish()
    assert np.array_equal(labels == 0, votes.max(0) == 0)
    assert np.allclose(np.take_along_axis(votes, labels[None], 0)[0], votes.max(0), rtol=1e-6, atol=0)


def test_weights_fall_towards_edges_within_the_image_only():
    weights = tile_weights(Tile(0, 3, 4, 7), (4, 9))
    assert np.allclose((weights - 1) * 4 / PREFERENCE, [[1, 2, 2, 1]] * 4, atol=1e-3)
    whole = tile_weights(Tile(0, 0, 4, 9), (4, 9))
    assert whole.min() == whole.max()


def test_the_surer_tile_decides_and_of_equals_the_one_that_sees_more():
    tiles = [Tile(0, 0, 4, 12), Tile(0, 8, 4, 20)]
    for scores, expected in (((0.5, 0.6), [2, 2, 2, 2]), ((0.6, 0.5), [1, 1, 1, 1]), ((0.5, 0.5), [1, 1, 2, 2])):
        vote = LabelVote((4, 20))
        for number, (tile, score) in enumerate(zip(tiles, scores), 1):
            vote.add(tile, np.full((4, 12), number), np.array([0, score, score], np.float32))
        assert vote.finish()[:, 8:12].tolist() == [expected] * 4


@pytest.mark.parametrize("left_is_sure", [True, False])
def test_stuff_is_what_the_surer_tile_says(left_is_sure):
    def disagreeing(images):
        for number, image in enumerate(images):
            segment = Segment(1, (SKY, SEA)[number], False, 0.9 if left_is_sure == (number == 0) else 0.6)
            labels = np.ones(image.pixels.shape[:2], np.int32)
            yield Prediction(image.pixels, CLASSES, panoptic_map=labels, segments=(segment,))

    image = InputImage(np.zeros((16, 24, 3), np.uint8), "scene")
    found = predict_tiled(disagreeing, image, CLASSES, TileSettings(16, 0.5))
    kinds = {segment.id: segment.class_id for segment in found.segments}
    row = [kinds[label] for label in found.panoptic_map[3].tolist()]
    assert row == [SKY] * 8 + [SKY if left_is_sure else SEA] * 8 + [SEA] * 8


TILES, SIZE = [Tile(0, 0, 100, 100), Tile(0, 50, 100, 150)], (100, 150)


def box(tile: int, left: float, right: float, *, class_id=0, score=0.9) -> TileObject:
    extent = (left, 0.0, right, 40.0)
    return TileObject(tile, class_id, score, extent, None, margin(extent, TILES[tile], SIZE))


def test_the_whole_object_is_taken_before_its_part_whatever_the_scores():
    whole, part = box(0, 40, 80, score=0.6), box(1, 50, 80, score=0.9)
    assert stitch([whole, part], TILES, SIZE) == [whole]


def test_parts_are_joined_where_every_tile_cuts_the_object():
    joined = stitch([box(0, 20, 100, score=0.6), box(1, 50, 140, score=0.9)], TILES, SIZE)
    assert [(one.box, one.score) for one in joined] == [((20, 0, 140, 40), 0.9)]


@pytest.mark.parametrize("other", [box(1, 71, 120, class_id=1), box(1, 90, 130)], ids=["class", "place"])
def test_objects_that_differ_stay_two(other):
    assert len(stitch([box(0, 20, 79), other], TILES, SIZE)) == 2


@pytest.mark.parametrize(("left", "count"), [(70, 1), (80, 2)], ids=["30 of 50 pixels", "20 of 50 pixels"])
def test_objects_are_one_where_more_than_half_agrees_between_two_tiles(left, count):
    assert len(stitch([box(0, 20, 100), box(1, left, 140)], TILES, SIZE)) == count


def test_what_the_tile_with_the_better_view_has_not_found_is_left_out():
    assert stitch([box(0, 90, 95)], TILES, SIZE) == []
    assert len(stitch([box(0, 60, 75)], TILES, SIZE)) == 1


def test_objects_of_one_tile_are_never_joined():
    assert len(stitch([box(0, 10, 40), box(0, 10, 41)], TILES, SIZE)) == 2


def test_a_second_sight_of_a_thing_is_no_second_thing():
    whole = CroppedMask(0, 0, np.ones((4, 6), bool))
    part = CroppedMask(1, 3, np.ones((2, 5), bool))  # 6 of its 10 pixels are the other's
    things = [TileObject(0, 0, 1.0, (0, 0, 6, 4), whole, 9.0), TileObject(1, 0, 1.0, (3, 1, 8, 3), part, 0.0)]
    labels, segments = compose_panoptic(np.full((6, 9), 2, np.int32), things, 3)
    assert [(one.class_id, one.is_thing) for one in segments] == [(1, False), (0, True)]
    assert np.array_equal(labels == segments[1].id, whole.within(0, 0, 6, 9))


def test_of_a_large_image_little_more_than_its_maps_is_in_memory():
    side, tile = 2000, 200

    def sky(images):
        for image in images:
            labels = np.ones(image.pixels.shape[:2], np.int32)
            yield Prediction(
                image.pixels, CLASSES, panoptic_map=labels, segments=(Segment(1, SKY, False),), semantic_map=labels
            )

    image = InputImage(np.zeros((side, side, 3), np.uint8), "scene")
    tracemalloc.start()
    found = predict_tiled(sky, image, CLASSES, TileSettings(tile))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    maps = found.panoptic_map.nbytes + found.semantic_map.nbytes
    assert found.segments == (Segment(SKY + 1, SKY, False),)
    assert kept < 1.1 * maps
    assert peak < 1.5 * maps


def test_a_classifier_takes_no_tiles():
    def classify(images):
        return [Prediction(image.pixels, CLASSES, class_scores=np.ones(3)) for image in images]

    with pytest.raises(ValueError, match="classifier"):
        predict_tiled(classify, InputImage(np.zeros((9, 9, 3), np.uint8), "x"), CLASSES, TileSettings(8))


@pytest.mark.parametrize(("size", "overlap", "message"), [(0, 0.2, "tile size of 0"), (64, 0.6, "overlap of 0.6")])
def test_settings_that_make_no_grid_are_refused(size, overlap, message):
    with pytest.raises(ValueError, match=message):
        TileSettings(size, overlap)


def test_cropped_masks_are_those_of_the_whole_image():
    dense = np.zeros((2, 7, 9), bool)
    dense[0, 2:4, 3:8] = True
    masks = CroppedMasks([CroppedMask.around(mask) for mask in dense], (7, 9))
    assert masks.shape == dense.shape
    assert np.array_equal(np.asarray(masks), dense)
    assert all(np.array_equal(one, other) for one, other in zip(masks, dense, strict=True))
    assert np.array_equal(masks[1:][0], dense[1])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_run_lengths_are_those_of_the_whole_image(height, width, seed):
    draws = np.random.default_rng(seed)
    dense = draws.random((height, width)) < draws.choice([0.1, 0.5, 0.9, 1.0])
    runs = {"size": [height, width], "counts": CroppedMask.around(dense).run_lengths(height, width)}
    assert sum(runs["counts"]) == height * width
    assert np.array_equal(mask_codec.decode(mask_codec.frPyObjects(runs, height, width)), dense)
    assert mask_codec.frPyObjects(runs, height, width) == mask_codec.encode(np.asfortranarray(dense, np.uint8))
