"""The classifier in other runtimes gives the probabilities that it gives in torch."""

import numpy as np
import pytest
import torch

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.modeling.classifier.model import ImageClassifier
from tests.export.runtimes import RUNTIMES, Exported, noise
from tests.mask2former.building import TINY_BACKBONE


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    torch.manual_seed(0)
    backbone = FocalNet(**TINY_BACKBONE, out_features=("res5",))
    return Exported(ImageClassifier(backbone, num_classes=7), tmp_path_factory.mktemp("classifier"))


@torch.no_grad()
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("size", [(64, 96), (96, 64), (71, 130)])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_graph_gives_the_logits_and_probabilities_of_torch(exported, runtime, size, batch_size):
    samples = [noise(size, seed=seed) for seed in range(batch_size)]
    wanted = torch.stack([one["scores"] for one in exported.model(samples)])  # (B, K) logits
    images = torch.stack([sample["image"].float() for sample in samples])
    logits = exported.tensors(runtime, images, torch.tensor([size] * batch_size))["logits"]
    np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-5)
    found = np.stack([one["class_scores"] for one in exported.decoded(runtime, samples)])
    np.testing.assert_allclose(found, wanted.softmax(-1).numpy(), atol=1e-6)
