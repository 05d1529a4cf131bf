#!/usr/bin/env bash
# openvino 2026.4.1, numpy 2.4.0, CPython 3.11, Linux x86-64; seen on 2026-11-30.
# Behaviour: the first compile_model of an openvino.Core replaces the alternate signal stack of the calling thread
#   (sigaltstack, 11568 bytes, as the processor with AVX-512 asks for), and the end of that core puts the former stack
#   back and frees its own. Two cores that end in the order in which they began, or one that ends in another thread
#   (where Python's collector happens to run), leave the thread with a signal stack at an address that is no longer
#   mapped. Every handler that Python installs asks for that stack: of Ctrl-C, and the one that torch's DataLoader
#   installs for the ends of its workers.
# Likely guess: an inference runtime does not touch how its caller's threads receive signals, or leaves them as found
#   in whichever order its objects go. One core for the life of the process avoids it.
# Output seen:
# > at the start: no signal stack
# > two cores: a signal stack, mapped
# > the older is gone: a signal stack, mapped
# > the younger is gone: a signal stack, not mapped
. "$(dirname "$0")/common.sh"
check openvino==2026.4.1 numpy==2.4.0 <<'PYTHON'
import ctypes
import gc

import numpy as np
import openvino
from openvino import opset13 as ops


class SignalStack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def tell(when):
    """Says whether this thread has an alternate signal stack, and whether its memory is there."""
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    with open("/proc/self/maps") as maps:
        ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
    mapped = any(first <= (stack.start or 0) < last for first, last in ranges)
    print(f"{when}:", f"a signal stack, {'mapped' if mapped else 'not mapped'}" if stack.start else "no signal stack")


def compiled():
    image = ops.parameter([1, 3, 8, 8], dtype=np.float32)
    core = openvino.Core()
    return core, core.compile_model(openvino.Model([ops.relu(image)], [image]), "CPU")


tell("at the start")
older = compiled()
younger = compiled()
tell("two cores")
del older
gc.collect()
tell("the older is gone")
del younger
gc.collect()
tell("the younger is gone")
PYTHON
