"""Files with 16-bit weights give what the model gives, in both runtimes, also where suppression is near ties."""

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.commands import export
from focalnet_d2.export.runtime import ExportedModel
from focalnet_d2.inference.predictor import Predictor
from tests.export.runtimes import RUNTIMES
from tests.inference.checkpoints import small_recipe, write


def test_untrained_heads_do_not_refuse_a_file(tmp_path):
    checkpoint = write(tmp_path / "model.pth", small_recipe("mask_rcnn"))
    assert export.main([str(checkpoint), "--half", "--out", str(tmp_path / "half.onnx")]) == 0
    assert ExportedModel(tmp_path / "half.onnx").description.precision == "float16"
    assert (tmp_path / "half.onnx").stat().st_size < 0.6 * checkpoint.stat().st_size


@pytest.mark.parametrize("kind", ["atss", "classifier", "sparse_rcnn"])
def test_results_are_nearly_those_of_the_model(kind, tmp_path):
    checkpoint = write(tmp_path / "model.pth", small_recipe(kind))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    assert export.main([str(checkpoint), "--half", "--out", str(tmp_path / "half.onnx")]) == 0
    expected = Predictor(checkpoint, device="cpu", threshold=0)(image)
    for runtime in RUNTIMES:
        found = ExportedModel(tmp_path / "half.onnx", threshold=0, runtime=runtime, threads=1)(image)
        name = "class_scores" if kind == "classifier" else "scores"
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-2)
