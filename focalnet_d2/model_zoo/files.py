"""Where weight files are looked for, and how they are fetched."""

import hashlib
import logging
import os
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from focalnet_d2.utils.atomic_write import atomic_open
from focalnet_d2.utils.user_cache import user_cache

from .weights import Mirror, WeightFile

FOLDER_VARIABLE = "FOCALNET_D2_WEIGHTS"
BLOCK_BYTES = 1 << 20
TIMEOUT = 30  # seconds without an answer

_logger = logging.getLogger(__name__)


def weight_folders(folder: str | os.PathLike | None = None) -> list[Path]:
    """Where weights are looked for: `folder`, $FOCALNET_D2_WEIGHTS, `user_cache`, `weights/` of the repository.

    The first of them is where downloads go.
    """
    named = [place for place in (folder, os.environ.get(FOLDER_VARIABLE)) if place]
    repository = Path(__file__).resolve().parents[2]
    places = [*named, user_cache(), repository / "weights"]
    return [Path(place).expanduser() for place in places]


def find_weights(name: str, folder: str | os.PathLike | None = None) -> Path | None:
    """The first file of this name in `weight_folders`."""
    return next((place / name for place in weight_folders(folder) if (place / name).is_file()), None)


def fetch_weights(file: WeightFile, folder: str | os.PathLike | None = None) -> Path:
    """The file, downloaded if no folder has it.

    A download appears complete or not at all, and not if its sha256 is another than the address states.

    Raises:
        FileNotFoundError: it is in no folder and no address gave it; the message says which file to put where.
    """
    if (found := find_weights(file.name, folder)) is not None:
        return found
    folders = weight_folders(folder)
    reasons = []
    for mirror in file.mirrors:
        try:
            return _download(mirror, folders[0] / file.name)
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


def _download(mirror: Mirror, path: Path) -> Path:
    """Raises OSError or HTTPException if nothing or only a part came, and ValueError if it was another file."""
    digest, size = hashlib.sha256(), 0
    with urlopen(mirror.url, timeout=TIMEOUT) as answer, atomic_open(path) as file:
        while block := answer.read(BLOCK_BYTES):
            digest.update(block)
            size += file.write(block)
        announced = answer.headers.get("Content-Length")
        if announced is not None and int(announced) != size:
            raise ConnectionError(f"the connection ended after {size} of {announced} bytes")
        if mirror.sha256 not in (None, digest.hexdigest()):
            raise ValueError(f"what came has sha256 {digest.hexdigest()} instead of {mirror.sha256}")
    known = "as stated" if mirror.sha256 else "nobody states what it should be"
    _logger.info("%s from %s: %d bytes, sha256 %s (%s)", path, mirror.url, size, digest.hexdigest(), known)
    return path
