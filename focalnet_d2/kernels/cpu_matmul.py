"""Which library multiplies float32 matrices on the CPU.

Where torch was built with MKL it takes its matrix products, which on some processors run at half of the speed that
oneDNN reaches. torch leaves MKL for oneDNN only when it is told that products may be rounded like those of bf16; on
most processors they are then still float32, on some (those with AMX) really bf16. So a probe compares both routes once,
and `fast_cpu_matmul` takes oneDNN only where it is as exact as float32 and faster. What the probe found is kept in the
user's cache folder: two processes that probed by themselves could choose differently where noise decides, and then a
resumed run would differ from an uninterrupted one in its last bits.

The setting is one of the whole process: it is there inside the context only, and afterwards what it was.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.user_cache import make_user_cache, user_cache

from .compiler import processor
from .dispatch import Computation, Implementation

_FLOAT32 = ("none", "ieee", "highest")  # the settings that leave products in float32

# torch 2.9 and later have a setting for oneDNN alone; the older one is for all devices.
_OWN_SETTING = getattr(torch.backends.mkldnn, "matmul", None)


def is_full_precision() -> bool:
    """Whether the user has left products of float32 as they are by default."""
    return _precision() in _FLOAT32


def onednn_multiplies_float32() -> bool:
    """Whether products of float32 matrices go to oneDNN now."""
    return torch.backends.mkldnn.is_available() and _precision() == _onednn_precision()


@contextmanager
def onednn_matmul() -> Iterator[None]:
    """Products of float32 matrices go to oneDNN inside, where torch has it."""
    before = _precision()
    _set_precision(_onednn_precision())
    try:
        yield
    finally:
        _set_precision(before)


def _onednn_precision() -> str:
    return "medium" if _OWN_SETTING is None else "bf16"


def _precision() -> str:
    if _OWN_SETTING is not None:
        return _OWN_SETTING.fp32_precision
    return torch.get_float32_matmul_precision()


def _set_precision(precision: str) -> None:
    if _OWN_SETTING is not None:
        _OWN_SETTING.fp32_precision = precision
    else:
        torch.set_float32_matmul_precision(precision)


_SHAPE = (1024, 192, 768)  # tokens, inputs and outputs of an MLP of FocalNet-T
_ROUNDS = 12
_FASTER = 1.25  # below, noise could decide
_ERROR = 1e-5  # of the largest value; float32 stays below 2e-6, and bf16 above 1e-3


@dataclass(frozen=True)
class Choice:
    """Whether products go to oneDNN inside `fast_cpu_matmul`, and one line that says why."""

    use_onednn: bool
    reason: str


@cache
def choice() -> Choice:
    """What the probe found with this processor and torch; some 0.2 s when nothing is kept in the cache folder.

    Must be asked for, the first time, with torch's precision as it is by default.
    """
    if not torch.backends.mkldnn.is_available():
        return Choice(False, "torch was built without oneDNN")
    path = _memory()
    if (kept := _read(path)) is not None:
        return kept
    found = decide(*_probe())
    with contextlib.suppress(OSError):  # a folder that cannot be written: the next process probes again
        make_user_cache()
        write_atomically(path, json.dumps(asdict(found)))
    return found


def _memory() -> Path:
    """The file that keeps the choice, one for each processor and version of torch."""
    parts = "\n".join((torch.__version__, *processor()))
    return user_cache() / f"cpu_matmul-{hashlib.sha256(parts.encode()).hexdigest()[:24]}.json"


def _read(path: Path) -> Choice | None:
    """The choice that a file keeps; None where there is no such file, or a damaged one."""
    try:
        kept = Choice(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return kept if isinstance(kept.use_onednn, bool) and isinstance(kept.reason, str) else None


def decide(default_seconds: float, default_error: float, seconds: float, error: float) -> Choice:
    """The choice from seconds and relative error of a product on torch's default route, and on oneDNN's."""
    ratio = default_seconds / seconds
    if error > max(_ERROR, 2 * default_error):
        return Choice(False, f"torch's default: oneDNN would round to less than float32 (error {error:.0e})")
    if ratio < _FASTER:
        return Choice(False, f"torch's default, as fast as oneDNN ({ratio:.2f} times its time)")
    return Choice(True, f"oneDNN, {ratio:.1f} times as fast as torch's default and as exact (error {error:.0e})")


def _without_gain() -> str:
    return "" if choice().use_onednn else choice().reason


MATMUL_ROUTE = Computation(
    "matrix products",
    (
        Implementation(
            "onednn",
            onednn_matmul,
            "oneDNN",
            devices=("cpu",),
            dtypes=(torch.float32,),
            suits=lambda full_precision: full_precision,
            unavailable_reason=_without_gain,
        ),
        Implementation("default", nullcontext, "torch's default"),
    ),
)


def fast_cpu_matmul(device: torch.device | str) -> AbstractContextManager[None]:
    """The faster exact route of float32 products inside, for a forward pass and its backward pass.

    It does nothing for other devices than the CPU, and where the user has lowered the precision.
    """
    return MATMUL_ROUTE.choose(torch.device(device).type, torch.float32, is_full_precision()).compute()


def _probe() -> tuple[float, float, float, float]:
    """Seconds and error of torch's default route, then of oneDNN's.

    Seconds are CPU time of the fastest of a few products, errors are relative to the largest value. The routes take
    turns, so that what else the machine does hits both.
    """
    rows, inputs, outputs = _SHAPE
    x, weight = _wave(rows, inputs), _wave(outputs, inputs)
    exact = x.double() @ weight.double().T
    routes = (nullcontext, onednn_matmul)
    seconds, products = ([], []), [x, x]
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for number in range(2 * (_ROUNDS + 1)):
            with routes[number % 2]():
                start = time.process_time()
                products[number % 2] = nn.functional.linear(x, weight)
                seconds[number % 2].append(time.process_time() - start)
    errors = [float((product.double() - exact).abs().max() / exact.abs().max()) for product in products]
    fastest = [min(taken[1:]) for taken in seconds]  # the first product prepares oneDNN's kernel
    return fastest[0], errors[0], fastest[1], errors[1]


def _wave(rows: int, columns: int) -> Tensor:
    """Numbers of all signs without a pattern; no random generator is touched."""
    numbers = torch.arange(rows * columns, dtype=torch.float64, device="cpu")
    return numbers.mul(12.9898).sin().float().view(rows, columns)
