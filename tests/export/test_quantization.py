"""8-bit files: which weights stay float32, and that a folder of images of different sizes calibrates them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from focalnet_d2.commands import export
from focalnet_d2.export.quantization import kept_nodes
from focalnet_d2.export.runtime import ExportedModel
from tests.inference.checkpoints import small_recipe, write


class Layers(nn.Module):
    """Two layers that may become 8-bit, and two, with one weight, that may not."""

    def __init__(self):
        super().__init__()
        self.first, self.sampling_offsets, self.conv = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Conv2d(8, 8, 1)
        self.class_embed = nn.Linear(8, 8, bias=False)
        self.class_embed.weight = self.sampling_offsets.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.class_embed(self.sampling_offsets(self.first(x)).relu())  # (B, N, 8)
        return self.conv(x.transpose(1, 2)[..., None])


def test_weights_are_kept_by_the_names_of_their_parameters(tmp_path):
    model = Layers().eval()
    torch.onnx.export(model, (torch.zeros(1, 4, 8),), tmp_path / "m.onnx", dynamo=False)
    file = onnx.load(tmp_path / "m.onnx")
    assert len(kept_nodes(model, file)) == 2
    assert all("class_embed" in name or "sampling_offsets" in name for name in kept_nodes(model, file))


@pytest.mark.parametrize(("format", "ending"), [("onnx", ".onnx"), ("openvino", ".xml")])
def test_images_of_different_sizes_calibrate(tmp_path, format, ending, capsys, caplog):
    recipe = small_recipe("upernet")
    recipe.model.backbone.embed_dim, recipe.model.backbone.depths = 16, [1, 1, 1, 1]
    checkpoint = write(tmp_path / "model.pth", recipe)
    for index, size in enumerate([(70, 90, 3), (90, 70, 3), (64, 64, 3)]):
        Image.fromarray(np.random.default_rng(index).integers(0, 256, size, np.uint8)).save(tmp_path / f"{index}.png")
    (tmp_path / "text.png").write_text("no image")
    arguments = [checkpoint, "--format", format, "--int8", tmp_path]
    for more in ([], ["--int8", tmp_path / "model.pth"]):
        found = export.main([*map(str, arguments), *map(str, more), "--out", str(tmp_path / f"{len(more)}{ending}")])
        assert found == (2 if more else 0)
    printed = capsys.readouterr().out
    assert "what 8-bit integers cost is seen on annotated images" in printed
    assert "difference" not in printed
    assert "Please consider" not in caplog.text
    model = ExportedModel(tmp_path / f"0{ending}", threads=1)
    assert model.description.precision == "int8"
    first, second = model([tmp_path / "0.png", tmp_path / "1.png"])
    assert (first.size, second.size) == ((70, 90), (90, 70))
    assert eight_bit_weights(tmp_path / f"0{ending}") > 30
    assert not list(tmp_path.glob(".*"))


def eight_bit_weights(path: Path) -> int:
    """Number of tensors with weights of 8 bits in a file."""
    if path.suffix == ".xml":
        return path.read_text().count('element_type="i8"')
    file = onnx.load(path)
    return sum(one.data_type == onnx.TensorProto.INT8 and len(one.dims) >= 2 for one in file.graph.initializer)
