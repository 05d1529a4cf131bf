"""Runs an exported model: images in, results in the classes and pixels of the user out.

    from focalnet_d2.export.runtime import ExportedModel

    model = ExportedModel("panoptic.onnx")
    result = model("street.jpg")

It needs numpy, Pillow and the runtime of the file (onnxruntime or openvino), and neither torch nor Detectron2.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.data.image_sources import InputImage, check_channel_order, image_in_memory
from focalnet_d2.data.pixels import decode_image, in_format, unreadable, upright_pixels

from .decoding import decoder
from .description import Description
from .preprocessing import Size, apply_steps, batch_of, fit_into, padded_size
from .result import Result, Sizes
from .sessions import Session, open_session

ImageSource = str | os.PathLike | bytes | Image.Image | np.ndarray
OBJECT_FIELDS = ("boxes", "scores", "class_ids", "masks")


class ExportedModel:
    """A file that `focalnet-d2 export` has written, ready to predict.

    Args:
        path: `.onnx`, or `.xml` of OpenVINO.
        threshold: objects with a lower score are left out; by default what the file says.
        batch_size: images that go through the network together; those of different sizes never do.
        runtime: "onnxruntime" or "openvino"; by default the one that the ending of the file belongs to.
        device: of the runtime.
        threads: of one computation; 0 lets the runtime choose.
        channel_order: "RGB" or "BGR", of arrays with colors.

    Attributes:
        description: what the file says about itself.

    Raises:
        FileNotFoundError, ValueError: the file cannot be used; the message names it.
        ImportError: its runtime is missing; the message has the command that installs it.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threshold: float | None = None,
        batch_size: int = 1,
        runtime: str | None = None,
        device: str = "cpu",
        threads: int = 0,
        channel_order: str = "RGB",
    ) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold} must be from 0 to 1.")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1.")
        check_channel_order(channel_order)
        self.session: Session = open_session(Path(path), runtime=runtime, device=device, threads=threads)
        self.description = Description.from_json(self.session.description, path)
        self.threshold = self.description.threshold if threshold is None else threshold
        self.batch_size = self.description.batch_size or batch_size
        self.channel_order = channel_order
        self._decode = decoder(self.description.decoder)

    def __call__(self, images: ImageSource | Iterable[ImageSource]) -> Result | list[Result]:
        """The result of one image, or a list of them.

        Args:
            images: a path, bytes of a file, a Pillow image or an array (H, W[, 1, 3, 4]), or several of them.

        Raises:
            FileNotFoundError, ValueError, TypeError: an image cannot be read; the message names it.
        """
        if isinstance(images, str | os.PathLike | bytes | Image.Image | np.ndarray):
            return next(self.stream([images]))
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageSource]) -> Iterator[Result]:
        """Results one after another, in the order of the images, for more of them than fit into memory."""
        remaining = iter(images)
        while chunk := list(itertools.islice(remaining, self.batch_size)):
            yield from self._predict([read_image(image, self.channel_order) for image in chunk])

    def _predict(self, images: list[InputImage]) -> list[Result]:
        inputs = [self._network_input(image) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, pixels in enumerate(inputs):
            groups.setdefault(pixels.shape, []).append(place)
        results: dict[int, Result] = {}
        for places in groups.values():
            outputs, padded = self._run([inputs[place] for place in places])
            for index, place in enumerate(places):
                height, width = inputs[place].shape[:2]
                one = {name: values[index] for name, values in outputs.items()}
                results[place] = self._result(one, images[place], padded, (height, width))
        return [results[place] for place in range(len(images))]

    def _network_input(self, image: InputImage) -> np.ndarray:
        """(h, w, 3) uint8 of the size and in the order of colors that the network takes."""
        about = self.description
        pixels = apply_steps(image.pixels, about.steps, image.name)
        if about.size is not None:
            pixels = fit_into(pixels, about.size)
        return in_format(pixels, about.color_order)

    def _run(self, images: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], Size]:
        """Outputs of images of one size, (h, w, 3) uint8, and the padded size; a fixed batch is filled up."""
        about = self.description
        height, width = images[0].shape[:2]
        size = about.size or padded_size((height, width), about.divisor)
        missing = (about.batch_size or 0) - len(images)
        batch, image_sizes = batch_of([*images, *[images[-1]] * missing], size)
        outputs = self.session(batch, image_sizes)
        return outputs, size

    def _result(self, outputs: dict[str, np.ndarray], image: InputImage, padded: Size, size: Size) -> Result:
        height, width = image.pixels.shape[:2]
        fields = self._decode(outputs, self.description.settings, Sizes(padded, size, (height, width)))
        check_finite(fields, image.name)
        return Result(self.description.classes, (height, width), image.path, **above(fields, self.threshold))


def read_image(source: ImageSource, channel_order: str) -> InputImage:
    """An image from a path or from memory, as training reads it.

    Raises:
        FileNotFoundError, ValueError, TypeError: it cannot be read; the message names it.
    """
    if not isinstance(source, str | os.PathLike):
        return image_in_memory(source, channel_order)
    path = Path(source).expanduser()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"The image file {path} does not exist.") from None
    except OSError as error:
        raise unreadable(str(path), error) from error
    return InputImage(upright_pixels(decode_image(content, str(path)), str(path)), str(path), path)


def above(fields: dict[str, Any], threshold: float) -> dict[str, Any]:
    """Fields of a `Result` with the objects that reach the threshold, best score first."""
    if fields.get("scores") is None:
        return fields
    scores = fields["scores"]
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= threshold]
    objects = {name: fields[name][order] for name in OBJECT_FIELDS if fields.get(name) is not None}
    return {**fields, **objects}


def check_finite(fields: dict[str, Any], name: str) -> None:
    """Raises ValueError where scores are NaN or infinite."""
    for field in ("scores", "class_scores"):
        if fields.get(field) is not None and not np.isfinite(fields[field]).all():
            raise ValueError(f"The model gives scores that are NaN or infinite for the image {name}.")
