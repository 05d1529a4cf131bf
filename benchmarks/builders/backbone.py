"""FocalNet beside its reference implementation, with the same weights: forward, and forward with backward."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.measuring import Result, count_gflop, run_as_library
from benchmarks.work import Timed
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from tests.reference.focalnet import reference_focalnet


def forward_only(network: FocalNet, compute: Callable, image: Tensor) -> list[Tensor]:
    """Maps of the four stages."""
    with torch.no_grad():
        return list(compute(image).values())


def forward_backward(network: FocalNet, compute: Callable, image: Tensor) -> list[Result]:
    """Gradients of the image, and of all parameters."""
    image = image.detach().requires_grad_()
    total = sum((feature * _wave_like(feature)).mean() for feature in compute(image).values())
    image_grad, *grads = torch.autograd.grad(total, [image, *network.parameters()])
    return [image_grad, grads]


def _wave_like(x: Tensor) -> Tensor:
    """Fixed numbers of all signs; the outputs are normalized, so that a sum of squares would have no gradient."""
    return torch.arange(x.numel(), dtype=torch.float32).sin().view(x.shape)


def build(variant: str, windows: int | None, *, training: bool, size: tuple[int, int], precision: str) -> Timed:
    """`windows`: of all first focal levels, where they are not the variant's own."""
    torch.manual_seed(0)
    changes = {} if windows is None else {"focal_windows": (windows,) * 4}
    network, image = FocalNet(**{**FOCALNET_VARIANTS[variant], **changes}), torch.randn(1, 3, *size)
    run = forward_backward if training else forward_only
    reference = partial(reference_focalnet, network)
    with_reference = partial(run, network, reference, image)
    forward = partial(forward_only, network, reference, image)

    def compute(image: Tensor) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            return network(image)

    library = partial(run_as_library, "float32", partial(run, network, compute, image))
    gflop = partial(count_gflop, forward, 3 if training else 1)
    return Timed({"reference": with_reference, "library": library}, gflop=gflop)
