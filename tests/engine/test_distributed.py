"""Several processes on the CPU (gloo) against one process with the same total batch."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from focalnet_d2.data.generated import register_generated
from focalnet_d2.engine.distributed import launch
from tests.tiny_run import SAME_EVERYWHERE, losses_of, tiny_dataset, train, write_dataset

ROOT = Path(__file__).parents[2]


def train_two_runs(folder: str) -> None:
    """In each of two processes: the run to compare, and one in which one process never has an object."""
    register_generated(os.path.join(folder, "data", "generated"))
    train(os.path.join(folder, "two"), *SAME_EVERYWHERE)
    register_generated(os.path.join(folder, "one_image_with_objects", "generated"))
    train(os.path.join(folder, "uneven"), "train.accumulation=2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    write_dataset(folder / "one_image_with_objects", images_with_objects=1)
    with tiny_dataset(folder / "data"):
        train(str(folder / "one"), *SAME_EVERYWHERE)
    launch(train_two_runs, num_processes=2, args=(str(folder),))
    return folder


def test_two_processes_have_the_losses_of_one(runs):
    one, two = losses_of(runs / "one"), losses_of(runs / "two")
    assert len(one) == len(two) >= 3
    for step_of_one, step_of_two in zip(one, two):
        assert step_of_one == pytest.approx(step_of_two, rel=1e-5)  # boxes and classes are float32


def test_two_processes_have_the_weights_of_one(runs):
    one, two = (torch.load(runs / name / "weights.pth") for name in ("one", "two"))
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
