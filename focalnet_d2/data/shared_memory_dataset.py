"""Dataset dicts in one block of memory that all processes of a machine share.

A list of dicts is copied bit by bit into every forked worker, because reading a Python object writes its reference
count, and whole into every spawned one. Here each dict is a pickle in one block of bytes: forked workers share it as it
is, torch moves it to shared memory for spawned ones. The ranks of a machine map one file that the first of them wrote;
only where workers are spawned does each rank move a copy of its own to shared memory.
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

logger = logging.getLogger(__name__)


class SharedMemoryDataset(Dataset):
    """dataset[i] is a new copy of records[i].

    All ranks of a run have to make it together. Without a temporary folder that holds it, each has a copy.

    Args:
        records: the same on all ranks; not kept.
    """

    def __init__(self, records: Sequence[dict]):
        self._count = len(records)
        self._content = _shared_by_ranks(records) if comm.get_local_size() > 1 else None
        if self._content is None:
            self._content = torch.frombuffer(_serialize(records), dtype=torch.uint8)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self._count:
            raise IndexError(index)
        content = self._content.numpy()
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
    """The serialised records in a file that all ranks of this machine map and that has no name any more.

    None, on every rank of the machine, where the file cannot be written.
    """
    path = _write(records) if comm.get_local_rank() == 0 else None
    first_of_machine = comm.get_rank() - comm.get_local_rank()
    path = comm.all_gather(path)[first_of_machine]
    content = torch.from_file(path, size=os.path.getsize(path), dtype=torch.uint8) if path else None
    comm.synchronize()
    if path and comm.get_local_rank() == 0:
        os.unlink(path)
    return content


def _write(records: Sequence[dict]) -> str | None:
    path = None
    try:
        with tempfile.NamedTemporaryFile(prefix="focalnet_d2_records_", delete=False) as file:
            path = file.name
            file.write(_serialize(records))
    except OSError as error:
        logger.warning("The ranks of this machine do not share their dataset dicts: %s", error)
        if path:
            os.unlink(path)
        return None
    return path
