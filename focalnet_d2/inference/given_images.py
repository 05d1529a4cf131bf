"""What a user gives to a model: one image or several. `Predictor` and the runtime of exported files decide it here."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from focalnet_d2.data.image_sources import ONE_IMAGE

from .image_files import file_path, image_files, refuse_folder
from .video import is_video

Result = TypeVar("Result")


def results_of(images: Any, stream: Callable[[Iterable[Any]], Iterator[Result]]) -> Result | list[Result]:
    """The result of one image; a list of those of several images, of a folder or of a pattern like `images/*.jpg`.

    Args:
        images: anything; what is no image is for the stream to refuse.
        stream: gives results of images, in their order.
    """
    if isinstance(images, str | os.PathLike):
        files = image_files(images)
        return next(stream(files)) if files == [file_path(images)] else list(stream(files))
    is_tensor = hasattr(images, "__dlpack__")  # whichever library it is of
    if is_tensor or isinstance(images, ONE_IMAGE) or not isinstance(images, Iterable):
        return next(stream([images]))
    return list(stream(images))


def image_path(source: str | os.PathLike) -> Path:
    """The path of one image.

    Raises:
        ValueError: it is none, or that of a folder or a video.
    """
    path = file_path(source)
    refuse_folder(path)
    if is_video(path):
        raise ValueError(
            f"{path} is a video where one image is wanted: name an image, or give the video alone to a Predictor."
        )
    return path
