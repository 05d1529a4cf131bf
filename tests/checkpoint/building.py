"""Small models and state dicts for the loading tests."""

from pathlib import Path

import torch
from torch import Tensor, nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.checkpoint import checkpoint_metadata, save_weights

TINY = dict(embed_dim=8, depths=(1, 1, 2, 1), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 3, 3))
LARGE_FLAGS = dict(use_conv_embed=True, use_postln=True, use_layerscale=True)


def tiny_focalnet(seed: int = 0, **changes) -> FocalNet:
    """A FocalNet whose every parameter is random, norms and layer scales included."""
    torch.manual_seed(seed)
    model = FocalNet(**{**TINY, **changes}).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def classifier_state(model: nn.Module, classes: int = 10) -> dict[str, Tensor]:
    """The file that Microsoft's classifier of this size would save."""
    state = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("norm")}
    dim = 8 * model.embed_dim
    return {
        **state,
        "norm.weight": torch.ones(dim),
        "norm.bias": torch.zeros(dim),
        "head.weight": torch.randn(classes, dim),
        "head.bias": torch.randn(classes),
    }


def on_meta(shapes: dict) -> dict[str, Tensor]:
    """A state dict of these shapes without values."""
    return {name: torch.empty(tuple(shape), device="meta") for name, shape in shapes.items()}


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


class Detector(nn.Module):
    """Any model with a FocalNet in it, such as Detectron2's with a feature pyramid."""

    def __init__(self, bottom_up: FocalNet):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.bottom_up = bottom_up
        self.head = nn.Linear(4, 3)


def own_file(model: nn.Module, folder: Path, classes: list[str] | None = None) -> Path:
    """A file as this project writes it."""
    path = folder / f"{type(model).__name__}.safetensors"
    save_weights(path, model, checkpoint_metadata(model, classes))
    return path
