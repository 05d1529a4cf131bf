"""Workers of loaders leave signals to their parent."""

import os
import signal
import subprocess

import pytest
import torch
from torch.utils.data import DataLoader

from focalnet_d2.utils.child_processes import leave_signals_to_parent


@pytest.fixture
def loader():
    """An iterator whose only worker gives its process id."""
    torch.set_num_threads(1)
    data = DataLoader(Processes(), num_workers=1, worker_init_fn=leave_signals_to_parent)
    return iter(data)


class Processes:
    def __len__(self):
        return 100

    def __getitem__(self, index):
        return os.getpid()


@pytest.mark.parametrize("name", ["TERM", "USR1", "INT"])
def test_a_worker_outlives_signals_to_all_processes(loader, name):
    worker = int(next(loader))
    assert worker != os.getpid()
    for _ in range(2):
        subprocess.run(["sh", "-c", f"kill -{name} {worker}"], check=True)
    assert {int(process) for process in loader} == {worker}


def test_its_parent_ends_it(loader):
    (worker,) = loader._workers
    next(loader)
    os.kill(worker.pid, signal.SIGTERM)
    worker.join(60)
    assert worker.exitcode == 0
