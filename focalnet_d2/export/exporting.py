"""From a model to a file that another runtime runs: written, checked, and only then moved into place."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from torch import nn

from focalnet_d2.utils.atomic_write import unfinished_path

from .checking import EXACT, HALF, check_file
from .description import Description
from .formats import Format, Traced, format_named
from .graph import output_names

EXAMPLE = Traced(2, (192, 256), dynamic=True)  # what dynamic graphs are traced with


class Written(NamedTuple):
    """A file that has been written and checked.

    Attributes:
        path: of the file; others of its name may lie beside it.
        description: what it says about itself.
        difference: from the model in torch, see `check_file`.
        bytes: size of the file and of those that belong to it.
    """

    path: Path
    description: Description
    difference: float
    bytes: int


def export_model(
    model: nn.Module,
    path: str | PathLike,
    description: Description,
    *,
    format: str = "onnx",
    traced: Traced = EXAMPLE,
    half: bool = False,
) -> Written:
    """Write a model in a format, run the file once beside the model, and move it into place if both agree.

    Args:
        model: in evaluation mode, on the CPU, in float32.
        path: of the file; its folder is made.
        description: see `describe`.
        format: a name of `FORMATS`.
        traced: batch size and size of the images, and whether they are the only ones that the file takes.
        half: store the weights in 16 bits.

    Raises:
        ImportError: a package that the format needs is missing; the message has the command that installs it.
        ValueError: the format cannot do what is asked for, or the file does not agree with the model; names the file.
    """
    path, chosen = Path(path), format_named(format)
    if half and not chosen.half:
        raise ValueError(f"The format {format} has no half precision here: leave out --half, or take onnx or openvino.")
    if traced.dynamic and not chosen.dynamic:
        raise ValueError(f"The format {format} takes images of one size: give it, as --size 800x1333.")
    about = as_traced(description, traced, "float16" if half else "float32")
    with unfinished_files(path) as unfinished:
        chosen.write(model, unfinished, traced, about, half=half)
        return checked(path, unfinished, model, chosen, traced, about, HALF if half else EXACT)


def as_traced(description: Description, traced: Traced, precision: str) -> Description:
    """The description of a file of a precision, which takes the traced images alone unless it is dynamic."""
    fixed = {} if traced.dynamic else {"batch_size": traced.batch_size, "size": traced.size}
    return replace(description, precision=precision, **fixed)


def checked(
    path: Path, unfinished: Path, model: nn.Module, chosen: Format, traced: Traced, about: Description, tolerance: float
) -> Written:
    """Run an unfinished file beside its model; what there is to say about it once it lies at `path`.

    Raises:
        ValueError: the two do not agree; names `path`.
    """
    session = chosen.open_written(unfinished, output_names(model, traced.batch_size, traced.size))
    try:
        difference = check_file(session, model, traced, about, tolerance)
    except ValueError as error:
        raise ValueError(f"{path} is not written: {error}") from error
    size = sum(file.stat().st_size for file in unfinished.parent.iterdir())
    return Written(path, about, difference, size)


@contextmanager
def unfinished_files(path: Path) -> Iterator[Path]:
    """A path of the same name in a hidden folder; what lies there at the end without an error takes its final place.

    The file of that name is moved last: until then there is none, or the old one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = unfinished_path(path)
    folder.mkdir()
    try:
        yield folder / path.name
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            os.replace(file, path.with_name(file.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
