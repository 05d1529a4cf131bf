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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from detectron2.utils.file_io import PathManager
from safetensors import SafetensorError, safe_open
from torch import Tensor

from focalnet_d2.utils.text import some_of

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

    `.safetensors` gives `{"model": tensors, "metadata": dict}`; what `torch.save` wrote is read by `torch.load`;
    anything else is taken for a pickle of arrays, as in Detectron2's model zoo. Tensors are on the CPU, mapped from the
    file where the format allows it. Addresses that Detectron2 knows (`https://`, `detectron2://`) are downloaded to
    its cache first.

    Args:
        header_only: give tensors without values (meta device) where the format has its names and shapes apart, as
            `.safetensors` has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, is damaged, or asks for something that could run code.
    """
    path = _local_path(path)
    _refuse_other_files(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, header_only)
    content = _read_torch(path) if _is_torch_file(path) else _read_pickle(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"The file {path} holds a {type(content).__name__}, not a dictionary of weights.")
    return dict(content)


def _local_path(path: str | os.PathLike) -> Path:
    if "://" in str(path):
        return Path(PathManager.get_local_path(str(path)))
    return Path(path)


def _refuse_other_files(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"The checkpoint {path} does not exist.")
    if path.is_dir():
        raise ValueError(f"The checkpoint {path} is a folder: name the file in it.")
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    if not start:
        raise ValueError(f"The checkpoint {path} is empty: copy or download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"The file {path} is a Git LFS pointer, not the weights: run `git lfs pull`.")
    if start[:1] == b"<":
        raise ValueError(f"The file {path} is a web page, not the weights: download the file that the page links to.")


def _is_torch_file(path: Path) -> bool:
    """Whether `torch.save` wrote the file, in its present format (zip) or the one before."""
    with open(path, "rb") as file:
        return zipfile.is_zipfile(path) or file.read(len(_LEGACY_START)) == _LEGACY_START


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


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)|function (.+)", str(error))
        if name is None:
            raise _damaged(path, error) from error
        raise _forbidden(path, name.group(1) or name.group(2)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


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


def _read_safetensors(path: Path, header_only: bool) -> dict[str, Any]:
    def tensor_of(file: Any, name: str) -> Tensor:
        if not header_only:
            return file.get_tensor(name)
        return torch.empty(file.get_slice(name).get_shape(), device="meta")

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: tensor_of(file, name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            metadata = file.metadata() or {}
            return {"model": tensors, "metadata": json.loads(metadata.get("metadata", "{}"))}
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


UNNAMED = "(a dictionary)"  # what messages call a checkpoint that was not read from a file


@dataclass
class Weights:
    """The weights of a checkpoint, taken out of whatever they were wrapped in.

    Args:
        source: what messages call the checkpoint: its path.
        tensors: name in the file -> tensor.
        metadata: what our own files say about themselves; empty for others.
        skipped: entries beside the tensors -> why they were left out.
    """

    source: str
    tensors: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def select_weights(content: Mapping[str, Any], source: str = UNNAMED, *, ema: bool = False) -> Weights:
    """The weights in the content of a file, without container and without a prefix that all names share.

    Containers are `model`, `state_dict`, `teacher` and a bare dictionary; with `ema` it is `ema_model`. The prefixes
    `module.` (data parallel training) and `visual.` are removed. Arrays become tensors.

    Raises:
        ValueError: there is no tensor, or `ema` is asked for and the file has no averaged weights.
    """
    if ema and not isinstance(content.get("ema_model"), Mapping):
        held = some_of(content, 5) or "nothing"
        raise ValueError(f"The checkpoint {source} holds no averaged weights (ema_model); it holds {held}.")
    containers = ("ema_model",) if ema else ("model", "state_dict", "teacher")
    inside = next((content[name] for name in containers if isinstance(content.get(name), Mapping)), content)
    tensors, skipped = {}, {}
    for name, value in inside.items():
        if isinstance(value, np.ndarray):
            value = torch.as_tensor(value)
        if isinstance(value, Tensor):
            tensors[name] = value
        else:
            skipped[str(name)] = f"a {type(value).__name__}, not a tensor"
    if not tensors:
        raise ValueError(f"The checkpoint {source} holds no weights; it holds {some_of(content, 5) or 'nothing'}.")
    for prefix in ("module.", "visual."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    metadata = content.get("metadata")
    return Weights(source, tensors, dict(metadata) if isinstance(metadata, Mapping) else {}, skipped)
