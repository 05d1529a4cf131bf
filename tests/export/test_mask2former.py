"""Mask2Former in other runtimes gives the segments, instances and classes that it gives in torch."""

import numpy as np
import pytest
import torch

from mask2former.model import Mask2Former
from tests.export.decoding.test_query_masks import assert_same
from tests.export.runtimes import RUNTIMES, Exported, noise
from tests.mask2former.building import build_inference, build_mask2former

BATCHES = [[(64, 96)], [(128, 70), (96, 50)], [(70, 150), (160, 33)]]


def spread_out(model: Mask2Former) -> Mask2Former:
    """Queries that differ, and masks that cover parts of an image: fresh ones are all the same."""
    torch.nn.init.normal_(model.decoder.class_embed.weight, std=1.5)
    torch.nn.init.normal_(model.decoder.mask_embed.layers[-1].weight, std=1.5)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    torch.manual_seed(0)
    model = spread_out(build_mask2former(inference=build_inference(thresholds=(0.3, 0.1))))
    return Exported(model, tmp_path_factory.mktemp("mask2former"))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sizes", BATCHES)
def test_the_graph_gives_the_logits_of_torch(exported, runtime, sizes):
    images = torch.rand(len(sizes), 3, 160, 160) * 255
    found = exported.tensors(runtime, images, torch.tensor(sizes))
    with torch.no_grad():
        wanted = exported.model.export_forward(images, torch.tensor(sizes))
    assert found["pred_masks"].shape == (len(sizes), 12, 40, 40)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values.numpy(), atol=1e-4 * float(values.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sizes", BATCHES)
@pytest.mark.parametrize("tasks", ["panoptic instance semantic", "instance", "semantic"])
def test_results_are_those_of_the_model(exported, monkeypatch, runtime, sizes, tasks):
    monkeypatch.setattr(exported.model, "inference", build_inference(tasks, thresholds=(0.3, 0.1)))
    samples = [noise(size, seed=index, height=100, width=140) for index, size in enumerate(sizes)]
    for found, wanted in zip(exported.decoded(runtime, samples), exported.model(samples), strict=True):
        assert_same(wanted, found)
        assert "panoptic" not in tasks or len(found["segments"]) > 1
