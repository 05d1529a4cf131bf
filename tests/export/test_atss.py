"""ATSS in other runtimes gives the detections that it gives in torch."""

import numpy as np
import pytest
import torch

from tests.export.runtimes import RUNTIMES, Exported, assert_same_detections, noise
from tests.modeling.small_detectors import tiny_atss


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    torch.manual_seed(0)
    model = tiny_atss(candidates_per_level=30, score_threshold=0.1, max_detections=40)
    return Exported(model, tmp_path_factory.mktemp("atss"))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sizes", [[(64, 96)], [(128, 64), (96, 50)], [(70, 150), (160, 33)]])
def test_the_graph_gives_the_tensors_of_torch(exported, runtime, sizes):
    batch = np.random.default_rng(0).uniform(0, 255, (len(sizes), 3, 160, 160)).astype(np.float32)
    images, image_sizes = torch.from_numpy(batch), torch.tensor(sizes)
    found, expected = exported.tensors(runtime, images, image_sizes), exported.expected_tensors(images, image_sizes)
    assert {name: values.shape for name, values in found.items()} == {
        "scores": (len(sizes), 150, 5), "centerness": (len(sizes), 150), "boxes": (len(sizes), 150, 4)
    }  # fmt: skip
    order = [np.argsort((one["scores"] * one["centerness"][..., None]).max(2), axis=1) for one in (found, expected)]
    for name, tolerance in (("scores", 1e-5), ("centerness", 1e-5)):
        for index in range(len(sizes)):
            np.testing.assert_allclose(
                found[name][index][order[0][index]], expected[name][index][order[1][index]], atol=tolerance
            )


@torch.no_grad()
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sizes", [[(64, 96)], [(128, 70), (96, 50)], [(70, 150), (160, 33)]])
def test_results_are_those_of_the_model(exported, runtime, sizes):
    samples = [noise(size, seed=index, height=100, width=200) for index, size in enumerate(sizes)]
    found, expected = exported.decoded(runtime, samples), exported.model(samples)
    assert all(len(one["scores"]) for one in found)
    for one, result in zip(found, expected, strict=True):
        assert_same_detections(one, result["instances"])


def test_a_level_with_few_cells_is_filled_up_with_what_nothing_decodes(exported):
    tensors = exported.expected_tensors(*(torch.zeros(1, 3, 32, 32), torch.tensor([[32, 32]])))
    used = (tensors["scores"] > 0).any(2).sum()
    assert used == 16 + 4 + 1 + 1 + 1  # cells of strides 8 to 128
