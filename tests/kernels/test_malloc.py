"""Freed memory stays with the process, unless the user has decided otherwise."""

import platform
import subprocess
import sys

import pytest

from focalnet_d2.kernels.malloc import keep_freed_memory

FAULTS = """
import resource, torch
from focalnet_d2.kernels.malloc import keep_freed_memory
kept = {keep}
faults = []
for repetition in range(12):  # the heap needs some until the tensor finds the place of the one before
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**25)  # 128 MiB, 32768 pages
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(int(kept), min(faults))
"""


def page_faults(keep: str) -> tuple[bool, int]:
    """The fewest of large tensors that are made and freed one after the other, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "1", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_tensors_reuse_memory():
    kept, faults = page_faults("keep_freed_memory({})")
    assert kept
    assert faults < 100
    kept, faults = page_faults("False")
    assert not kept
    assert faults > 100


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_the_users_settings_stay(name):
    assert not keep_freed_memory({name: "65536"})
