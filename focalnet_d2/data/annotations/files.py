"""Whether the files that annotations name can be there and are, asked before anything is trained or evaluated."""

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS = 16  # file systems of a network answer many questions at once
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_FEW = 64  # files of a folder that are asked for one by one; of more, the folder is listed


def missing_files(paths: Sequence[str]) -> list[str]:
    """Those of the paths that do not exist, in their order; a folder is listed once for all of its files."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        folders[folder].add(name)
    with ThreadPoolExecutor(THREADS) as pool:
        absent = set().union(*pool.map(_missing_in, folders, folders.values()))
    return [path for path in paths if path in absent] if absent else []


def misspelled(path: str) -> str:
    """The file that a path which does not exist may mean: the name in other letters or with another suffix; or ""."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    names = [name.lower(), name.upper(), *(stem + other for one in _SUFFIXES for other in (one, one.upper()))]
    names += [stem + other for other in (suffix.lower(), suffix.upper())]
    return next((other for one in names if one != name and os.path.isfile(other := os.path.join(folder, one))), "")


def can_be_file(name: Any) -> bool:
    """Whether a value of an annotation file is the name of a file: JSON can write zeros and halves of characters, too,
    which no system can look for."""
    try:
        return isinstance(name, str) and bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _missing_in(folder: str, names: set[str]) -> set[str]:
    """The paths of the names that the folder lacks."""
    candidates = names if len(names) <= _FEW else names - _files_in(folder)
    paths = {os.path.join(folder, name) for name in candidates}
    return {path for path in paths if not os.path.exists(path)}


def _files_in(folder: str) -> set[str]:
    """Names that are surely files; links may lead nowhere."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.is_symlink()}
    except OSError:
        return set()
