"""The pages that people read, taken apart: blocks of code, code within lines, headings, links.

What stands between `<!-- speed: NAME -->` and `<!-- end of speed -->` is made from results of a day, commands included,
and belongs to `benchmarks/table.py`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WITH_EXAMPLES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "weights" / "README.md",
    ROOT / "tests" / "golden" / "README.md",
    ROOT / "benchmarks" / "README.md",
]
PAGES = [*WITH_EXAMPLES, ROOT / "CHANGELOG.md", ROOT / "MODEL_ZOO.md"]

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_MEASURED = re.compile(r"<!-- speed: \w+ -->.*?<!-- end of speed -->", re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Passage:
    """A block of code, code within a line, or the target of a link.

    Attributes:
        page: the file.
        line: where it begins.
        text: without fences and backticks.
        language: of a block; empty for what stands within a line.
    """

    page: Path
    line: int
    text: str
    language: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def name_of(page: Path) -> str:
    """The path below the root, as the name of a test."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str | None = None) -> list[Passage]:
    """Fenced blocks, or those in a language."""
    text = page.read_text(encoding="utf-8")
    found = [
        Passage(page, text.count("\n", 0, fence.start()) + 2, fence["text"], fence["language"])
        for fence in _FENCE.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def prose(page: Path) -> str:
    """The page without blocks and measured tables; line numbers stay."""
    text = page.read_text(encoding="utf-8")
    for pattern in (_MEASURED, _FENCE):
        text = pattern.sub(lambda found: "\n" * found[0].count("\n"), text)
    return text


def inline_code(page: Path) -> Iterator[Passage]:
    """Code in backticks within a line."""
    yield from _passages(page, _INLINE, 1)


def links(page: Path) -> Iterator[Passage]:
    """Targets of links and pictures."""
    yield from _passages(page, _LINK, "target")


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page ends in, by GitHub's rule."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _passages(page: Path, pattern: re.Pattern, group: int | str) -> Iterator[Passage]:
    for number, line in enumerate(prose(page).splitlines(), 1):
        for found in pattern.finditer(line):
            yield Passage(page, number, found[group])
