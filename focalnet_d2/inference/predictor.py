"""Predictions from a checkpoint alone.

predictor = focalnet_d2.Predictor("output/mine/model_best.pth")
predictor("street.jpg").save("out", picture=True)
"""

import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.image_sources import network_values
from focalnet_d2.data.pixels import any_number_of_pixels
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.precision import predict_in
from focalnet_d2.utils.attempts import raising

from .given_images import results_of
from .image_files import file_path
from .image_input import ImageSource, InputImage, read_input
from .options import check_options
from .prediction import Prediction, read_result
from .thresholds import DEFAULT
from .tiles import TileSettings, predict_tiled
from .tracking import ObjectTracker
from .trained import load_trained
from .video import is_video, read_video

READERS = 2  # threads that read the images of the next batch


class _Prepared(NamedTuple):
    """An image as it came, and (3, h, w) as the network gets it."""

    image: InputImage
    tensor: Tensor

    @property
    def model_input(self) -> dict[str, Any]:
        """What models take (`modeling/base.py`)."""
        height, width = self.image.pixels.shape[:2]
        return {"image": self.tensor, "height": height, "width": width}


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
        tiles: images are predicted by overlapping tiles of this size and put together again; None: in one piece.
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
        tiles: TileSettings | None = None,
        trust: bool = False,
    ) -> None:
        check_options(threshold, batch_size, channel_order)
        target = resolve_device(device)
        model, loaded, self.classes, kept = load_trained(checkpoint, recipe, overrides=overrides, trust=trust)
        self.model = predict_in(model.to(target).eval(), loaded.train.amp)
        self.threshold = (kept or DEFAULT) if threshold is None else threshold
        self.batch_size, self.channel_order, self.tiles = batch_size, channel_order, tiles
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
            images: one image (see `image_input`), or a folder, a pattern like `images/*.jpg`, or several images; a
                video gives one prediction for each frame (see `video`).

        Raises:
            FileNotFoundError, ValueError, TypeError: an image cannot be read; the message names it.
        """
        if isinstance(images, str | os.PathLike) and is_video(images):
            return list(self.video(images))
        return results_of(images, self.stream)

    def stream(self, images: Iterable[ImageSource | InputImage]) -> Iterator[Prediction]:
        """Predictions one after another, in the order of the images, for more of them than fit into memory.

        Raises:
            FileNotFoundError, ValueError, TypeError: an image cannot be read; the message names it.
        """
        return raising(self.attempts(images))

    def video(
        self, path: str | os.PathLike, every: int = 1, *, tracker: ObjectTracker | None = None
    ) -> Iterator[Prediction]:
        """Predictions of the frames of a video, one after another, with `frame_index` and `time`.

        Args:
            every: 2 predicts every second frame, and so on.
            tracker: gives objects numbers that stay, their `track_ids`.

        Raises:
            FileNotFoundError, ValueError: the video cannot be read to its end; the message names it.
            ImportError: PyAV is missing.
        """
        path = file_path(path)
        frames = read_video(path, every)
        while chunk := list(itertools.islice(frames, self.batch_size)):
            images = [InputImage(frame.pixels, f"{path} at {frame.time:.3f} s", path) for frame in chunk]
            for frame, prediction in zip(chunk, self.stream(images)):
                stamped = replace(prediction, frame_index=frame.index, time=frame.time)
                yield stamped if tracker is None else tracker.update(stamped)

    def attempts(self, images: Iterable[ImageSource | InputImage]) -> Generator[Prediction | OSError | ValueError]:
        """As `stream`, but with an error in the place of an image that cannot be predicted: the others go on."""
        if self.tiles is not None:
            yield from (self._by_tiles(source, self.tiles) for source in images)
            return
        remaining, readers = iter(images), ThreadPoolExecutor(READERS)

        def read_on() -> list[Future]:
            return [readers.submit(self._read_input, one) for one in itertools.islice(remaining, self.batch_size)]

        try:
            ahead = read_on()
            while ahead:
                sources = [future.result() for future in ahead]
                ahead = read_on()  # while the network is at work
                yield from self._predict(sources)
        finally:  # perhaps in the garbage collection, where waiting for a thread may wait for what itself holds
            readers.shutdown(wait=False, cancel_futures=True)

    def _by_tiles(self, source: ImageSource | InputImage, tiles: TileSettings) -> Prediction | OSError | ValueError:
        with any_number_of_pixels():
            image = self._read_input(source)
        if isinstance(image, Exception):
            return image
        try:
            return predict_tiled(self._predict_all, image, self.classes, tiles)
        except ValueError as error:
            return error

    def _predict_all(self, images: Iterable[InputImage]) -> Iterator[Prediction]:
        """Predictions of images that are read already, a batch at a time.

        Raises:
            ValueError: one of them cannot be predicted.
        """
        remaining = iter(images)
        while chunk := list(itertools.islice(remaining, self.batch_size)):
            for attempt in self._predict(chunk):
                if isinstance(attempt, Exception):
                    raise attempt
                yield attempt

    def _predict(self, images: Sequence[InputImage | OSError | ValueError]) -> list[Prediction | OSError | ValueError]:
        """The results of a batch in its order; images of different sizes go through the network by themselves."""
        attempts = [self._prepare(image) for image in images]
        by_shape: dict[torch.Size, list[int]] = {}
        for place, attempt in enumerate(attempts):
            if not isinstance(attempt, Exception):
                by_shape.setdefault(attempt.tensor.shape, []).append(place)
        results: dict[int, Any] = dict(enumerate(attempts))
        for places in by_shape.values():
            results |= zip(places, self._run([results[place] for place in places]))
        return list(results.values())

    def _run(self, batch: list[_Prepared]) -> list[Prediction | ValueError]:
        """The results of images of one size."""
        try:
            with torch.no_grad():
                found = self.model([one.model_input for one in batch])
        except ValueError as error:  # they are too small for this network
            return [ValueError(f"The image {one.image.name} cannot be predicted: {error}") for one in batch]
        return [self._read(*both) for both in zip(batch, found)]

    def _read_input(self, source: ImageSource | InputImage) -> InputImage | OSError | ValueError:
        try:
            return (
                source
                if isinstance(source, InputImage)
                else read_input(source, self.channel_order, self._mapper.image_format)
            )
        except (OSError, ValueError) as error:
            return error

    def _prepare(self, image: InputImage | OSError | ValueError) -> _Prepared | OSError | ValueError:
        if isinstance(image, Exception):
            return image
        try:
            values = network_values(image, self._mapper.image_format)
            return _Prepared(image, self._mapper.image_tensor(values, image.name))
        except ValueError as error:
            return error

    def _read(self, prepared: _Prepared, result: dict[str, Any]) -> Prediction | ValueError:
        try:
            return read_result(result, prepared.image, classes=self.classes, threshold=self.threshold)
        except ValueError as error:
            return error
