"""What a recipe says about itself: its docstring, taken apart."""

import ast
import re
from dataclasses import dataclass

from focalnet_d2.config.lazy import find_recipe

_LABEL = re.compile(
    r"(?:^|(?<=[.;)])\s\s+)(Source|Start|Expected|Command|Released|To evaluate|At several scales)\b", re.MULTILINE
)
_FILE = re.compile(r"[\w.-]+\.(?:pth|pkl|safetensors)\b")
_NUMBER = re.compile(r"\b((?:box |mask )?AP\d*|PQ|mIoU|top-[15]) (\d+\.\d)\b")


@dataclass(frozen=True)
class RecipeNotes:
    """The docstring of a recipe.

    Attributes:
        name: of the recipe.
        title: its first line.
        source: where its settings are from.
        start: what training starts from.
        expected: the published result, "" where none is published.
        command: that trains it.
    """

    name: str
    title: str
    source: str
    start: str
    expected: str
    command: str

    @property
    def start_file(self) -> str | None:
        """The name of the file that training starts from."""
        found = _FILE.search(self.start)
        return found[0] if found else None

    @property
    def numbers(self) -> list[str]:
        """Published numbers such as "box AP 57.5"."""
        return [f"{metric} {value}" for metric, value in _NUMBER.findall(self.expected)]


def read_notes(name: str) -> RecipeNotes:
    """The notes of a shipped recipe; the recipe itself is not loaded."""
    path = find_recipe(name)
    lines = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    title, *parts = _LABEL.split(lines)
    fields = {label: _text(part) for label, part in zip(parts[::2], parts[1::2])}
    return RecipeNotes(
        path.stem,
        title=_text(title).rstrip("."),
        source=fields.get("Source", ""),
        start=fields.get("Start", ""),
        expected=fields.get("Expected", ""),
        command=fields.get("Command", ""),
    )


def _text(part: str) -> str:
    """One line, without the colon or comma that follows a label."""
    return " ".join(part.split()).lstrip(":,").strip()
