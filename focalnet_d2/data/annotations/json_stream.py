"""The big lists of a JSON file, read a chunk at a time, so that a file of any size needs the memory of one chunk.

A list is cut where an object seems to end. Whether one does is not believed but tested: what begins with an object of
the list and is a JSON list in brackets of its own cannot end within one, nor within a string. Where the guess fails,
brackets and strings are followed one by one. What is unusual in any way is left to `json_file.read_json`, which
reads all at once and says what is wrong: `UnusualJsonError` asks for that, and is shown to nobody.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NoReturn

from .json_file import Entry

BIG = 1 << 24  # bytes of a file from which on this pays
CHUNK = 1 << 18  # bytes; their objects fit in the cache of a core, in which they are looked at several times
_SMALL = 1 << 16  # bytes that hold a key, or the white space between two things
_GUESSES = 64  # closing brackets, from the last, after which an object may end

_SPACE = b" \t\n\r"
_STRING = re.compile(rb'"[^"\\]*"')  # keys with escapes are unusual
_MARK = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{}]', re.DOTALL)  # a quote alone begins a string that is cut off
_AFTER_SCALAR = re.compile(rb"[,}\]\s]")
_NEXT_OBJECT = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*(?=\{)")

Take = Callable[[list[Entry]], None]
TakeText = Callable[[bytes], bool]  # of objects of a list, without its brackets; whether it took them


class UnusualJsonError(Exception):
    """The file is damaged, or not written as files of that size are."""


class JsonStream:
    """A file whose content is one object with lists of objects in it.

    Args:
        file: opened in binary mode; nobody else reads from it meanwhile.
        chunk: bytes that are read at once.
    """

    def __init__(self, file: BinaryIO, chunk: int = CHUNK):
        self._file = file
        self._chunk = chunk
        self._ends: dict[int, int] = {}  # of the lists that are taken, by their beginning

    def take_all(
        self, images: Take, categories: Take, annotations: Take, text_of_annotations: TakeText | None = None
    ) -> None:
        """As `take`, of the three lists of COCO's formats, the annotations last.

        Args:
            text_of_annotations: gets the text of annotations first; what it takes goes nowhere else.

        Raises:
            UnusualJsonError: see there, or a list is missing.
        """
        lists = {"images": images, "categories": categories, "annotations": annotations}
        if self.take(lists, "annotations", text_of_annotations) != lists.keys():
            raise UnusualJsonError("a list is missing")

    def take(self, lists: dict[str, Take], last: str, text_of_last: TakeText | None = None) -> set[str]:
        """Goes through the file and hands over the objects of some lists, in their order, a chunk at a time.

        Args:
            lists: what takes the chunks of a list, by its key. It owns them.
            last: the list that comes after the others, wherever it stands in the file.
            text_of_last: gets the text of its objects first; what it takes goes nowhere else.

        Returns:
            The keys of the lists that there are.

        Raises:
            UnusualJsonError: see there; some lists may have been handed over in part.
        """
        place, found = self._expect(b"{", self._skip_space(0)), set()
        while True:
            key, place = self._key(place)
            if key in found:
                raise UnusualJsonError(f"{key} is there twice")
            if key not in lists:
                place = self._skip_value(place)
            else:
                if key == last:
                    self._take_ahead(place, {name: take for name, take in lists.items() if name not in found | {last}})
                found.add(key)
                place = self._take_list(place, lists[key], text_of_last if key == last else None)
            place, mark = self._mark(place)
            if mark == b"}":
                break
            if mark != b",":
                raise UnusualJsonError("no comma after a value")
        if self._skip_space(place) != self._file.seek(0, 2) or len(self._ends) != len(found):
            raise UnusualJsonError("text after the end, or a list that was none of the object's own")
        return found

    def _take_ahead(self, place: int, lists: dict[str, Take]) -> None:
        """Takes lists that stand further on, where a key with a list after it is found; `take` comes to them again."""
        for key, take in lists.items():
            start = self._find(key, place)
            if start is not None:
                self._take_list(start, take)

    def _find(self, key: str, place: int) -> int | None:
        """Where the value of a key begins that is looked for as text from a place on; None where it is not found.

        Raises:
            UnusualJsonError: it is found several times.
        """
        pattern = re.compile(rb'"%s"[ \t\n\r]*:[ \t\n\r]*(?=\[)' % key.encode())
        starts, overlap = set(), _SMALL
        while window := self._read(place, self._chunk + overlap):
            starts |= {place + match.end() for match in pattern.finditer(window)}
            place += self._chunk
        if len(starts) > 1:
            raise UnusualJsonError(f"{key} is there several times")
        return starts.pop() if starts else None

    def _take_list(self, start: int, take: Take, take_text: TakeText | None = None) -> int:
        """Hands over a list that begins at a place, unless that was done; returns where it ends."""
        if start not in self._ends:
            place = self._expect(b"[", start)
            while place is not None:
                entries, place, end = self._next_chunk(self._skip_space(place), take_text)
                if entries:
                    take(entries)
                    del entries  # the next chunk takes its memory
            self._ends[start] = end
        return self._ends[start]

    def _next_chunk(self, start: int, take_text: TakeText | None) -> tuple[list[Entry], int | None, int]:
        """Objects of a list from a place on, where the next begins (None after the last), and where these end.

        None are left where their text was taken.
        """
        window = self._read(start, self._chunk)
        for end, following in _likely_ends(window):
            if take_text is not None and take_text(window[:end]):
                return [], start + following, start + end
            entries = _objects(window[:end])
            if entries is not None:
                return entries, start + following, start + end
            break
        return self._next_chunk_exactly(start, window)

    def _next_chunk_exactly(self, start: int, window: bytes) -> tuple[list[Entry], int | None, int]:
        """As `_next_chunk`, by following every bracket; the window grows until an object or the list ends in it."""
        while True:
            end, closed = _complete_part(window)
            if closed or end:
                break
            window = self._grown(start, window)
        entries = _objects(window[:end])
        if entries is None:
            raise UnusualJsonError("part of a list is no list of objects")
        following, mark = self._mark(start + end)
        if mark not in (b",", b"]"):
            raise UnusualJsonError("no comma after an object")
        return entries, None if mark == b"]" else following, following

    def _skip_value(self, start: int) -> int:
        """Where a value ends that nobody wants; it must be JSON all the same."""
        window = self._read(start, _SMALL)
        while (end := _end_of_value(window)) is None:
            window = self._grown(start, window)
        try:
            _parse(window[:end])
        except (ValueError, RecursionError) as error:
            raise UnusualJsonError("a value is no JSON") from error
        return start + end

    def _grown(self, start: int, window: bytes) -> bytes:
        larger = self._read(start, 2 * len(window) + 1)
        if len(larger) <= len(window):
            raise UnusualJsonError("the file ends too early")
        return larger

    def _key(self, place: int) -> tuple[str, int]:
        """A key, and where its value begins."""
        start = self._skip_space(place)
        match = _STRING.match(self._read(start, _SMALL))
        if match is None:
            raise UnusualJsonError("no key, or a strange one")
        try:
            key = match[0][1:-1].decode()
        except UnicodeDecodeError as error:
            raise UnusualJsonError("a key is no text") from error
        return key, self._skip_space(self._expect(b":", self._skip_space(start + match.end())))

    def _mark(self, place: int) -> tuple[int, bytes]:
        """The next character that is no white space, and the place after it."""
        start = self._skip_space(place)
        return start + 1, self._read(start, 1)

    def _expect(self, mark: bytes, place: int) -> int:
        """The place after a character that must stand there."""
        if self._read(place, 1) != mark:
            raise UnusualJsonError(f"no {mark.decode()} where one belongs")
        return place + 1

    def _skip_space(self, place: int) -> int:
        """The next place with something else than white space."""
        while True:
            window = self._read(place, _SMALL)
            length = len(window) - len(window.lstrip(_SPACE))
            place += length
            if length < len(window) or not window:
                return place

    def _read(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        return self._file.read(size)


def _parse(text: bytes) -> Any:
    """As `read_json` parses, but for NaN, and what orjson refuses otherwise: `read_json` then takes another reader."""
    try:
        import orjson  # an optional extra
    except ImportError:
        return json.loads(text, parse_constant=_refuse)
    return orjson.loads(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _objects(text: bytes) -> list[Entry] | None:
    """The objects that text of a list, without its brackets, has; None where it is anything else."""
    try:
        entries = _parse(b"[%b]" % text)
    except (ValueError, RecursionError):
        return None
    return entries if set(map(type, entries)) <= {dict} else None


def _likely_ends(window: bytes) -> Iterator[tuple[int, int]]:
    """From the last on, where an object seems to end and the next one seems to begin."""
    end = len(window)
    for _ in range(_GUESSES):
        end = window.rfind(b"}", 0, end)
        if end < 0:
            return
        if match := _NEXT_OBJECT.match(window, end + 1):
            yield end + 1, match.end()


def _complete_part(window: bytes) -> tuple[int, bool]:
    """How much of text from within a list belongs to it and is complete, and whether the list ends there."""
    depth, end = 0, 0
    for match in _MARK.finditer(window):
        mark = match[0]
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth < 0:
                return match.start(), True
            if depth == 0:
                end = match.end()
        elif mark == b'"':
            break
    return end, False


def _end_of_value(window: bytes) -> int | None:
    """Where the value that text begins with ends; None where the text ends before."""
    if window[:1] not in (b"{", b"[", b'"'):
        after = _AFTER_SCALAR.search(window)
        return after.start() if after else None
    depth = 0
    for match in _MARK.finditer(window):
        mark = match[0]
        if mark == b'"':
            return None
        depth += (mark in (b"{", b"[")) - (mark in (b"}", b"]"))
        if depth == 0:
            return match.end()
    return None
