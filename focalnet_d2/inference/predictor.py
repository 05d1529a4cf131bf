"""Predictions from a checkpoint alone.

predictor = focalnet_d2.Predictor("output/mine/model_best.pth")
predictor("street.jpg").save("out", picture=True)
"""

import glob
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.folders.listing import Listing
from focalnet_d2.data.image_reading import in_format
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.precision import predict_in

from .image_input import ImageSource, InputImage, read_input
from .prediction import Prediction, read_result
from .thresholds import DEFAULT
from .trained import load_trained


class Predictor:
    """Predicts with what a checkpoint holds: weights, recipe, classes, and the preprocessing of the recipe's test data.

    Args:
        checkpoint: `model_best.pth` or another file of a run; a published file with `recipe`.
        recipe: name or path of a recipe, for a file that holds none.
        overrides: `key=value` settings of the recipe, `train.amp=bf16` for example.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        threshold: boxes and masks with a lower score are left out; by default those of the checkpoint, one for each
            class, where it keeps some (`focalnet-d2 tune --write`), else 0.5.
        batch_size: images that go through the network together; those of different sizes never do, so that a result
            does not depend on the others.
        channel_order: "RGB" or "BGR", of arrays and tensors with colors.
        trust: the recipe may build anything (see `load_recipe`).

    Attributes:
        classes: of the model, in the order of the contiguous ids.

    Raises:
        FileNotFoundError, ValueError: the checkpoint cannot be used; the message names it (see `load_trained`).
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        recipe: str | Path | None = None,
        *,
        overrides: Iterable[str] = (),
        device: str = "auto",
        threshold: float | None = None,
        batch_size: int = 1,
        channel_order: str = "RGB",
        trust: bool = False,
    ) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold} must be from 0 to 1.")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1.")
        target = resolve_device(device)
        model, loaded, self.classes, kept = load_trained(checkpoint, recipe, overrides=overrides, trust=trust)
        self.model = predict_in(model.to(target).eval(), loaded.train.amp)
        self.threshold = (kept or DEFAULT) if threshold is None else threshold
        self.batch_size, self.channel_order = batch_size, channel_order
        self._mapper = build(loaded.dataloader.test.mapper, "dataloader.test.mapper")
        if not hasattr(self._mapper, "image_tensor"):
            raise RecipeError(
                f"The recipe of {os.fspath(checkpoint)} reads test images by a {type(self._mapper).__name__}, which "
                "has no image_tensor and so takes no image alone: set dataloader.test.mapper to one of "
                "focalnet_d2.data.mappers."
            )

    def __call__(self, images: ImageSource | Iterable[ImageSource]) -> Prediction | list[Prediction]:
        """The prediction of one image (any shape that `read_input` takes), or a list of them.

        Args:
            images: one image (see `image_input`), or a folder, a pattern like `images/*.jpg`, or several images.

        Raises:
            FileNotFoundError, ValueError, TypeError: an image cannot be read; the message names it.
        """
        if isinstance(images, str | os.PathLike):
            files = image_files(images)
            if files != [Path(images).expanduser()]:
                return list(self.stream(files))
            return next(self.stream(files))
        if isinstance(images, bytes | Image.Image | np.ndarray | Tensor):
            return next(self.stream([images]))
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageSource]) -> Iterator[Prediction]:
        """Predictions one after another, in the order of the images, for more of them than fit into memory."""
        remaining = iter(images)
        while chunk := list(itertools.islice(remaining, self.batch_size)):
            yield from self._predict([read_input(image, self.channel_order) for image in chunk])

    def _predict(self, images: list[InputImage]) -> list[Prediction]:
        inputs = [self._model_input(image) for image in images]
        places: dict[tuple[int, ...], list[int]] = {}
        for place, model_input in enumerate(inputs):
            places.setdefault(tuple(model_input["image"].shape), []).append(place)
        results: dict[int, Any] = {}
        for group in places.values():
            with torch.no_grad():
                results |= zip(group, self.model([inputs[place] for place in group]))
        return [
            read_result(results[place], image, classes=self.classes, threshold=self.threshold)
            for place, image in enumerate(images)
        ]

    def _model_input(self, image: InputImage) -> dict[str, Any]:
        height, width = image.pixels.shape[:2]
        pixels = in_format(image.pixels, self._mapper.image_format)
        return {"image": self._mapper.image_tensor(pixels, image.name), "height": height, "width": width}


def image_files(source: str | os.PathLike) -> list[Path]:
    """The image files that a path means: itself, all in and below a folder, or those that fit a pattern; sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        files = [path / name for name in Listing(path).images]
    elif path.exists() or not glob.has_magic(str(path)):
        return [path]
    else:
        files = [file for name in sorted(glob.glob(str(path), recursive=True)) if (file := Path(name)).is_file()]
    if not files:
        raise FileNotFoundError(f"There is no image in {source}: name a folder with images, or a pattern that fits.")
    return files
