"""Runs an exported model: images in, results in the classes and pixels of the user out.

    from focalnet_d2.export.runtime import ExportedModel

    model = ExportedModel("panoptic.onnx")
    result = model("street.jpg")

It needs numpy, Pillow and the runtime of the file (onnxruntime or openvino), and neither torch nor Detectron2.
"""

import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.data.channel_reading import decode_channels
from focalnet_d2.data.channels import ChannelFormat, ImageFormat
from focalnet_d2.data.image_sources import InputImage, image_in_memory, image_of_channels, network_values
from focalnet_d2.data.pixels import decode_image, unreadable, upright_pixels
from focalnet_d2.data.result_documents import Segment
from focalnet_d2.inference.given_images import image_path, results_of
from focalnet_d2.inference.options import check_options
from focalnet_d2.utils.attempts import raising

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
        check_options(threshold, batch_size, channel_order)
        self.session: Session = open_session(Path(path), runtime=runtime, device=device, threads=threads)
        self.description = Description.from_json(self.session.description, path)
        self.threshold = self.description.threshold if threshold is None else threshold
        self.batch_size = self.description.batch_size or batch_size
        self.channel_order = channel_order
        self._decoder = decoder(self.description.decoder)

    def __call__(self, images: ImageSource | Iterable[ImageSource]) -> Result | list[Result]:
        """The result of one image, or a list of them.

        Args:
            images: a path, bytes of a file, a Pillow image or an array (H, W[, 1, 3, 4]), or several of them, or a
                folder or a pattern like `images/*.jpg`.

        Raises:
            FileNotFoundError, ValueError, TypeError: an image cannot be read; the message names it.
        """
        return results_of(images, self.stream)

    def stream(self, images: Iterable[ImageSource]) -> Iterator[Result]:
        """Results one after another, in the order of the images, for more of them than fit into memory.

        Raises:
            FileNotFoundError, ValueError, TypeError: an image cannot be read; the message names it.
        """
        return raising(self.attempts(images))

    def attempts(self, images: Iterable[ImageSource]) -> Generator[Result | OSError | ValueError]:
        """As `stream`, but with an error in the place of an image that cannot be predicted: the others go on."""
        remaining = iter(images)
        while chunk := list(itertools.islice(remaining, self.batch_size)):
            yield from self._predict(chunk)

    def _predict(self, sources: Sequence[ImageSource]) -> list[Result | OSError | ValueError]:
        """The results of a batch in its order; parts of different sizes go through the network by themselves."""
        attempts = [self._prepare(source) for source in sources]
        by_shape: dict[tuple[int, ...], list[Part]] = {}
        for parts in attempts:
            for part in [] if isinstance(parts, Exception) else parts:
                by_shape.setdefault(part.pixels.shape, []).append(part)
        for group in by_shape.values():
            for start in range(0, len(group), self.batch_size):
                self._run(group[start : start + self.batch_size])
        return [parts if isinstance(parts, Exception) else self._result(parts) for parts in attempts]

    def _prepare(self, source: ImageSource) -> "Sequence[Part] | OSError | ValueError":
        try:
            return self._check_size(self._parts(read_image(source, self.channel_order, self.description.image_format)))
        except (OSError, ValueError) as error:
            return error

    def _parts(self, image: InputImage) -> list["Part"]:
        """What the network gets of an image: all of it, or the windows that the decoder cuts it into."""
        about = self.description
        pixels = network_pixels(image, about)
        height, width = pixels.shape[:2]
        if not hasattr(self._decoder, "windows"):
            return [Part(image, pixels, (height, width))]
        windows = self._decoder.windows((height, width), about.settings)
        return [
            Part(image, pixels[one.top : one.bottom, one.left : one.right], (height, width), one) for one in windows
        ]

    def _check_size(self, parts: Sequence["Part"]) -> Sequence["Part"]:
        """Raises ValueError if a part is not of the one size that the file takes."""
        sizes = {part.pixels.shape[:2] for part in parts}
        wanted = self.description.size
        if wanted is not None and self.description.settings.get("same_size", False) and sizes != {wanted}:
            raise ValueError(
                f"The file takes images of {wanted[0]} x {wanted[1]} pixels (height x width) only, and the image "
                f"{parts[0].image.name} is of {sorted(sizes)} after resizing: export it without a fixed size."
            )
        return parts

    def _run(self, parts: Sequence["Part"]) -> None:
        """Fill in the outputs of parts of one size; a fixed batch is filled up."""
        about = self.description
        height, width = parts[0].pixels.shape[:2]
        size = about.size or padded_size((height, width), about.divisor)
        images = [part.pixels for part in parts]
        missing = (about.batch_size or 0) - len(images)
        outputs = self.session(*batch_of([*images, *[images[-1]] * missing], size))
        for index, part in enumerate(parts):
            part.padded = size
            part.outputs = {name: values[index] for name, values in outputs.items()}

    def _result(self, parts: Sequence["Part"]) -> Result | ValueError:
        image = parts[0].image
        height, width = image.pixels.shape[:2]
        sizes = Sizes(parts[0].padded, parts[0].size, (height, width))
        if not all(np.isfinite(values).all() for part in parts for values in part.outputs.values()):
            return ValueError(f"The model gives values that are NaN or infinite for the image {image.name}.")
        settings = {**self.description.settings, "threshold": float(np.min(self.threshold))}
        if parts[0].window is None:
            fields = self._decoder.decode(parts[0].outputs, settings, sizes)
        else:
            outputs, windows = [part.outputs for part in parts], [part.window for part in parts]
            fields = self._decoder.decode_windows(outputs, windows, settings, sizes)
        fields["segments"] = tuple(map(_segment, fields.get("segments", ())))
        return Result(self.description.classes, (height, width), image.path, **above(fields, self.threshold))


def _segment(found: Mapping[str, Any]) -> Segment:
    score = float(found.get("score", 1.0))
    return Segment(int(found["id"]), int(found["class_id"]), bool(found["isthing"]), score)


@dataclass
class Part:
    """A part of an image on its way through the network.

    Attributes:
        image: that it belongs to.
        pixels: (h, w, C) of the part.
        size: (height, width) of the whole image at the network's scale.
        window: place of the part in it; None where it is all of it.
        padded: (height, width) of the batch that it went through the network in.
        outputs: of the network, by name.
    """

    image: InputImage
    pixels: np.ndarray
    size: Size
    window: Any = None
    padded: Size = (0, 0)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)


def read_image(source: ImageSource, channel_order: str, image_format: ImageFormat = "RGB") -> InputImage:
    """An image from a path or from memory, as training reads it.

    Args:
        image_format: what the network takes.

    Raises:
        FileNotFoundError, ValueError, TypeError: it cannot be read; the message names it.
    """
    if not isinstance(source, str | os.PathLike):
        return image_in_memory(source, channel_order, image_format)
    path = image_path(source)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"The image file {path} does not exist.") from None
    except OSError as error:
        raise unreadable(str(path), error) from error
    if isinstance(image_format, ChannelFormat):
        return image_of_channels(decode_channels(content, str(path)), image_format, str(path), path)
    return InputImage(upright_pixels(decode_image(content, str(path)), str(path)), str(path), path)


def network_pixels(image: InputImage, description: Description) -> np.ndarray:
    """(h, w, C) of the size and with the channels that the network takes, in their order.

    Raises:
        ValueError: the image is too thin to be resized.
    """
    pixels = apply_steps(network_values(image, description.image_format), description.steps, image.name)
    size = None if description.settings.get("same_size", False) else description.size
    return pixels if size is None else fit_into(pixels, size)


def above(fields: dict[str, Any], threshold: float | Sequence[float]) -> dict[str, Any]:
    """Fields of a `Result` with the objects that reach the threshold, of all classes or of theirs; best score first."""
    if fields.get("scores") is None:
        return fields
    scores = fields["scores"]
    order = np.argsort(-scores, kind="stable")
    lowest = np.broadcast_to(np.asarray(threshold, np.float32), np.shape(threshold) or (1,))  # (K,) or (1,)
    order = order[scores[order] >= (lowest[fields["class_ids"][order]] if len(lowest) > 1 else lowest)]
    objects = {name: fields[name][order] for name in OBJECT_FIELDS if fields.get(name) is not None}
    return {**fields, **objects}
