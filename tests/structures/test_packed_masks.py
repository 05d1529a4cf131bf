"""Masks at one bit a pixel behave like the bool tensor that they stand for."""

import numpy as np
import pytest
import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import Boxes, Instances
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from focalnet_d2.structures.packed_masks import PackedMasks

shapes = st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 40))


def random_masks(shape) -> torch.Tensor:
    return torch.rand(shape) > 0.5


@given(shapes)
def test_packing_loses_nothing_and_has_numpys_bits(shape):
    masks = random_masks(shape)
    packed = PackedMasks.pack(masks)
    assert packed.shape == shape
    assert len(packed) == shape[0]
    assert torch.equal(packed.tensor, masks)
    np.testing.assert_array_equal(packed.packed.numpy(), np.packbits(masks.numpy(), axis=-1))
    np.testing.assert_array_equal(np.asarray(packed), masks.numpy())


def test_indices_give_one_mask_or_packed_masks():
    masks = random_masks((5, 3, 13))
    packed = PackedMasks.pack(masks)
    assert torch.equal(packed[3], masks[3])
    assert torch.equal(packed[-1], masks[-1])
    for item in (slice(1, 4), torch.tensor([4, 0, 0]), masks[:, 0, 0], torch.zeros(0, dtype=torch.int64)):
        assert isinstance(packed[item], PackedMasks)
        assert torch.equal(packed[item].tensor, masks[item])
    assert all(torch.equal(one, other) for one, other in zip(packed, masks, strict=True))
    with pytest.raises(IndexError):
        packed[5]


def test_packing_a_part_of_a_tensor():
    masks = random_masks((3, 8, 29))[1:, 2:5, 3:20]
    assert torch.equal(PackedMasks.pack(masks).tensor, masks)


@given(shapes, st.integers(1, 6))
def test_rows_are_set_a_few_at_a_time(shape, rows):
    masks = random_masks(shape)
    packed = PackedMasks.zeros(shape, "cpu")
    assert not packed.tensor.any()
    for start in range(0, shape[1], rows):
        packed.set_rows(start, PackedMasks.pack(masks[:, start : start + rows]))
    assert torch.equal(packed.tensor, masks)


def test_instances_take_it_in_place_of_a_tensor():
    masks = random_masks((4, 6, 11))
    instances = Instances((6, 11), pred_masks=PackedMasks.pack(masks), scores=torch.arange(4.0))
    chosen = instances[instances.scores > 1].to("cpu")
    assert torch.equal(chosen.pred_masks.tensor, masks[2:])
    assert torch.equal(instances[2].pred_masks.tensor, masks[2:3])
    both = Instances.cat([instances, chosen])
    assert torch.equal(both.pred_masks.tensor, torch.cat([masks, masks[2:]]))


def test_detectron2s_evaluator_reads_it():
    masks = random_masks((3, 6, 11))
    instances = Instances((6, 11), pred_masks=PackedMasks.pack(masks), scores=torch.ones(3))
    instances.pred_boxes, instances.pred_classes = Boxes(torch.zeros(3, 4)), torch.zeros(3, dtype=torch.int64)
    decoded = [coco_mask.decode(entry["segmentation"]) for entry in instances_to_coco_json(instances, 1)]
    np.testing.assert_array_equal(np.stack(decoded), masks.numpy())
