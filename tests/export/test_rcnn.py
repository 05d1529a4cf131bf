"""Mask R-CNN and its cascade in other runtimes give the detections that they give in torch."""

import numpy as np
import pytest
import torch

from focalnet_d2.modeling.rcnn.exported import stages
from focalnet_d2.modeling.rcnn.model import MaskRCNN
from tests.export.runtimes import RUNTIMES, Exported, assert_same_detections, noise, padded
from tests.modeling.rcnn.building import tiny_rcnn

SIZES = [[(64, 96)], [(128, 70), (96, 50)], [(70, 150), (160, 33)]]


def _model(detector: str) -> MaskRCNN:
    """Some images have more detections than are wanted, some fewer."""
    model = tiny_rcnn(detector)
    model.proposal_generator.pre_nms_topk[False] = 100
    model.proposal_generator.post_nms_topk[False] = 80
    last = stages(model.roi_heads.box_predictor)[-1]
    last.test_score_thresh, last.test_topk_per_image = 0.3, 50
    return model


@pytest.fixture(scope="module", params=["mask_rcnn", "cascade_mask_rcnn"])
def exported(request, tmp_path_factory) -> Exported:
    return Exported(_model(request.param), tmp_path_factory.mktemp(request.param))


@torch.no_grad()
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sizes", SIZES)
def test_results_are_those_of_the_model(exported, runtime, sizes):
    samples = [noise(size, seed=index, height=100, width=200) for index, size in enumerate(sizes)]
    found, expected = exported.decoded(runtime, samples), exported.model(samples)
    assert all(len(one["scores"]) > 10 for one in found)
    for one, result in zip(found, expected, strict=True):
        assert_same_detections(one, result["instances"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_graph_gives_the_tensors_of_torch(exported, runtime):
    images, image_sizes = padded([noise((90, 60)), noise((64, 70), seed=1), noise((33, 120), seed=2)], 32)
    found, expected = exported.tensors(runtime, images, image_sizes), exported.expected_tensors(images, image_sizes)
    assert {name: values.shape for name, values in found.items()} == {
        "boxes": (3, 50, 4), "scores": (3, 50), "class_ids": (3, 50), "masks": (3, 50, 28, 28)
    }  # fmt: skip
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
