"""The scripts for SLURM, with stand-ins for its commands: stopped in time, requeued, and on from there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.tiny_run import RECIPE, TINY, tiny_dataset

SCRIPTS = ROOT / "docs" / "slurm"
SCONTROL = """
if [[ $1 == requeue ]]; then echo "requeued $2"; else printf 'host-a\\nhost-b\\n'; fi
"""
SRUN = """
shift
trap 'kill -USR1 $tasks' USR1
for SLURM_PROCID in 0 1; do
    export SLURM_PROCID SLURM_LOCALID=0 SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=1
    "$@" &
    tasks="$tasks $!"
done
while kill -0 $tasks 2>/dev/null; do wait $tasks; status=$?; done
exit $status
"""
TASK = """
trap 'exit 138' USR1
echo "$RANK of $WORLD_SIZE, $LOCAL_RANK of $LOCAL_WORLD_SIZE, $MASTER_ADDR:$MASTER_PORT: $*"
while true; do sleep 0.05; done
"""


def command(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}")
    path.chmod(0o755)


@pytest.fixture
def environment(tmp_path):
    commands = tmp_path / "commands"
    commands.mkdir()
    command(commands, "scontrol", SCONTROL)
    command(commands, "srun", SRUN)
    return {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": "41234",
        "SLURM_JOB_NODELIST": "host-[a-b]",
    }


def run(script: str, environment: dict, folder: Path, *arguments: str, until: tuple[str, ...] = ()) -> tuple[int, str]:
    """The exit status and the output of a script, which gets SIGUSR1 once it has said these texts."""
    process = subprocess.Popen(
        ["bash", SCRIPTS / script, *arguments], env=environment, cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    seen = []
    for line in process.stdout:
        seen.append(line)
        if until and all(text in "".join(seen) for text in until):
            process.send_signal(signal.SIGUSR1)
            until = ()
    return process.wait(), "".join(seen)


def test_one_node_stops_in_time_and_the_requeued_job_goes_on(environment, tmp_path):
    command(tmp_path / "commands", "focalnet-d2", f'exec {sys.executable} -m focalnet_d2.commands.main "$@"')
    arguments = (RECIPE, *TINY, "train.max_iter=100000", "train.checkpoint_period=1", "train.keep_checkpoints=1")
    with tiny_dataset(tmp_path / "data") as root:
        environment["DETECTRON2_DATASETS"] = str(root)
        status, output = run("one_node.sh", environment, tmp_path, *arguments, until=("Saved",))
        assert status == 138, output
        assert "Stopped by SIGUSR1 after" in output
        assert output.rstrip().endswith("requeued 41234")
        folder = tmp_path / "output" / "slurm-41234"
        done = int((folder / "last_checkpoint").read_text()[6:13])
        status, output = run("one_node.sh", environment, tmp_path, *arguments, f"train.max_iter={done + 1}")
    assert status == 0, output
    assert f"after {done} iterations, the next one has" in output
    assert "requeued" not in output
    assert (folder / "model_final.pth").exists()


def test_tasks_on_several_nodes_know_their_place_and_get_the_signal(environment, tmp_path):
    command(tmp_path / "commands", "focalnet-d2", TASK)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json").touch()
    environment["FOLDER"] = "mine"
    status, output = run(
        "several_nodes.sh", environment, tmp_path, "a recipe", "train.seed=1", until=("0 of 2", "1 of 2")
    )
    assert status == 138, output
    for rank in range(2):
        assert (
            f"{rank} of 2, 0 of 1, host-a:21234: train a recipe train.seed=1 train.output_dir=mine --resume" in output
        )
    assert output.rstrip().endswith("requeued 41234")


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_bash(script):
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=True).stderr == ""
