"""Text files with one thing a line: names of classes, of images, boxes."""

from collections.abc import Iterator
from pathlib import Path

from ..annotations.faults import refusal


def text_lines(path: str | Path) -> list[str]:
    """The lines of a text file without spaces around them, empty ones included; a byte order mark is no part of them.

    Raises:
        ValueError: it is no text in UTF-8.
    """
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        message = f"{path} is no text in UTF-8 ({error}): save it again as UTF-8."
        raise refusal("not-utf-8", path, message) from error


def each_filled_line(path: str | Path) -> Iterator[str]:
    """The lines of `filled_lines` one by one, of a file of any length.

    Raises:
        ValueError: as `text_lines`, after the lines before the fault.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            yield from filter(None, map(str.strip, file))
        except UnicodeDecodeError:
            text_lines(path)  # says where
            raise


def filled_lines(path: str | Path) -> list[str]:
    """Those lines that are not empty.

    Raises:
        ValueError: it is no text in UTF-8.
    """
    return [line for line in text_lines(path) if line]
