"""Dataset dicts in one block of memory that all processes of a machine share.

A list of dicts is copied bit by bit into every forked worker, because reading a Python object writes its reference
count, and whole into every spawned one. Here each dict is a pickle in one block of bytes, and packed records
(`packed.records`) are such a block already: forked workers share it as it is, torch moves it to shared memory for
spawned ones. The ranks of a machine map one file, that of the cache or one that the first of them wrote; only where
workers are spawned does each rank move a copy of its own to shared memory.
"""

import logging
import os
import pickle
import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.utils import comm
from torch import Tensor
from torch.utils.data import Dataset

from .packed.block import Block, mapped_bytes
from .packed.records import PackedRecords

logger = logging.getLogger(__name__)


class SharedMemoryDataset(Dataset):
    """dataset[i] is a new copy of records[i].

    All ranks of a run have to make it together. Without a temporary folder that holds it, each has a copy.

    Args:
        records: the same on all ranks; not kept, unless they are packed.
    """

    def __init__(self, records: Sequence[dict]):
        content = _shared_by_ranks(records) if comm.get_local_size() > 1 else None
        self._records: PackedRecords | _Pickles
        if isinstance(records, PackedRecords):
            self._records = records if content is None else records.with_block(Block(content))
        else:
            if content is None:
                content = torch.frombuffer(_serialize(records), dtype=torch.uint8)
            self._records = _Pickles(content, len(records))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._records[index]


class _Pickles:
    """Dataset dicts in what `_serialize` makes of them."""

    def __init__(self, content: Tensor, count: int):
        self.content = content
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict:
        content = self.content.numpy()
        start, end = content[8 * index : 8 * index + 16].view(np.int64)
        return pickle.loads(content[start:end].data)


def _serialize(records: Sequence[dict]) -> bytearray:
    """Where each pickle starts and the last one ends, 8 bytes each, and the pickles."""
    content = bytearray(8 * (len(records) + 1))
    starts = []
    for record in records:
        starts.append(len(content))
        content += pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
    starts.append(len(content))
    content[: 8 * len(starts)] = np.array(starts, np.int64).tobytes()
    return content


def _shared_by_ranks(records: Sequence[dict]) -> Tensor | None:
    """The bytes of the records in a file that all ranks of this machine map and that has no name any more.

    None, on every rank of the machine, where the file cannot be written, or all have mapped the file of a cache.
    """
    if all(comm.all_gather(isinstance(records, PackedRecords) and records.block.is_mapped)):
        return None
    path = _write(records) if comm.get_local_rank() == 0 else None
    first_of_machine = comm.get_rank() - comm.get_local_rank()
    path = comm.all_gather(path)[first_of_machine]
    content = mapped_bytes(path, os.path.getsize(path)) if path else None
    comm.synchronize()
    if path and comm.get_local_rank() == 0:
        os.unlink(path)
    return content


def _write(records: Sequence[dict]) -> str | None:
    path = None
    try:
        with tempfile.NamedTemporaryFile(prefix="focalnet_d2_records_", delete=False) as file:
            path = file.name
            packed = isinstance(records, PackedRecords)
            file.write(records.block.content.numpy().data if packed else _serialize(records))
    except OSError as error:
        logger.warning("The ranks of this machine do not share their dataset dicts: %s", error)
        if path:
            os.unlink(path)
        return None
    return path
