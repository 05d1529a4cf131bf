"""Named columns of numbers and a few facts in one block of bytes, in memory or in a file.

    columns, each from a multiple of 8 bytes on | header: JSON of facts and columns | length of the header, 8 bytes

Nothing in it is code, and whatever it says of itself is checked against its size.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

DTYPES = ("|u1", "<i4", "<i8", "<f8")
_ALIGNMENT = 8


def mapped_bytes(path: str | Path, size: int) -> Tensor:
    """(size,) uint8, the first bytes of a file: processes that map it share its memory.

    Unlike the tensors of `torch.from_file`, it can be given to spawned workers, which get a copy in shared memory.
    """
    return torch.from_numpy(np.memmap(path, np.uint8, mode="c", shape=(size,)))


class Sink(Protocol):
    """A file, or something like it, that is written from its beginning to its end."""

    def write(self, content: bytes | memoryview, /) -> int:
        """Writes all of the bytes."""
        ...


class BlockWriter:
    """Writes a block from its beginning to its end.

    Args:
        sink: a file, or bytes in memory.
    """

    def __init__(self, sink: Sink):
        self._sink = sink
        self._place = 0
        self._columns: dict[str, list] = {}  # type of number, first byte, how many numbers

    def add(self, name: str, values: np.ndarray) -> None:
        """Writes a column (N,), or goes on with the one that was written last."""
        dtype = values.dtype.newbyteorder("<")
        if name not in self._columns:
            self._write(bytes(-self._place % _ALIGNMENT))
            self._columns[name] = [dtype.str, self._place, 0]
        self._columns[name][2] += len(values)
        self._write(np.ascontiguousarray(values, dtype).data)

    def add_texts(self, name: str, texts: list[str]) -> None:
        """Writes texts as two columns, their bytes and where each ends; `Block.text` reads one of them."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.add(f"{name}_ends", np.cumsum([0, *map(len, encoded)], dtype=np.int64))
        self.add(name, np.frombuffer(b"".join(encoded), np.uint8))

    def finish(self, facts: dict[str, Any]) -> None:
        """Writes the header."""
        header = json.dumps({"facts": facts, "columns": self._columns}).encode()
        self._write(header)
        self._write(np.array(len(header), "<i8").tobytes())

    def _write(self, content: bytes | memoryview) -> None:
        self._sink.write(content)
        self._place += memoryview(content).nbytes


class Block:
    """A block that is read; pickled, it is a name of shared memory, as torch has it.

    Args:
        content: (bytes,) uint8.
        is_mapped: the bytes are those of a file, which all processes of the machine that map it share.

    Attributes:
        facts: what `BlockWriter.finish` was given.

    Raises:
        ValueError: the bytes are no block.
    """

    def __init__(self, content: Tensor, *, is_mapped: bool = False):
        self.content = content
        self.is_mapped = is_mapped
        try:
            self._read_header()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"This is no block of columns ({error}).") from error

    def _read_header(self) -> None:
        array = self.content.numpy()
        size = len(array) - 8
        length = int(np.frombuffer(array[size:].tobytes(), "<i8")[0])
        if not 0 < length <= size:
            raise ValueError(f"a header of {length} bytes in {size}")
        header = json.loads(array[size - length : size].tobytes())
        self.facts: dict[str, Any] = header["facts"]
        self._address = self.content.data_ptr()
        self._columns = {name: _column(array, size - length, *place) for name, place in header["columns"].items()}

    def __getitem__(self, name: str) -> np.ndarray:
        """A column (N,), which must not be changed."""
        if self.content.data_ptr() != self._address:  # torch has moved it to shared memory, for a spawned worker
            self._read_header()
        return self._columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def text(self, name: str, index: int) -> str:
        """One of the texts of a column of texts."""
        first, end = self[f"{name}_ends"][index : index + 2]
        return self[name][first:end].tobytes().decode("utf-8", "surrogatepass")

    def texts(self, name: str) -> list[str]:
        """All texts of a column of texts."""
        ends, content = self[f"{name}_ends"].tolist(), self[name].tobytes()
        if content.isascii():  # then places of bytes are those of letters
            text = content.decode("ascii")
            return [text[first:end] for first, end in pairwise(ends)]
        return [content[first:end].decode("utf-8", "surrogatepass") for first, end in pairwise(ends)]

    def __getstate__(self) -> Tensor:
        return self.content

    def __setstate__(self, content: Tensor) -> None:
        self.__init__(content)


def _column(array: np.ndarray, size: int, dtype: str, start: int, count: int) -> np.ndarray:
    if dtype not in DTYPES:
        raise ValueError(f"numbers of the type {dtype}")
    end = start + count * np.dtype(dtype).itemsize
    if not 0 <= start <= end <= size:
        raise ValueError(f"a column from {start} to {end} in {size} bytes")
    return array[start:end].view(dtype)
