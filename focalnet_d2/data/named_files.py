"""Whether the files that annotations name are there, asked before anything is trained or evaluated."""

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .shards.files import exists, is_file, names_below

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
    return next((other for one in names if one != name and is_file(other := os.path.join(folder, one))), "")


def _missing_in(folder: str, names: set[str]) -> set[str]:
    """The paths of the names that the folder lacks."""
    candidates = names if len(names) <= _FEW else names - _files_in(folder)
    if len(candidates) > _FEW:
        candidates = candidates.difference(names_below(folder))
    paths = {os.path.join(folder, name) for name in candidates}
    return {path for path in paths if not exists(path)}


def _files_in(folder: str) -> set[str]:
    """Names that are surely files; links may lead nowhere."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.is_symlink()}
    except OSError:
        return set()
