"""Whether freed memory stays with the process, for processes that are ours.

glibc takes every large tensor fresh from the system and gives it back when it is freed; the system then clears the
pages of the next one, one by one. A training step or an evaluation allocates the same sizes again and again, so keeping
the memory saves that work (`benchmarks/run.py cpu_memory`). Gaps that nothing fits stay: the peak of a training step of
Mask2Former at 1024x1024 was 9 % higher.
"""

import ctypes
import os
from collections.abc import Mapping

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # mallopt's settings, as malloc.h names them
_LARGEST = 2**31 - 1
_USERS_OWN = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Keep freed memory for later tensors, until the process ends; results do not change.

    It is a setting of the whole process: for programs, not for libraries. Where the C library is not glibc, or the
    environment has settings of its own (`MALLOC_MMAP_THRESHOLD_`, `GLIBC_TUNABLES`, ...), nothing is done.

    Returns:
        Whether it was set.
    """
    if any(name in environment for name in _USERS_OWN):
        return False
    return mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, _LARGEST)


def mallopt(setting: int, value: int) -> bool:
    """glibc's function of this name; False where the C library is another one."""
    try:
        function = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS, musl, Windows
        return False
    return bool(function(setting, value))
