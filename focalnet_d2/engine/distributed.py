"""Processes of a run: started here, by torchrun, or just this one; CUDA with NCCL, anything else with gloo.

Differs from Detectron2's `launch`: the backend follows the device and not the machine, so several CPU processes also
run where a GPU is present; a run started by torchrun is recognised; the process group is closed at the end.
"""

import atexit
import gc
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlparse

import torch
import torch.multiprocessing as mp
from detectron2.utils import comm
from torch import distributed as dist
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes
from torch.nn.parallel import DistributedDataParallel

from focalnet_d2.config.recipe_files import RecipeError
from focalnet_d2.config.settings import PARALLEL_MODES
from focalnet_d2.utils.child_processes import end_with_parent
from focalnet_d2.utils.stop_signals import RunStopped, StopSignals, signal_name
from focalnet_d2.utils.waiting_threads import is_watched, start_watch

from .batch_norm import synchronize_anywhere
from .sharding import shard_model, sharded_units

TIMEOUT = timedelta(minutes=30)
T = TypeVar("T")


def launch(
    main: Callable[..., Any],
    *,
    num_processes: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    use_cuda: bool = False,
    args: tuple = (),
) -> Any:
    """Run `main(*args)` in every process of the run and wait for all of them.

    Args:
        main: importable function (processes are spawned).
        num_processes: processes on this machine, ignored under torchrun, which has its own count.
        num_machines, machine_rank: as in Detectron2; start the same command once per machine.
        dist_url: `tcp://host:port` of machine 0; `auto` takes a free local port.
        use_cuda: one GPU and NCCL per process; otherwise gloo.
        args: picklable arguments of `main`.

    Returns:
        What `main` returned, if it ran in this process; None if others were started.

    Raises:
        ValueError: more processes than GPUs, or a url that several machines cannot share.
        Exception: what `main` raised first in one of the processes; its cause holds the traceback there.
        RunStopped: a signal of `EXIT_STATUS`, which the processes get as well.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:  # torchrun, or one of our own children
        return _run_in_group(main, use_cuda, args)
    if use_cuda and num_processes > torch.cuda.device_count():
        raise ValueError(f"--num-gpus {num_processes}, but torch sees {torch.cuda.device_count()} CUDA devices.")
    if num_processes * num_machines == 1:
        return main(*args)
    if dist_url == "auto" and num_machines > 1:
        raise ValueError("--num-machines above 1 needs --dist-url tcp://HOST:PORT, the address of machine 0.")
    address = ("127.0.0.1", _free_port()) if dist_url == "auto" else _host_and_port(dist_url)
    errors = mp.get_context("spawn").SimpleQueue()
    worker_args = (main, address, num_processes, num_machines, machine_rank, use_cuda, is_watched(), args, errors)
    context = start_processes(_worker, worker_args, nprocs=num_processes, join=False, start_method="spawn")
    assert context is not None  # it is without `join=False`
    with StopSignals(forward_to=context.pids()) as signals:
        try:
            while not context.join():
                pass
        except ProcessRaisedException as raised:
            if errors.empty():
                raise
            raise errors.get() from raised
        except ProcessExitedException:
            if not signals.received:
                raise
    if signals.received:  # before the processes could take note of it, or after all was done
        raise RunStopped(signals.received, f"Stopped by {signal_name(signals.received)}.")
    return None


def _worker(
    local_rank: int,
    main: Callable[..., Any],
    address: tuple[str, int],
    num_processes: int,
    num_machines: int,
    machine_rank: int,
    use_cuda: bool,
    watch: bool,
    args: tuple,
    errors: SimpleQueue,
) -> None:
    """Set the environment that torchrun would set, then run; what `main` raises is also put into `errors`."""
    end_with_parent()  # a rank whose parent was killed would wait for the others, or train on
    if watch:
        start_watch()
    os.environ.update(
        MASTER_ADDR=address[0],
        MASTER_PORT=str(address[1]),
        RANK=str(machine_rank * num_processes + local_rank),
        WORLD_SIZE=str(num_processes * num_machines),
        LOCAL_RANK=str(local_rank),
        LOCAL_WORLD_SIZE=str(num_processes),
    )
    try:
        _run_in_group(main, use_cuda, args)
    except Exception as error:
        with suppress(Exception):  # one that does not survive pickling reaches the parent as torch's text alone
            errors.put(pickle.loads(pickle.dumps(error)))
        raise
    _end_process()


def _end_process() -> None:
    """Leaves as processes do that `multiprocessing` forks: exit handlers run, the interpreter is not taken down.

    A gloo thread that has to let go of a tensor meanwhile would abort the process (SIGABRT, "terminate called without
    an active exception"). `_close_groups` ends those threads, but not where FSDP's meshes stay in torch's caches.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _run_in_group(main: Callable[..., Any], use_cuda: bool, args: tuple) -> Any:
    if use_cuda:
        torch.cuda.set_device(local_rank())
    dist.init_process_group("nccl" if use_cuda else "gloo", timeout=TIMEOUT)
    try:
        comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size())))
        return main(*args)
    finally:
        _close_groups()


def _close_groups() -> None:
    """Destroys all process groups and forgets them: only the destructor of a gloo group ends its threads."""
    gc.collect()  # models first: the last owner of a group must not be one that waits with the interpreter locked
    dist.destroy_process_group()
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()


def process_count(device: torch.device, *, num_gpus: int, num_processes: int) -> int:
    """Processes to start on this machine: one for each GPU, elsewhere as many as are asked for.

    Raises:
        RecipeError: GPUs asked for on a device without.
    """
    if num_gpus > 1 and device.type != "cuda":
        raise RecipeError(f"--num-gpus {num_gpus} was given, but this run is on {device}: use --num-processes there.")
    return num_gpus if device.type == "cuda" else num_processes


def local_rank() -> int:
    """Number of this process on its machine, 0 for a run of one process."""
    return int(os.environ.get("LOCAL_RANK", 0))


def wrap_model(model: nn.Module, device: torch.device, parallel: str = "ddp") -> nn.Module:
    """The form in which a model is trained by all processes of the run.

    Args:
        parallel: `ddp` puts DistributedDataParallel around it; `fsdp` cuts its weights in place (`sharding.py`). A run
            of one process takes the model as it is.

    Raises:
        ValueError: an unknown mode, or a torch that cannot shard.
    """
    if parallel not in PARALLEL_MODES:
        raise ValueError(f"train.parallel is '{parallel}': it must be one of {', '.join(PARALLEL_MODES)}.")
    if comm.get_world_size() == 1:
        return model
    if device.type != "cuda":
        synchronize_anywhere(model)
    if parallel == "fsdp":
        return shard_model(model, device)
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,  # otherwise the buckets are a second copy of all gradients
    )


@contextmanager
def no_sync(model: nn.Module) -> Iterator[None]:
    """Backward passes inside add to the gradients of this rank; the next one outside takes their mean over ranks."""
    if isinstance(model, DistributedDataParallel):
        with model.no_sync():
            yield
        return
    for unit in (units := sharded_units(model)):
        unit.set_requires_gradient_sync(False, recurse=False)
    yield
    for unit in units:
        unit.set_requires_gradient_sync(True, recurse=False)


def all_gather_object(value: Any) -> list[Any]:
    """The value of each rank, on every rank, in the order of ranks; all ranks must call it."""
    return comm.all_gather(value)


def on_main_process(function: Callable[[], T]) -> T:
    """What `function()` returns on the main process, on every rank; all of them raise its error. All must call it."""
    value, error = None, None
    if comm.is_main_process():
        try:
            value = function()
        except (OSError, ValueError) as raised:
            error = raised
    value, error = all_gather_object((value, error))[0]
    if error is not None:
        raise error
    return value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _host_and_port(dist_url: str) -> tuple[str, int]:
    parsed = urlparse(dist_url)
    if parsed.scheme != "tcp" or not parsed.hostname or not parsed.port:
        raise ValueError(f"--dist-url is '{dist_url}': it must look like tcp://HOST:PORT, or be auto.")
    return parsed.hostname, parsed.port
