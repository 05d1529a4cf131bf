"""Dataset dicts are stored once for all workers and ranks, and come back as they were."""

import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.data.loader import build_train_loader
from focalnet_d2.data.packed import loading
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset
from focalnet_d2.engine.distributed import launch
from tests.data.annotations import coco_file

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory by process is read from /proc")


def memory(pid="self"):
    """Bytes of a process's resident memory, every page divided by the number of processes that share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")


@given(records=st.lists(st.dictionaries(st.text(max_size=3), st.lists(st.floats(allow_nan=False)), max_size=3)))
def test_records_come_back_as_they_were(records):
    shared = SharedMemoryDataset(records)
    assert len(shared) == len(records)
    assert list(shared) == records


def test_a_record_can_be_changed_without_harm():
    shared = SharedMemoryDataset([{"annotations": [1, 2]}])
    shared[0]["annotations"].clear()
    assert shared[0] == {"annotations": [1, 2]}


@pytest.mark.parametrize("index", [-1, 2])
def test_numbers_beyond_the_ends_are_errors(index):
    with pytest.raises(IndexError):
        SharedMemoryDataset([{}, {}])[index]


class WhoLoadsWhat:
    """A mapper; at top level, so that spawned workers can unpickle it."""

    def __call__(self, record):
        return {"pid": os.getpid(), "threads": torch.get_num_threads(), "bytes": len(record["content"])}


def growth_by_records() -> int:
    """Bytes by which a process and its two forked workers grow with 60 MB of records that they have read."""

    def total_memory(size):
        records = [{"content": os.urandom(size)} for _ in range(60)]
        loader = build_train_loader(records, mapper=WhoLoadsWhat(), total_batch_size=4, num_workers=2)
        loader.multiprocessing_context = "fork"
        del records  # a fork would keep it alive
        batches = iter(loader)
        samples = [sample for _ in range(30) for sample in next(batches)]
        assert {sample["bytes"] for sample in samples} == {size}
        assert {sample["threads"] for sample in samples} == {1}
        workers = {sample["pid"] for sample in samples}
        assert len(workers) == 2
        return sum(map(memory, [*workers, os.getpid()]))

    small = total_memory(10)
    return total_memory(1_000_000) - small


@linux
def test_forked_workers_share_the_records():
    """Two workers that have read all of it add nothing to the one copy: three would be 180 MB.

    In a process of its own, since what the tests before have left would be copied by forks that touch it.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(growth_by_records).result() < 100_000_000


def test_what_a_spawned_worker_gets_is_a_name_of_shared_memory():
    shared = SharedMemoryDataset([{"content": os.urandom(1_000_000)}])
    assert len(ForkingPickler.dumps(shared)) < 2000
    assert shared._records.content.is_shared()


def read_in_rank(folder):
    """Rank 1 has other contents, which nobody reads where there is one copy; then each has its own."""
    rank, found = int(os.environ["RANK"]), []
    for tempfile.tempdir in (folder, os.path.join(folder, "missing")):
        found.append(list(SharedMemoryDataset([{"from rank": rank, "image": i} for i in range(3)])))
    Path(folder, f"result{rank}").write_text(repr([*found, *read_packed_in_rank(folder, rank)]))


RESULTS = ["cache0", "cache1", "files0", "files1", "result0", "result1"]  # of both ranks


def read_packed_in_rank(folder, rank):
    """The same with packed records in memory; mapped from a cache, each rank keeps what it has."""
    loading.BIG, tempfile.tempdir, found = 0, folder, []
    for cache in (0, 1):
        os.environ |= {"FOCALNET_D2_RECORDS_CACHE": str(cache), "XDG_CACHE_HOME": f"{folder}/cache{rank}"}
        os.makedirs(f"{folder}/files{rank}", exist_ok=True)
        path = coco_file.write(Path(folder, f"files{rank}"), {**coco_file.content(), "info": rank})
        records = loading.load_packed(path).records(f"rank {rank}")
        shared = SharedMemoryDataset(records)
        assert list(shared) == list(records)
        found.append(shared._records.block is records.block)
    return found


def test_ranks_of_a_machine_read_one_copy_or_without_a_temporary_folder_each_its_own(tmp_path):
    launch(read_in_rank, num_processes=2, args=(str(tmp_path),))
    assert sorted(path.name for path in tmp_path.iterdir()) == RESULTS, "the files have no name any more"
    for rank in range(2):
        expected = [[{"from rank": source, "image": i} for i in range(3)] for source in (0, rank)]
        expected += [False, True]  # whether packed records are where they were
        assert (tmp_path / f"result{rank}").read_text() == repr(expected)
