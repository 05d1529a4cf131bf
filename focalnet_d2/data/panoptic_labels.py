"""Panoptic label files of the COCO format: PNGs whose colours are segment ids.

The id of a pixel is R + 256 G + 65536 B; 0 is void. What a segment is stands in the list `segments_info` of the image.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.io import decode_png

from focalnet_d2.utils.text import some_of

from .panoptic_decoding import PNG_SIGNATURE, decode_ids
from .panoptic_png import join_colors
from .pixels import READ_ERRORS, decoding_problem
from .shards.files import open_file

_RGB_OF_8_BITS = b"\x08\x02"


def open_label_image(file_name: str | Path) -> Image.Image:
    """A decoded label image in the mode of its file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded.
    """
    content = _read_bytes(file_name)
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except READ_ERRORS as error:
        raise _unreadable(file_name, error) from error
    return image


def read_label_size(file_name: str | Path) -> tuple[int, int]:
    """Height and width of a label file, from its head.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image.
    """
    try:
        with open_file(str(file_name)) as file, Image.open(file) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise _absent(file_name) from None
    except READ_ERRORS as error:
        raise _unreadable(file_name, error) from error


def _absent(file_name: str | Path) -> FileNotFoundError:
    return FileNotFoundError(f"The label file {file_name} does not exist.")


def _unreadable(file_name: str | Path, error: Exception) -> ValueError:
    return ValueError(f"The label file {file_name} cannot be read ({decoding_problem(error)}); it may be damaged.")


def _read_bytes(file_name: str | Path) -> bytes:
    try:
        with open_file(str(file_name)) as file:
            return file.read()
    except FileNotFoundError:
        raise _absent(file_name) from None
    except (OSError, ValueError) as error:  # ValueError: no file can have this name
        raise _unreadable(file_name, error) from error


def read_panoptic_ids(file_name: str | Path, renumbered: Mapping[int, int] | None = None) -> np.ndarray:
    """Segment ids of a panoptic file, (H, W) int32; an alpha channel has no meaning and is left out.

    Args:
        renumbered: the id that takes the place of an id of the file, 0 for none; other ids stay.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or is no colour image.
    """
    ids = _read_ids(file_name)
    if renumbered:
        old = np.array(sorted(renumbered), np.int32)
        new = np.array([renumbered[number] for number in old.tolist()], np.int32)
        positions, found = locate(ids, old)
        ids = np.where(found, new[np.minimum(positions, len(new) - 1)], ids)
    return ids


def _read_ids(file_name: str | Path) -> np.ndarray:
    content = _read_bytes(file_name)
    if (ids := decode_ids(content)) is not None:
        return ids
    if content.startswith(PNG_SIGNATURE) and content[24:26] == _RGB_OF_8_BITS:
        # Decoding is most of the time of scoring files, and torchvision is faster than Pillow. What it refuses, or
        # all if it was built without PNG, goes to Pillow, which says what is wrong.
        with contextlib.suppress(RuntimeError, AttributeError):
            decoded = decode_png(torch.frombuffer(bytearray(content), dtype=torch.uint8))  # (3, H, W)
            return join_colors(decoded.permute(1, 2, 0).numpy())
    image = open_label_image(file_name)
    if content.startswith(PNG_SIGNATURE) and content[24] > 8:  # Pillow would drop the lower half without a word
        raise ValueError(f"The panoptic label file {file_name} has {content[24]} bits a colour; ids take 8 of each.")
    if image.mode not in ("RGB", "RGBA"):
        raise ValueError(
            f"The panoptic label file {file_name} has pixels of Pillow's mode {image.mode!r}; segment ids are stored "
            "in the three colours of an 8-bit RGB image."
        )
    return join_colors(np.asarray(image)[..., :3])


def read_listed_ids(
    file_name: str | Path, segments_info: Iterable[Mapping], renumbered: Mapping[int, int] | None = None
) -> np.ndarray:
    """Segment ids of a panoptic file, (H, W) int32, each 0 or the `id` of a listed segment.

    Args:
        renumbered: as `read_panoptic_ids`.

    Raises:
        FileNotFoundError, ValueError: as `read_panoptic_ids`; or the file has ids that are not listed.
    """
    ids = read_panoptic_ids(file_name, renumbered)
    (values,), _ = label_runs(ids)
    unlisted = set(np.unique(values).tolist()) - {segment["id"] for segment in segments_info} - {0}
    if unlisted:
        raise ValueError(unlisted_ids_message(file_name, sorted(unlisted)))
    return ids


def unlisted_ids_message(file_name: str | Path, ids: Iterable[int]) -> str:
    """What is wrong with a ground-truth file with ids that `segments_info` lacks; training and scoring refuse it."""
    return (
        f"The panoptic label file {file_name} has the segment ids {some_of(ids, 5)}, which segments_info of the image "
        "does not list: take the PNG and the JSON of one version, or make the pixels 0 (unlabelled)."
    )


def semantic_from_panoptic(ids: np.ndarray, segments_info: Sequence[dict], ignore_label: int = 255) -> np.ndarray:
    """Class of every pixel from its segment.

    Args:
        ids: (H, W) segment ids.
        segments_info: segments with `id` and `category_id`, crowds included.
        ignore_label: for void and for ids that no segment has.

    Returns:
        (H, W), uint8 where that holds all labels, else int32.

    Raises:
        ValueError: a class below 0 or equal to ignore_label.
    """
    segments = sorted((segment["id"], segment["category_id"]) for segment in segments_info)
    known, classes = np.array(segments, np.int64).reshape(-1, 2).T
    if wrong := {int(label) for label in classes if label < 0 or label == ignore_label}:
        raise ValueError(f"Segments have the classes {sorted(wrong)}: below 0, or the label {ignore_label} for void.")
    (values,), lengths = label_runs(ids)
    positions, found = locate(values, known)
    labels = np.append(classes, ignore_label)[np.where(found, positions, len(known))]
    dtype = np.uint8 if max(ignore_label, *classes, 0) < 256 else np.int32
    return np.repeat(labels.astype(dtype), lengths).reshape(ids.shape)


def label_runs(*maps: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Stretches of pixels, row after row, on which none of the maps changes.

    Args:
        maps: arrays of one size with at least one pixel.

    Returns:
        Values of each map (R,) and the lengths (R,) of the R stretches.
    """
    flat = [labels.reshape(-1) for labels in maps]
    changes = flat[0][1:] != flat[0][:-1]
    for labels in flat[1:]:
        changes |= labels[1:] != labels[:-1]
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    return [labels[starts] for labels in flat], np.diff(starts, append=len(flat[0]))


def locate(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each value in a sorted list, and whether it is there: (N,), any shape -> two of that shape.

    The index is only valid where the value is there.
    """
    positions = np.searchsorted(known, values)
    found = np.append(known, -1)[positions] == values  # -1 is no id
    return positions, found
