"""Downloads of weight files: what comes is the file that was asked for, or nothing is kept."""

import hashlib
import logging
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from focalnet_d2.utils.atomic_write import atomic_open

from .weights import Mirror

BLOCK_BYTES = 1 << 20
TIMEOUT = 30  # seconds without an answer
_PAGES = ("text/html", "application/xhtml+xml", "text/xml", "application/xml", "application/json")
_PAGE_BEGINNINGS = (b"<!doctype", b"<html", b"<?xml", b"<error", b"version https://git-lfs")  # the last: a pointer

_logger = logging.getLogger(__name__)


class WebRedirects(HTTPRedirectHandler):
    """Follows redirects to http and https addresses alone; urllib would also follow them to ftp."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """The request that a redirect leads to."""
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise ValueError(f"it leads to {newurl}, which is no http or https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def urlopen(url: str, timeout: float) -> IO[bytes]:
    """The answer of an address, as urllib's own `urlopen` gives it."""
    return build_opener(WebRedirects).open(url, timeout=timeout)


def download(mirror: Mirror, path: Path) -> Path:
    """Download a file; it appears complete or not at all.

    Raises:
        OSError, HTTPException: nothing or only a part came.
        ValueError: what came is no file, or another than the address is known to have.
    """
    digest, size = hashlib.sha256(), 0
    with urlopen(mirror.url, timeout=TIMEOUT) as answer, atomic_open(path) as file:
        headers: Message = answer.headers  # pyright: ignore[reportAttributeAccessIssue]
        _check_headers(mirror, headers)
        while block := answer.read(BLOCK_BYTES):
            if size == 0 and block.lstrip()[:30].lower().startswith(_PAGE_BEGINNINGS):
                raise ValueError("what came is a page, not a file")
            digest.update(block)
            size += file.write(block)
            _check_size(mirror, size, whole=False)
        announced = headers.get("Content-Length")
        if announced is not None and int(announced) != size:
            raise ConnectionError(f"the connection ended after {size} of {announced} bytes")
        _check_size(mirror, size, whole=True)
        if mirror.sha256 is not None and mirror.sha256.lower() != digest.hexdigest():
            raise ValueError(f"what came has sha256 {digest.hexdigest()} instead of {mirror.sha256}")
    known = "as stated" if mirror.sha256 else "nobody states what it should be"
    _logger.info("%s from %s: %d bytes, sha256 %s (%s)", path, mirror.url, size, digest.hexdigest(), known)
    return path


def _check_headers(mirror: Mirror, headers: Message) -> None:
    """Before anything is read."""
    if headers.get_content_type() in _PAGES:
        raise ValueError(f"what came is a page ({headers.get_content_type()}), not a file")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ValueError(f"what came is packed ({headers['Content-Encoding']}), which was not asked for")
    if (announced := headers.get("Content-Length")) is not None:
        _check_size(mirror, int(announced), whole=True)


def _check_size(mirror: Mirror, size: int, *, whole: bool) -> None:
    """Raise `ValueError` if the file, or already a part of it, has not the stated size."""
    if whole and size == 0:
        raise ValueError("what came is empty")
    if mirror.size is None:
        return
    if size > mirror.size + mirror.size_tolerance or (whole and size < mirror.size - mirror.size_tolerance):
        about = "about " if mirror.size_tolerance else ""
        raise ValueError(f"what came has {size} bytes {'' if whole else 'and more '}instead of {about}{mirror.size}")
