"""Files with several images, of which only the first one is read: animations, and the pages of a TIFF."""

import logging
from contextlib import suppress

from PIL import Image

from focalnet_d2.utils.warnings_once import warn_once

_FORMATS = ("GIF", "PNG", "TIFF", "WEBP", "AVIF")  # not MPO, a JPEG of a camera that also has its preview
_SUBFILE_TYPE, _PAGE = 254, (0, 2)  # TIFF's tag, and its values that are not of smaller copies and masks


def warn_of_other_images(image: Image.Image, file_name: str) -> None:
    """Say once in a process that a file which was just opened has more images than the one that is read."""
    count = 1
    with suppress(Exception):  # of many kinds, from damaged files: whoever reads the pixels says what is wrong
        count = _count(image)
    if count > 1:
        warn_once(
            logging.getLogger(__name__),
            "several images",
            f"The image file {file_name} holds {count} images, of which only the first is read. Other such files are "
            "not named.",
        )


def _count(image: Image.Image) -> int:
    count = getattr(image, "n_frames", 1) if image.format in _FORMATS else 1
    if image.format != "TIFF" or count == 1:
        return count
    try:
        return sum(_is_page(image, number) for number in range(count))
    finally:
        image.seek(0)


def _is_page(image: Image.Image, number: int) -> bool:
    image.seek(number)
    tags = getattr(image, "tag_v2", {})
    return tags.get(_SUBFILE_TYPE, 0) in _PAGE
