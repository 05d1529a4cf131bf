"""A file with 16-bit weights is written for an untrained detector, whose suppression is near ties everywhere."""

from focalnet_d2.commands import export
from focalnet_d2.export.runtime import ExportedModel
from tests.inference.checkpoints import small_recipe, write


def test_untrained_heads_do_not_refuse_a_file(tmp_path):
    checkpoint = write(tmp_path / "model.pth", small_recipe("mask_rcnn"))
    assert export.main([str(checkpoint), "--half", "--out", str(tmp_path / "half.onnx")]) == 0
    assert ExportedModel(tmp_path / "half.onnx").description.precision == "float16"
    assert (tmp_path / "half.onnx").stat().st_size < 0.6 * checkpoint.stat().st_size
