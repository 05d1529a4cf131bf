"""The classifier in other runtimes gives the probabilities that it gives in torch."""

import numpy as np
import pytest
import torch

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.data.class_map import class_map
from focalnet_d2.export.description import KEY, Description
from focalnet_d2.export.exporting import export_model
from focalnet_d2.export.formats import Traced
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


@torch.no_grad()
def test_torchscript_has_the_graph_and_the_description(exported, tmp_path):
    model = exported.model
    about = Description("ImageClassifier", "classes", model.export_settings(), class_map(range(7), list("abcdefg")))
    traced = Traced(2, (64, 96), dynamic=True)
    written = export_model(model, tmp_path / "m.torchscript", about, format="torchscript", traced=traced)
    assert written.difference < 1e-5
    extra = {KEY: b""}
    script = torch.jit.load(written.path, _extra_files=extra)
    images, sizes = torch.rand(3, 3, 32, 64) * 255, torch.tensor([[32, 64]] * 3)
    torch.testing.assert_close(script(images, sizes)[0], model.export_forward(images, sizes)["logits"])
    assert Description.from_json(bytes(extra[KEY]).decode(), written.path).decoder == "classes"
