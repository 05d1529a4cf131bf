"""A written file against the model in torch, before anybody gets the file."""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from focalnet_d2.kernels.dispatch import portable_operators

from .description import Description
from .formats import Traced
from .preprocessing import padded_size
from .sessions import Arrays, Session

# Largest differences, in units of the spread of an output's values.
EXACT, HALF, ANY = 1e-3, 0.2, math.inf
_OTHER_SIZE = (0.75, 1.25)  # of height and width: those that a dynamic file is checked at, beside the traced ones


def check_file(session: Session, model: nn.Module, traced: Traced, description: Description, tolerance: float) -> float:
    """Compare a file with its model, at another number and size of images where it takes them.

    Returns:
        The largest difference, in units of the spread (standard deviation, at least 1) of an output's values.

    Raises:
        ValueError: it gives other outputs, or other values.
    """
    images, image_sizes = check_inputs(model, traced, description)
    try:
        found = session(images, image_sizes)
    except Exception as error:  # of whatever kind the runtime has
        raise ValueError(f"The file does not run on {len(images)} images of {images.shape[2:]}: {error}") from error
    with torch.no_grad(), portable_operators():
        expected = cast(Any, model).export_forward(torch.from_numpy(images), torch.from_numpy(image_sizes))
    return largest_difference(found, {name: value.numpy() for name, value in expected.items()}, tolerance)


def check_inputs(model: nn.Module, traced: Traced, description: Description) -> tuple[np.ndarray, np.ndarray]:
    """Random images (B, 3, H, W), partly padded where the model pads, and their sizes (B, 2)."""
    batch_size, (height, width) = traced.batch_size, traced.size
    if traced.dynamic:
        batch_size += 1
        height, width = (int(side * share) for side, share in zip(traced.size, _OTHER_SIZE, strict=True))
        height, width = padded_size((height, width), description.divisor)
    images = np.random.default_rng(0).uniform(0, 255, (batch_size, 3, height, width)).astype(np.float32)
    image_sizes = np.array([[height, width]] * batch_size, np.int64)
    if not description.settings.get("same_size", False):
        image_sizes[0] = height - height // 8, width - width // 8
    return images, image_sizes


def largest_difference(found: Arrays, expected: Arrays, tolerance: float) -> float:
    """See `check_file`. Queries and boxes that are nearly equally good may change places: sorted values are compared.

    Raises:
        ValueError: other names or shapes, values that are not finite, or a difference above the tolerance.
    """
    shapes = [{name: value.shape for name, value in arrays.items()} for arrays in (found, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"The file gives {shapes[0]} where the model gives {shapes[1]}: it fits one size only.")
    differences = {}
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ValueError(f"The file gives values of {name} that are NaN or infinite.")
        want = expected[name]
        steps = np.abs(np.sort(values, axis=None).astype(np.float64) - np.sort(want, axis=None))
        differences[name] = float(steps.max(initial=0)) / max(1.0, float(want.std()) if want.size else 0.0)
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > tolerance:
        raise ValueError(f"The file's {worst} is {differences[worst]:.3g} away from the model's, above {tolerance}.")
    return differences[worst]
