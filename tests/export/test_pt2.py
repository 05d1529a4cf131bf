"""Programs of torch.export may have operators of PyTorch and torchvision's RoIAlign, and no region of precision."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from focalnet_d2.export.pt2_format import check_portable


class Regions(nn.Module):
    """RoIAlign, in the precision that is asked for."""

    def __init__(self, *, autocast: bool):
        super().__init__()
        self.autocast = autocast

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        if self.autocast:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                x = (x @ x).float()
        return torchvision.ops.roi_align(x, [boxes], 2)


def program(*, autocast: bool) -> torch.export.ExportedProgram:
    """The graph of `Regions`."""
    inputs = (torch.zeros(1, 2, 4, 4), torch.zeros(3, 4))
    return torch.export.export(Regions(autocast=autocast), inputs, strict=False)


def test_regions_are_portable():
    check_portable(program(autocast=False), Path("m.pt2"))


def test_regions_of_precision_are_not():
    with pytest.raises(ValueError, match=r"m\.pt2 has operators that are not of PyTorch.*autocast"):
        check_portable(program(autocast=True), Path("m.pt2"))
