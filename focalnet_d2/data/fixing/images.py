"""Images of a mended copy: linked where they are good, and written anew where they are at fault themselves."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from focalnet_d2.utils.atomic_write import atomic_open

from ..annotations.masks import Size
from ..channel_reading import decode_channels
from ..image_reading import read_image_file
from ..pixels import (
    FIRST_TURN,
    UPRIGHT,
    PixelFormat,
    decode_image,
    orientation_of,
    pixel_format,
    to_rgb,
    turned_upright,
)
from ..shards.files import open_file

_WRITTEN_ANEW = {PixelFormat.CMYK, PixelFormat.ALPHA, PixelFormat.DEEP_GRAY, PixelFormat.DEEP_COLOR}


@dataclass(frozen=True)
class PlacedImage:
    """An image of the copy.

    Attributes:
        name: relative to the folder of its part, with "/".
        size: height and width.
        what: what was changed in it; "" for nothing.
    """

    name: str
    size: Size
    what: str = ""


class ImageFolder:
    """The folder of the images of one part of a copy.

    Args:
        folder: is made.
        source: folder of the originals, whose subfolders are kept.
        has_channels: whether images keep the channels that they have; else they are 8-bit colors, or left out.
    """

    def __init__(self, folder: Path, source: str, *, has_channels: bool = False) -> None:
        self.folder, self.source, self.has_channels = folder, source, has_channels
        self._placed: dict[tuple[str, Size | None], PlacedImage] = {}
        self._names: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def place(self, file_name: str, said: Size | None = None, *, exactly: bool = False) -> PlacedImage:
        """Puts an image into the folder, once.

        Args:
            said: height and width that its labels are made for, if they are known.
            exactly: whether it may have no other size.

        Raises:
            FileNotFoundError, ValueError: it cannot be read, or has another size, and has to be left out.
        """
        key = (file_name, said)
        if key not in self._placed:
            self._placed[key] = self._place(file_name, said, exactly)
        return self._placed[key]

    def _place(self, file_name: str, said: Size | None, exactly: bool) -> PlacedImage:
        content = read_image_file(file_name)
        if self.has_channels:
            return self._place_channels(content, file_name, said if exactly else None)
        stored = decode_image(content, file_name)
        rgb = to_rgb(stored, file_name)  # refuses what has no meaning in 8 bits
        changes = []
        image, turn = stored, orientation_of(stored)
        if turn >= FIRST_TURN and said is not None and said == stored.size[::-1] != said[::-1]:
            changes.append("EXIF turn removed, which its labels do not know")
        elif turn != UPRIGHT:
            image = turned_upright(stored)
            changes.append("turned upright, and EXIF turn removed")
        if (kind := pixel_format(stored, content)) in _WRITTEN_ANEW:
            changes.append(f"{kind.value} pixels converted to 8-bit RGB")
        size = image.height, image.width
        if exactly and size != said:
            raise ValueError(f"{file_name} has the height and width {size}, its labels have {said}")
        if not changes:
            name = self._free_name(file_name, PurePosixPath(file_name).suffix)
            link_or_copy(file_name, self.folder / name)
            return PlacedImage(name, size)
        name = self._free_name(file_name, ".png")
        _write(rgb if image is stored else to_rgb(image, file_name), self.folder / name)
        return PlacedImage(name, size, f"{', '.join(changes)}; written as {name}")

    def _place_channels(self, content: bytes, file_name: str, said: Size | None) -> PlacedImage:
        """An image whose channels are read as they are stays as it is."""
        height, width, _ = decode_channels(content, file_name).shape
        if said is not None and (height, width) != said:
            raise ValueError(f"{file_name} has the height and width {(height, width)}, its labels have {said}")
        name = self._free_name(file_name, PurePosixPath(file_name).suffix)
        link_or_copy(file_name, self.folder / name)
        return PlacedImage(name, (height, width))

    def _free_name(self, file_name: str, suffix: str) -> str:
        """The name of an original, or one beside it that is not taken; names that lead out of the folder are cut."""
        relative = PurePosixPath(Path(os.path.relpath(file_name, self.source)).as_posix())
        if ".." in relative.parts or relative.is_absolute():
            relative = PurePosixPath(relative.name)
        stem, number = relative.with_suffix(""), 0
        while (name := f"{stem}{f'_{number}' if number else ''}{suffix}") in self._names:
            number += 1
        self._names.add(name)
        return name


def link_or_copy(source: str, target: Path) -> None:
    """A hard link to a file, or a copy where there can be none, as of a file in a shard."""
    target.parent.mkdir(parents=True, exist_ok=True)
    original = os.path.realpath(source)
    if target.exists():  # of another reading of the same folder
        return
    with contextlib.suppress(OSError):
        os.link(original, target)
        return
    with open_file(source) as content, open(target, "wb") as file:
        shutil.copyfileobj(content, file)


def _write(image: Image.Image, path: Path) -> None:
    clean = Image.frombytes(image.mode, image.size, image.tobytes())  # without EXIF data and the like
    with atomic_open(path, sync=False) as file:
        clean.save(file, format="PNG")
