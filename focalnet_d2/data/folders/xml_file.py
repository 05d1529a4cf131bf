"""XML files of labelling tools, parsed without what an attacker could use: no document type, so no entities."""

from pathlib import Path
from xml.etree import ElementTree

from ..annotations.faults import refusal

Element = ElementTree.Element


_HEAD = 4096  # bytes in which the first tag stands


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


def read_xml(path: str | Path) -> Element:
    """The root element of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not XML, or declares a document type; the message names the file.
    """
    try:
        return ElementTree.parse(path, ElementTree.XMLParser(target=_WithoutDoctype())).getroot()
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
