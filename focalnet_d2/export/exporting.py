"""From a model to a file that another runtime runs: traced, written, checked, and only then moved into place."""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path

from torch import nn

from focalnet_d2.utils.atomic_write import UNFINISHED

from . import onnx_format
from .description import Description

logger = logging.getLogger(__name__)


def export_onnx(
    model: nn.Module,
    path: str | PathLike,
    description: Description,
    *,
    size: tuple[int, int],
    batch_size: int = 2,
    dynamic: bool = True,
) -> Path:
    """Write a model as ONNX.

    Args:
        model: in evaluation mode, on the CPU, in float32.
        description: see `describe`.
        size, batch_size: (height, width) and number of the images that it is traced with; the file takes no others
            where it is not `dynamic`.

    Returns:
        The path.
    """
    path = Path(path)
    fixed = replace(description, **({} if dynamic else {"batch_size": batch_size, "size": size}))
    with unfinished_files(path) as unfinished:
        onnx_format.write(
            model, unfinished, batch_size=batch_size, size=size, dynamic=dynamic, description=fixed.to_json()
        )
    return path


@contextmanager
def unfinished_files(path: Path) -> Iterator[Path]:
    """A path of the same name in a hidden folder; what lies there at the end without an error takes its final place.

    The file of that name is moved last: until then there is none, or the old one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    folder.mkdir()
    try:
        yield folder / path.name
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            os.replace(file, path.with_name(file.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
