"""Whether the files that annotations name exist, asked before anything is trained or evaluated."""

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

THREADS = 16  # file systems of a network answer many questions at once
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
