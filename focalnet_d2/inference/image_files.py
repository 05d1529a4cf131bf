"""The image files and videos that paths mean, and what the results of each are called."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from focalnet_d2.data.folders.listing import IMAGE_SUFFIXES, Listing

from .output_kinds import RESULT_ENDINGS
from .video import VIDEO_SUFFIXES


def file_path(source: str | os.PathLike) -> Path:
    """The path that a user names, `~` being the home folder.

    Raises:
        ValueError: it is empty, which `Path` takes for the current folder, or can be the name of no file.
    """
    if not os.fspath(source) or "\0" in os.fspath(source):
        raise ValueError(f"{os.fspath(source)!r} is no path: name an image, a video, a folder or a pattern.")
    return Path(source).expanduser()


def image_files(source: str | os.PathLike, *, videos: bool = False) -> list[Path]:
    """The image files that a path means: itself, all in and below a folder, or those that fit a pattern; sorted.

    Args:
        videos: a folder means the videos in and below it, too.

    Raises:
        FileNotFoundError: there is none.
    """
    path = file_path(source)
    if path.is_dir():
        suffixes = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) if videos else IMAGE_SUFFIXES
        files = [path / name for name in Listing(path).with_suffix(*suffixes)]
    elif path.exists() or not glob.has_magic(str(path)):
        return [path]
    else:
        files = [file for name in sorted(glob.glob(str(path), recursive=True)) if (file := Path(name)).is_file()]
    if not files:
        raise FileNotFoundError(f"There is no image in {source}: name a folder with images, or a pattern that fits.")
    return files


def named_files(paths: Iterable[str | os.PathLike], out: Path, *, videos: bool = True) -> dict[str, Path]:
    """The image files and videos by what their results are called: the name, in a folder that was named the path below.

    Args:
        videos: a folder means the videos in it, too.
        out: folder of the results; those that lie among the images already are left out.

    Raises:
        FileNotFoundError: a folder or pattern without an image.
        NotADirectoryError: `out` is a file.
        ValueError: two files whose results would have one name.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file, and the results need a folder: name another one.")
    named: dict[str, Path] = {}
    for path in paths:
        folder = file_path(path)
        for file in _without_results(image_files(path, videos=videos), folder, out.absolute()):
            name = str(file.relative_to(folder)) if folder.is_dir() else file.name
            if named.setdefault(name, file).absolute() != file.absolute():
                raise ValueError(
                    f"The results of {named[name]} and {file} would have one name: predict them into different folders."
                )
    return named


def _without_results(found: list[Path], source: Path, out: Path) -> list[Path]:
    """The files that no earlier prediction has written, as into the folder of the images; a file that is named stays.

    Raises:
        FileNotFoundError: all are results.
    """
    if found == [source]:
        return found
    names = {str(file) for file in found}
    kept = [file for file in found if not _is_result(file, names, out)]
    if not kept:
        raise FileNotFoundError(f"All images in {source} are results of predictions: name the folder of the images.")
    return kept


def _is_result(file: Path, names: set[str], out: Path) -> bool:
    beginnings = [str(file).removesuffix(ending) for ending in RESULT_ENDINGS if str(file).endswith(ending)]
    return any(beginning in names or out in file.absolute().parents for beginning in beginnings)
