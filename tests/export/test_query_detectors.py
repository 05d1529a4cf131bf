"""DINO and Sparse R-CNN in other runtimes give the detections that they give in torch."""

import numpy as np
import pytest
import torch

from tests.dino.building import tiny_dino
from tests.export.runtimes import RUNTIMES, Exported, assert_same_detections, noise
from tests.modeling.small_detectors import tiny_sparse_rcnn

BATCHES = [[(64, 96)], [(128, 70), (96, 50)], [(70, 150), (160, 33)]]


def calm_sparse_rcnn():
    """Boxes that stay near the image: those of fresh weights are dozens of times as large, and so are roundings."""
    model = tiny_sparse_rcnn(num_select=20)
    for stage in model.head.stages:
        torch.nn.init.normal_(stage.fc_reg.weight, std=0.03)
    return model


MODELS = {
    "dino": lambda: tiny_dino(num_select=20),
    "dino_detrex": lambda: tiny_dino(num_select=20, shared_heads=False, clip_boxes=True, mask_padding_in_eval=False),
    "dino_5scale": lambda: tiny_dino(num_select=20, scales=5, layers=(1, 1)),
    "sparse_rcnn": calm_sparse_rcnn,
}


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory) -> Exported:
    return Exported(MODELS[request.param](), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sizes", BATCHES)
def test_the_graph_gives_the_logits_and_boxes_of_torch(exported, runtime, sizes):
    batch = np.random.default_rng(0).uniform(0, 255, (len(sizes), 3, 160, 160)).astype(np.float32)
    images, image_sizes = torch.from_numpy(batch), torch.tensor(sizes)
    found, expected = exported.tensors(runtime, images, image_sizes), exported.expected_tensors(images, image_sizes)
    for name, values in expected.items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sizes", BATCHES)
def test_results_are_those_of_the_model(exported, runtime, sizes):
    samples = [noise(size, seed=index, height=100, width=200) for index, size in enumerate(sizes)]
    found, expected = exported.decoded(runtime, samples), exported.model(samples)
    for one, result in zip(found, expected, strict=True):
        assert_same_detections(one, result["instances"])
        assert len(one["scores"]) > 10
