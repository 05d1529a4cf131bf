"""Several processes on the CPU (gloo) against one process with the same total batch."""

import atexit
import importlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from detectron2.utils import comm
from torch import distributed as dist
from torch import nn

from focalnet_d2.data.generated import register_generated
from focalnet_d2.engine.distributed import launch, wrap_model
from tests.tiny_run import SAME_EVERYWHERE, losses_of, tiny_dataset, train, write_dataset

ROOT = Path(__file__).parents[2]


def train_two_runs(folder: str) -> None:
    """In each of two processes: the run to compare, also in parts, and one with a process that never has an object."""
    register_generated(os.path.join(folder, "data", "generated"))
    train(os.path.join(folder, "two"), *SAME_EVERYWHERE)
    train(os.path.join(folder, "two_in_parts"), *SAME_EVERYWHERE, "train.accumulation=2")
    register_generated(os.path.join(folder, "one_image_with_objects", "generated"))
    train(os.path.join(folder, "uneven"), "train.accumulation=2", "train.freeze=[backbone.bottom_up]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    write_dataset(folder / "one_image_with_objects", images_with_objects=1)
    with tiny_dataset(folder / "data"):
        train(str(folder / "one"), *SAME_EVERYWHERE)
    launch(train_two_runs, num_processes=2, args=(str(folder),))
    return folder


@pytest.mark.parametrize("name", ["two", "two_in_parts"])
def test_two_processes_have_the_losses_of_one(runs, name):
    one, two = losses_of(runs / "one"), losses_of(runs / name)
    assert len(one) == len(two) >= 3
    for step_of_one, step_of_two in zip(one, two):
        assert step_of_one == pytest.approx(step_of_two, rel=1e-5)  # boxes and classes are float32


@pytest.mark.parametrize("name", ["two", "two_in_parts"])
def test_two_processes_have_the_weights_of_one(runs, name):
    one, two = (torch.load(runs / folder / "weights.pth") for folder in ("one", name))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_evaluation_of_two_processes_sees_every_image_once(runs):
    one, two = (json.loads((runs / name / "coco_instances_results.json").read_text()) for name in ("one", "two"))
    assert [entry["image_id"] for entry in one] == [entry["image_id"] for entry in two]
    assert json.loads((runs / "one" / "results.json").read_text()).keys() == {"bbox"}


def test_a_process_without_a_single_object_keeps_step_with_the_other(runs):
    steps = losses_of(runs / "uneven")
    assert len(steps) >= 3
    assert all(math.isfinite(value) for step in steps for value in step.values())


def test_a_process_ends_when_the_one_that_started_it_is_killed():
    """The child waits for machine 0, which this test plays; their shared output ends with the last of them."""
    with socket.create_server(("127.0.0.1", 0)) as machine_0:
        url = f"tcp://127.0.0.1:{machine_0.getsockname()[1]}"
        command = f"""
from focalnet_d2.engine.distributed import launch
launch(id, num_machines=2, machine_rank=1, dist_url="{url}")
"""
        parent = subprocess.Popen(
            [sys.executable, "-c", command], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
        )
        try:
            machine_0.settimeout(300)  # seconds, for a test that fails
            connection, _ = machine_0.accept()
            with connection:
                parent.kill()
                output, _ = parent.communicate(timeout=60)  # until no process has it open
                assert (parent.returncode, output) == (-signal.SIGKILL, b"")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


class Held:
    """On its end it notes the thread, and keeps it for ever."""

    def __init__(self):
        self.ends = threading.Event()

    def __del__(self):
        self.ends.set()
        while True:
            pass


def leave_while_gloo_holds_a_tensor(folder: str) -> None:
    """Rank 0 returns while a thread of its group, which something keeps, still lets go of a tensor."""
    leave_while_gloo_holds_a_tensor.group = dist.group.WORLD
    atexit.register((Path(folder) / f"left_{comm.get_rank()}").touch)
    tensor = torch.ones(1)
    if comm.get_rank() == 0:
        tensor.held = Held()
        ends = tensor.held.ends
        work = dist.all_reduce(tensor, async_op=True)
        del tensor, work
        dist.barrier(comm.get_local_process_group())
        ends.wait()
    else:
        dist.barrier(comm.get_local_process_group())
        dist.all_reduce(tensor)


def test_a_thread_that_holds_a_tensor_does_not_abort_the_process(tmp_path):
    launch(leave_while_gloo_holds_a_tensor, num_processes=2, args=(str(tmp_path),))
    assert {path.name for path in tmp_path.iterdir()} == {"left_0", "left_1"}


def step_and_gather() -> None:
    """A step of a model that is part of a cycle, with what an optimizer imports."""
    importlib.import_module("torch._dynamo")
    model = wrap_model(nn.Linear(2, 1), torch.device("cpu"))
    cycle = [model]
    cycle.append(cycle)
    model(torch.ones(3, 2)).sum().backward()
    assert comm.all_gather(comm.get_rank()) == [0, 1]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed by Linux")
def test_no_thread_of_a_group_outlives_a_run_of_torchrun():
    code = """
from pathlib import Path
from focalnet_d2.engine.distributed import launch
from tests.engine.test_distributed import step_and_gather
launch(step_and_gather)
print([name for task in Path("/proc/self/task").iterdir() if "gloo" in (name := (task / "comm").read_text())])
"""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [(rank.communicate()[0], rank.returncode) for rank in ranks] == [("[]\n", 0)] * 2


def test_one_process_is_this_process():
    assert launch(os.getpid) == os.getpid()


def test_launch_refuses_what_cannot_work(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="--num-gpus 4, but torch sees 1"):
        launch(os.getpid, num_processes=4, use_cuda=True)
    with pytest.raises(ValueError, match="--dist-url tcp://HOST:PORT"):
        launch(os.getpid, num_machines=2)
    with pytest.raises(ValueError, match="'localhost'"):
        launch(os.getpid, num_machines=2, dist_url="localhost")
