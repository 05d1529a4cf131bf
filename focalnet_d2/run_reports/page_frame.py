"""Sections below each other with links to them, made one by one: what fails leaves the rest of the page."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

Section = tuple[str, str]  # title, markup

logger = logging.getLogger(__name__)


def with_sections(head: str, sections: Sequence[Section]) -> str:
    """The markup of a page.

    Args:
        head: markup above the links.
    """
    links = "".join(f"<a href='#{anchor(title)}'>{escape(title)}</a>" for title, _ in sections)
    parts = (f"<section><h2 id='{anchor(title)}'>{escape(title)}</h2>{body}</section>" for title, body in sections)
    return f"{head}<nav>{links}</nav>{''.join(parts)}"


def anchor(title: str) -> str:
    """The name of a section in links."""
    return title.lower().replace(" ", "-")


def notes(sentences: Sequence[str]) -> str:
    """What the head of a page says about files that cannot be read; "" without any."""
    return f"<div class=notes>{''.join(f'<p>{escape(one)}</p>' for one in sentences)}</div>" if sentences else ""


def made(makers: Mapping[str, Callable[[], str]]) -> Iterator[Section]:
    """The sections that their makers give; one that gives "" has none."""
    for title, make in makers.items():
        try:
            body = make()
        except Exception as error:  # of many kinds, where files are damaged; the rest of the page is still of use
            body = failure(title, error)
        if body:
            yield title, body


def failure(title: str, error: Exception) -> str:
    """A sentence in place of a section."""
    logger.debug("The section %s", title, exc_info=error)
    return f"<p class=note>This section cannot be made: {escape(str(error) or type(error).__name__)}</p>"
