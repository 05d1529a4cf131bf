"""Opening checkpoint files without running anything that is in them.

A `.pth` file is a pickle, and a pickle may name any function to call. Here only tensors, plain data and the few
harmless classes that published files hold are rebuilt; every other name stops the reading with a sentence about it.
"""

import argparse
import codecs
import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from detectron2.utils.file_io import PathManager
from safetensors import safe_open
from torch import Tensor

from .digest import DIGEST, digest_of
from .zip_archive import check_archive

# The functions that rebuild arrays and numbers, whatever this version of numpy calls their modules.
_RECONSTRUCT, _SCALAR = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_NUMPY_PACKAGES = ("numpy.core", "numpy._core")  # of numpy 1 and 2
_LEGACY_START = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_NUMBER_TYPES = [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]


class _PlainConfig:
    """Stands in for the yacs nodes of training files: what is built is a plain dictionary of its entries."""

    def __new__(cls) -> OrderedDict:
        return OrderedDict()


_CONFIG_CLASSES = (
    "yacs.config.CfgNode",
    "fvcore.common.config.CfgNode",
    "detectron2.config.config.CfgNode",
)
_HARMLESS = [
    argparse.Namespace,  # `args` of the official FocalNet-DINO files
    *((_PlainConfig, name) for name in _CONFIG_CLASSES),
    np.dtype,
    *_NUMBER_TYPES,
    *((_SCALAR, f"{package}.multiarray.scalar") for package in _NUMPY_PACKAGES),
]


def read_checkpoint(path: str | os.PathLike, *, header_only: bool = False) -> dict[str, Any]:
    """The content of a checkpoint file, as it was saved; no code in it is run.

    The content tells the format, not the name. The safetensors format gives `{"model": tensors, "metadata": dict}`;
    what `torch.save` wrote is read by `torch.load`; anything else is taken for a pickle of arrays, as in Detectron2's
    model zoo. Tensors are on the CPU, mapped from the file where the format allows it. Checksums are compared: those of
    zip archives, and the digest that our own files note. Addresses that Detectron2 knows (`https://`, `detectron2://`)
    are downloaded to its cache first.

    Args:
        header_only: give tensors without values (meta device) where the format has its names and shapes apart, as
            safetensors has; without values, there is no digest to compare.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, is damaged, or asks for something that could run code.
    """
    path = _local_path(path)
    _refuse_what_is_no_file(path)
    if _is_safetensors(path):
        return _read_safetensors(path, header_only)
    _refuse_other_files(path)
    content = _read_any_pickle(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"The file {path} holds a {type(content).__name__}, not a dictionary of weights.")
    return _without_digest(dict(content), path)


def _local_path(path: str | os.PathLike) -> Path:
    if "://" in str(path):
        return Path(PathManager.get_local_path(str(path)))
    return Path(path)


def _refuse_what_is_no_file(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"The checkpoint {path} does not exist.")
    if path.is_dir():
        raise ValueError(f"The checkpoint {path} is a folder: name the file in it.")


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a JSON text that it has room for, and with the text's bracket."""
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and 8 + int.from_bytes(start[:8], "little") <= path.stat().st_size


def _refuse_other_files(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    if not start:
        raise ValueError(f"The checkpoint {path} is empty: copy or download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"The file {path} is a Git LFS pointer, not the weights: run `git lfs pull`.")
    if start[:1] == b"<":
        raise ValueError(f"The file {path} is a web page, not the weights: download the file that the page links to.")
    if start[:1] == b"{":
        raise ValueError(f"The file {path} is a JSON text, not the weights: give the file that it describes.")


def _read_any_pickle(path: Path) -> Any:
    """What `torch.save` wrote, in its present format (zip) or the one before, or a pickle of arrays."""
    if zipfile.is_zipfile(path):
        return _read_archive(path)
    with open(path, "rb") as file:
        start = file.read(len(_LEGACY_START))
    return _read_torch(path, map_location="cpu") if start == _LEGACY_START else _read_pickle(path)


def _damaged(path: Path, error: Exception) -> ValueError:
    size = path.stat().st_size
    reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().split("\n")[0] or type(error).__name__
    return ValueError(
        f"The file {path} is truncated, damaged or no checkpoint ({size} bytes; {reason}): copy or download it again."
    )


def _forbidden(path: Path, name: str) -> ValueError:
    return ValueError(
        f"The file {path} asks for {name}, which could run code; nothing was run. If you trust where it comes from, "
        "open it there and save only its weights: torch.save({'model': weights}, file)."
    )


def _read_archive(path: Path) -> Any:
    try:
        archive = check_archive(path)
    except Exception as error:  # as a damaged pickle, a damaged directory can raise anything
        raise _damaged(path, error) from error
    lengths = []

    def note_length(storage: torch.UntypedStorage, location: str) -> torch.UntypedStorage:
        lengths.append(storage.nbytes())
        return storage

    content = _read_torch(path, map_location=note_length, mmap=not archive.compressed)
    if not archive.has_lengths(lengths):
        raise _damaged(path, ValueError("its records have other lengths than the tensors in them"))
    return content


def _read_torch(path: Path, **options: Any) -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, weights_only=True, **options)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)|function (.+)", str(error))
        if name is None:
            raise _damaged(path, error) from error
        raise _forbidden(path, name.group(1) or name.group(2)) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, error) from error


def _without_digest(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content as it was given to `save_checkpoint`, compared with the digest that was then added."""
    notes = content.get("metadata")
    if not isinstance(notes, dict) or DIGEST not in notes:
        return content
    rest = {name: value for name, value in notes.items() if name != DIGEST}
    _compare_digest(path, notes[DIGEST], content)
    return {**content, "metadata": rest}


def _compare_digest(path: Path, digest: Any, content: Any, text: str = "") -> None:
    if digest != digest_of(content, text):
        raise ValueError(
            f"The file {path} is not as it was written: its tensors do not have the digest that it notes. Copy or "
            f"download it again; if another program changed it on purpose, remove the entry {DIGEST!r} of its metadata."
        )


def _encode(text: str, encoding: str) -> bytes:
    """What pickles of protocol 2 call to rebuild bytes; any other codec could unpack something else."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"GLOBAL _codecs.encode with {encoding}")
    return codecs.encode(text, encoding)


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays, ordered dictionaries and plain data; refuses every other name."""

    ALLOWED: ClassVar[dict[str, Any]] = {
        **{f"{package}.multiarray._reconstruct": _RECONSTRUCT for package in _NUMPY_PACKAGES},
        **{f"{package}.multiarray.scalar": _SCALAR for package in _NUMPY_PACKAGES},
        **{f"{package}.numeric._frombuffer": _FROM_BUFFER for package in _NUMPY_PACKAGES},
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "collections.OrderedDict": OrderedDict,
        "_codecs.encode": _encode,
        "builtins.set": set,
        "builtins.frozenset": frozenset,
        "builtins.bytearray": bytearray,
        "builtins.complex": complex,
    }

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name not in self.ALLOWED:
            raise pickle.UnpicklingError(f"GLOBAL {full_name}")
        return self.ALLOWED[full_name]


def _read_pickle(path: Path) -> Any:
    try:
        with open(path, "rb") as file:
            return _ArrayUnpickler(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        if isinstance(error, pickle.UnpicklingError) and str(error).startswith("GLOBAL "):
            raise _forbidden(path, str(error).removeprefix("GLOBAL ")) from error
        raise _damaged(path, error) from error


_TYPES = {
    **{f"F{bits}": getattr(torch, f"float{bits}") for bits in (16, 32, 64)},
    **{f"I{bits}": getattr(torch, f"int{bits}") for bits in (8, 16, 32, 64)},
    **{"BF16": torch.bfloat16, "U8": torch.uint8, "BOOL": torch.bool, "C64": torch.complex64},
}  # what the header calls them


def _read_safetensors(path: Path, header_only: bool) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            read = _without_values if header_only else safe_open.get_tensor
            tensors = {name: read(file, name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            notes = file.metadata() or {}
    except Exception as error:  # what is not there, or no type of torch
        raise _damaged(path, error) from error
    text = notes.get("metadata", "{}")
    if DIGEST in notes and not header_only:
        _compare_digest(path, notes[DIGEST], tensors, text)
    return {"model": tensors, "metadata": _from_json(text)}


def _without_values(file: Any, name: str) -> Tensor:
    entry = file.get_slice(name)
    return torch.empty(entry.get_shape(), dtype=_TYPES.get(entry.get_dtype(), torch.float32), device="meta")


def _from_json(text: str) -> Any:
    """What a text says; other programs may note any text, which then stays one."""
    try:
        return json.loads(text)
    except ValueError:
        return text
