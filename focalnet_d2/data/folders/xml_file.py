"""XML files of labelling tools, parsed without what an attacker could use: no document type, so no entities."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from ..annotations.faults import refusal

Element = ElementTree.Element

_HEAD = 4096  # bytes in which the first tag stands
_CHUNK = 1 << 16  # bytes that are parsed at once


class _SeenError(Exception):
    """Carries the name of the root element out of the parser."""


class _FirstTag:
    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Stop at the first element."""
        raise _SeenError(tag)

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Stop at a document type, which has the name of the root."""
        raise _SeenError(name)


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Stops at a document type, before anything that it declares is read."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse it: labelling tools write none, and entities could expand without end."""
        raise ValueError(f"it declares a document type ({name}), which no labelling tool writes: remove the DOCTYPE")


class _Children(_WithoutDoctype):
    """Takes each child of the root from it once it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.complete: list[Element] = []
        self._open: list[Element] = []

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        """Goes into an element."""
        self._open.append(super().start(tag, attributes))
        return self._open[-1]

    def end(self, tag: str) -> Element:
        """Comes out of it."""
        element = super().end(tag)
        self._open.pop()
        if len(self._open) == 1:
            self._open[0].clear()
            self.complete.append(element)
        return element


def read_xml(path: str | Path) -> Element:
    """The root element of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not XML, or declares a document type; the message names the file.
    """
    with _named_errors(path):
        return ElementTree.parse(path, ElementTree.XMLParser(target=_WithoutDoctype())).getroot()


def children_of(path: str | Path) -> Iterator[Element]:
    """The elements in the root element of a file, one after the other; none is kept, however big the file is.

    Raises:
        FileNotFoundError, ValueError: as `read_xml`, after the elements before the fault.
    """
    children = _Children()
    parser = ElementTree.XMLParser(target=children)
    with _named_errors(path), open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            parser.feed(chunk)
            yield from children.complete
            children.complete.clear()
        parser.close()


@contextmanager
def _named_errors(path: str | Path) -> Iterator[None]:
    """Says of which file an error of the parser is."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"The annotation file {path} does not exist.") from None
    except ElementTree.ParseError as error:
        message = f"{path} is not valid XML ({error}); it may be damaged or incomplete."
        raise refusal("xml-damaged", path, message) from error
    except (ValueError, LookupError) as error:  # a document type, or an unknown encoding
        raise refusal("xml-damaged", path, f"{path} cannot be used: {error}.") from error


def root_tag(path: str | Path) -> str:
    """The name of a file's root element, from its first tag or document type; "" if it is not XML."""
    parser = ElementTree.XMLParser(target=_FirstTag())
    try:
        with open(path, "rb") as file:
            parser.feed(file.read(_HEAD))
    except _SeenError as seen:
        return str(seen)
    except (ElementTree.ParseError, OSError, ValueError, LookupError):
        return ""
    return ""


def text_of(element: Element, path: str) -> str:
    """The text at a path below an element without spaces around it; "" if there is none."""
    return (element.findtext(path) or "").strip()


def number_of(text: str | None, what: str) -> float:
    """A finite number.

    Raises:
        ValueError: a phrase that says what it is not.
    """
    try:
        number = float(text or "")
    except ValueError:
        raise ValueError(f"has {text!r} for {what}, which is no number") from None
    if not abs(number) < float("inf"):
        raise ValueError(f"has {text!r} for {what}, which is not finite")
    return number
