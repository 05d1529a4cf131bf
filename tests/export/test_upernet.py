"""UPerNet in other runtimes gives the class of every pixel that it gives in torch, for whole images and windows."""

import numpy as np
import pytest
import torch

from focalnet_d2.export.decoding.pixels import decode_windows, windows
from focalnet_d2.export.result import Sizes
from focalnet_d2.kernels.average_pool import AVERAGE_POOL
from focalnet_d2.modeling.upernet.sliding_window import WindowInference
from tests.export.runtimes import RUNTIMES, Exported, noise
from tests.modeling.upernet.building import build_upernet

SIZES = [(64, 96), (96, 64), (71, 130)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    return Exported(build_upernet(inference=WindowInference(window=48, stride=31)), tmp_path_factory.mktemp("upernet"))


def share_of_equal_pixels(found: np.ndarray, wanted: torch.Tensor) -> float:
    return float((found == wanted.argmax(0).numpy()).mean())


@torch.no_grad()
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_graph_gives_the_logits_and_maps_of_torch(exported, monkeypatch, runtime, size, batch_size):
    monkeypatch.setattr(exported.model.inference, "window", 0)
    samples = [noise(size, seed=seed, height=110, width=77) for seed in range(batch_size)]
    images, image_sizes = torch.stack([one["image"].float() for one in samples]), torch.tensor([size] * batch_size)
    with AVERAGE_POOL.only("torch"):  # the graph holds the other one
        wanted = exported.model.export_forward(images, image_sizes)["logits"]
        results = exported.model(samples)
    np.testing.assert_allclose(exported.tensors(runtime, images, image_sizes)["logits"], wanted.numpy(), atol=1e-4)
    for found, result in zip(exported.decoded(runtime, samples), results, strict=True):
        assert found["semantic_map"].shape == (110, 77)
        assert share_of_equal_pixels(found["semantic_map"], result["sem_seg"]) >= 0.999


@torch.no_grad()
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_windows_go_through_the_graph_one_by_one(exported, runtime):
    image, settings = noise((71, 130), height=100, width=150), exported.model.export_settings()
    parts = windows((71, 130), settings)
    assert len(parts) == 8
    crops = [image["image"][:, top:bottom, left:right].float() for top, left, bottom, right in parts]
    outputs = [exported.tensors(runtime, crop[None], torch.tensor([crop.shape[1:]])) for crop in crops]
    alone = [{name: values[0] for name, values in one.items()} for one in outputs]
    found = decode_windows(alone, parts, settings, Sizes((71, 130), (71, 130), (100, 150)))["semantic_map"]
    assert share_of_equal_pixels(found, exported.model([image])[0]["sem_seg"]) >= 0.999
