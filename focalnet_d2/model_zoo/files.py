"""Where weight files are looked for, and how they are fetched."""

import hashlib
import logging
import os
from http.client import HTTPException
from pathlib import Path

from focalnet_d2.utils.user_cache import make_user_cache, user_cache

from .download import BLOCK_BYTES, download
from .weights import WeightFile

FOLDER_VARIABLE = "FOCALNET_D2_WEIGHTS"

_logger = logging.getLogger(__name__)


def weight_folders(folder: str | os.PathLike | None = None) -> list[Path]:
    """Where weights are looked for: `folder`, $FOCALNET_D2_WEIGHTS, `user_cache`, `weights/` of the repository.

    The first of them is where downloads go.
    """
    named = [place for place in (folder, os.environ.get(FOLDER_VARIABLE)) if place]
    repository = Path(__file__).resolve().parents[2]
    places = [*named, user_cache(), repository / "weights"]
    return [Path(os.path.expanduser(place)) for place in places]


def find_weights(name: str, folder: str | os.PathLike | None = None) -> Path | None:
    """The first file of this name in `weight_folders`."""
    return next((place / name for place in weight_folders(folder) if (place / name).is_file()), None)


def fetch_weights(file: WeightFile, folder: str | os.PathLike | None = None) -> Path:
    """The file, downloaded if no folder has it.

    A download appears complete or not at all, and not if its size or sha256 is another than the address states.

    Raises:
        ValueError: a folder has a file of this name that is empty, or not the one whose sha256 is known.
        FileNotFoundError: it is in no folder and no address gave it; the message says which file to put where.
    """
    if (found := find_weights(file.name, folder)) is not None:
        _check_local(file, found)
        return found
    folders = weight_folders(folder)
    reasons = []
    for mirror in file.mirrors:
        try:
            if folders[0] == user_cache():
                make_user_cache()
            return download(mirror, folders[0] / file.name)
        except (OSError, HTTPException, ValueError) as error:
            reasons.append(f"{mirror.url} ({' '.join(str(error).split()) or type(error).__name__})")
    places = ", ".join(str(place) for place in folders)
    tried = f", and could not be downloaded from {'; '.join(reasons)}" if reasons else " (it comes with the repository)"
    advice = f"put a copy into {folders[0]}, or set {FOLDER_VARIABLE} to the folder that has one"
    raise FileNotFoundError(f"{file.name} ({file.content}) is not in {places}{tried}: {advice}")


def sha256_of(path: str | os.PathLike) -> str:
    """The digest of a file, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _check_local(file: WeightFile, path: Path) -> None:
    """Compare a file that is there with the digests that are known of its name.

    Raises:
        ValueError: it is empty, or another than the one file of this name that there is.
    """
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty: delete it, or put a copy of {file.name} ({file.content}) there.")
    copies = {mirror.sha256.lower() for mirror in file.mirrors if mirror.sha256}
    known = {file.sha256.lower()} if file.sha256 else copies
    if not known or (found := sha256_of(path)) in known:
        return
    message = f"{path} has sha256 {found} instead of {' or '.join(sorted(known))}"
    if file.sha256:
        raise ValueError(f"{message}: it is damaged or another file; delete it, or put a copy of {file.name} there.")
    _logger.warning("%s, that of the copy on the web: it is another copy, or damaged.", message)
