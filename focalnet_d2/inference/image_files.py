"""The image files and videos that paths mean, and what the results of each are called."""

import errno
import glob
import os
from collections.abc import Iterable
from pathlib import Path

from focalnet_d2.data.folders.listing import IMAGE_SUFFIXES, Listing

from .output_kinds import RESULT_ENDINGS
from .video import VIDEO_SUFFIXES

LOCK_FILE = "predict.lock"  # in a folder of results while a process predicts into it


def file_path(source: str | os.PathLike) -> Path:
    """The path that a user names, `~` being the home folder.

    Raises:
        ValueError: it is empty, which `Path` takes for the current folder, can be the name of no file, or is an address
            on the net.
    """
    if not os.fspath(source) or "\0" in os.fspath(source):
        raise ValueError(f"{os.fspath(source)!r} is no path: name an image, a video, a folder or a pattern.")
    if "://" in os.fspath(source):
        raise ValueError(f"{source} is an address on the net: download what it names, and give the path of the file.")
    return Path(os.path.expanduser(source))


def refuse_folder(path: Path) -> None:
    """Raises an error that says why, where a path that should be an image is a folder."""
    if path.is_dir():
        os.scandir(path).close()  # raises, and says why, where it cannot be looked into
        raise ValueError(f"{path} is a folder where one image is wanted: name the image, or give the folder alone.")


def image_files(source: str | os.PathLike, *, videos: bool = False) -> list[Path]:
    """The image files that a path means: itself, all in and below a folder, or those that fit a pattern; sorted.

    What is in a folder and cannot be looked at is among them, so that whoever reads them says so: links that lead
    nowhere, and folders that may not be read or lie too deep.

    Args:
        videos: a folder means the videos in and below it, too.

    Raises:
        FileNotFoundError: there is none.
    """
    path = file_path(source)
    if path.is_dir():
        suffixes = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) if videos else IMAGE_SUFFIXES
        listing = Listing(path)
        lost = (name for name in listing.left_out if not Path(name).suffix or name.lower().endswith(suffixes))
        files = [path / name for name in sorted({*listing.with_suffix(*suffixes), *lost})]
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
        NotADirectoryError, PermissionError: `out` can be no folder of results.
        ValueError: two files whose results would have one name.
    """
    check_results_folder(out)
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


def check_results_folder(out: Path) -> None:
    """Raises an error, before any work is done, where a folder for results cannot be made or written to."""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file, and the results need a folder: name another one.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"The results cannot be written: {there} is no folder that can be written to.")


def names_too_long(error: OSError, file: Path) -> str:
    """What to say about an image whose results cannot be written, their names being too long.

    Raises:
        OSError: the error, if it is another one: a full disk, for example, is one for all images.
    """
    if error.errno != errno.ENAMETOOLONG:
        raise error
    return f"The results of {file} cannot be written, since their names would be too long."


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
