"""A written file against the model in torch, before anybody gets the file."""

import math
from functools import partial
from itertools import starmap
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from focalnet_d2.kernels.dispatch import portable_operators

from .description import Description
from .formats import Traced
from .graph import channels_of
from .preprocessing import padded_size
from .sessions import Arrays, Session

# Largest differences, in units of the spread of an output's values.
EXACT, HALF, ANY = 1e-3, 0.2, math.inf
FLIPS = 0.02  # share of the rows that may be others where a graph chooses, see `largest_difference`
FLIPS_HALF = 0.5  # with rounded weights: an untrained head is near ties everywhere
CHOOSING = ("regions", "dense_boxes", "query_boxes")  # decoders of graphs that suppress or take the best
_IMAGES_TO_TRY = 5
_ROUNDING = 1e-3  # changes of images by rounding, as a share of the tolerance of its results
_OTHER_SIZE = (0.75, 1.25)  # of height and width: those that a dynamic file is checked at, beside the traced ones


def check_file(session: Session, model: nn.Module, traced: Traced, description: Description, tolerance: float) -> float:
    """Compare a file with its model, at another number and size of images where it takes them.

    Where the model itself decides by rounding (a pixel of an attention mask at its threshold, two equal scores), other
    images are taken: those say nothing about the file.

    Returns:
        The largest difference, in units of the spread (standard deviation, at least 1) of an output's values.

    Raises:
        ValueError: it gives other outputs, or other values.
    """
    flips = (FLIPS if tolerance <= EXACT else FLIPS_HALF) if description.decoder in CHOOSING else 0.0
    compare = partial(worst_output, tolerance=tolerance, flips=flips)
    for seed in range(_IMAGES_TO_TRY):
        images, image_sizes = check_inputs(model, traced, description, seed)
        found, expected = _of_file(session, images, image_sizes), _of_model(model, images, image_sizes)
        worst = compare(found, expected)
        if worst.difference <= tolerance:
            break
        change = images * np.random.default_rng(0).uniform(-1, 1, images.shape) * tolerance * _ROUNDING
        moved = (_of_model(model, (images + one).astype(np.float32), image_sizes) for one in (-change, change))
        if all(compare(one, expected).difference <= tolerance for one in moved):
            break  # the model is sure
    return _accepted(worst, tolerance)


def _of_file(session: Session, images: np.ndarray, image_sizes: np.ndarray) -> Arrays:
    """The outputs for images (B, C, H, W) and their sizes (B, 2)."""
    try:
        return session(images, image_sizes)
    except Exception as error:  # of whatever kind the runtime has
        raise ValueError(f"The file does not run on {len(images)} images of {images.shape[2:]}: {error}") from error


def _of_model(model: nn.Module, images: np.ndarray, image_sizes: np.ndarray) -> Arrays:
    """The same of the model."""
    with torch.no_grad(), portable_operators():
        found = cast(Any, model).export_forward(torch.from_numpy(images), torch.from_numpy(image_sizes))
    return {name: value.numpy() for name, value in found.items()}


def check_inputs(
    model: nn.Module, traced: Traced, description: Description, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Random images (B, C, H, W), partly padded where the model pads, and their sizes (B, 2)."""
    batch_size, (height, width) = traced.batch_size, traced.size
    if traced.dynamic:
        batch_size += 1
        height, width = (int(side * share) for side, share in zip(traced.size, _OTHER_SIZE, strict=True))
        height, width = padded_size((height, width), description.divisor)
    values = np.random.default_rng(seed).uniform(0, 255, (batch_size, channels_of(model), height, width))
    images = _in_range(values, description).astype(np.float32)
    image_sizes = np.array([[height, width]] * batch_size, np.int64)
    if not description.settings.get("same_size", False):
        image_sizes[0] = height - height // 8, width - width // 8
    return images, image_sizes


def _in_range(values: np.ndarray, description: Description) -> np.ndarray:
    """(B, C, H, W) from 0 to 255 as the values that images of the network's channels have."""
    if description.channels is None:
        return values
    mean, std = (np.reshape(description.channels[name], (-1, 1, 1)) for name in ("mean", "std"))
    return mean + (values / 127.5 - 1) * 2 * std


class Worst(NamedTuple):
    """The output that is farthest away, and how far, in units of the spread of its values."""

    name: str
    difference: float


def largest_difference(found: Arrays, expected: Arrays, tolerance: float, *, flips: float = 0.0) -> float:
    """See `check_file` and `worst_output`.

    Raises:
        ValueError: other names or shapes, values that are not finite, or a difference above the tolerance.
    """
    return _accepted(worst_output(found, expected, tolerance, flips=flips), tolerance)


def _accepted(worst: Worst, tolerance: float) -> float:
    """The difference; raises ValueError where it is above the tolerance."""
    name, difference = worst
    if difference > tolerance:
        raise ValueError(f"The file's {name} is {difference:.3g} away from the model's, above {tolerance}.")
    return difference


def worst_output(found: Arrays, expected: Arrays, tolerance: float, *, flips: float = 0.0) -> Worst:
    """Queries and boxes that are nearly equally good may change places: a row that is not where it was is compared
    with the nearest one of its image.

    Args:
        tolerance: up to which a row counts as in its place.
        flips: share of the rows (queries, boxes, ...) that may be others, as where suppression decides near a tie.

    Raises:
        ValueError: other names or shapes, or values that are not finite.
    """
    shapes = [{name: value.shape for name, value in arrays.items()} for arrays in (found, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"The file gives {shapes[0]} where the model gives {shapes[1]}: it fits one size only.")
    differences = {}
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ValueError(f"The file gives values of {name} that are NaN or infinite.")
        want = expected[name]
        spread = max(1.0, float(want.std()) if want.size else 0.0)
        rows = row_differences(values, want, tolerance * spread)
        rows = np.sort(rows)[: len(rows) - int(flips * len(rows))]
        differences[name] = float(rows.max(initial=0)) / spread
    return max(starmap(Worst, differences.items()), key=lambda one: one.difference)


def row_differences(found: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    """The largest difference of each row from the row in its place, or from the nearest of its image if that is more
    than the tolerance away: (B, N, ...) twice -> (B * N,).
    """
    rows = [value.astype(np.float64).reshape(*value.shape[:2], -1) for value in (found, expected)]  # (B, N, C)
    differences = np.abs(rows[0] - rows[1]).max(axis=2, initial=0)  # (B, N)
    for image, row in np.argwhere(differences > tolerance):
        differences[image, row] = np.abs(rows[1][image] - rows[0][image, row]).max(axis=1).min()
    return differences.reshape(-1)
