"""Kills runs with SIGKILL at chosen and at random points, resumes them, and compares with the uninterrupted run.

    python -m tests.engine.kills dino 1 10 --seed 3

kills a tiny DINO, trained by 1 process, 10 times in all; the exit status is 1 if a run could not be resumed or ended
otherwise than the uninterrupted one. Processes are forked from this one, which has imported everything already.
"""

import argparse
import importlib
import io
import json
import os
import random
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import torch

import train_net
from focalnet_d2.data.generated import generate_dataset, register_generated
from focalnet_d2.engine import evaluation_loop
from focalnet_d2.engine.trainer import Trainer
from tests.tiny_run import RECIPE, TINY, write_dataset

RUN = (
    "train.max_iter=4",
    "train.checkpoint_period=1",
    "train.keep_checkpoints=1",
    "train.eval_period=2",
    "train.log_period=1",
    "train.report=False",
)
TINY_MASK2FORMER = (
    "model.pixel_decoder.encoder.num_layers=1",
    "model.decoder.num_layers=1",
    "model.criterion.num_points=32",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "dataloader.test.dataset.limit=1",
    "dataloader.test.mapper.augmentations.0.short_edge_length=64",
    "train.device=cpu",
)
RECIPES = {
    "dino": (RECIPE, (*TINY, "train.ema.enabled=True", *RUN)),
    "mask2former": ("mask2former_focalnet_mini_quickstart", (*TINY_MASK2FORMER, *RUN)),
}
POINTS = ("saving", "renaming", "deleting", "evaluating", "stepping")  # parts of a run in which it can be killed
IMPORTED_ONCE = (
    "dino.model", "focalnet_d2.engine.jobs", "mask2former.model", "torch._dynamo", "torch.utils.tensorboard",
)  # fmt: skip
DIFFERENT = ("weights", "log.txt", "run.lock", "events")  # what may differ


class Killer:
    """Kills this process when it comes to a point for the given time.

    Args:
        point: one of `POINTS`, or "any".
        occurrence: from 0; none for a process that stays alive.
    """

    def __init__(self, point: str = "any", occurrence: int | None = None) -> None:
        self.point = point
        self.left = occurrence

    def come_to(self, point: str) -> None:
        """The process is at this point."""
        if self.left is None or self.point not in (point, "any"):
            return
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def install(self) -> None:
        """Let the process come to the points, before and after what it does there."""
        self._wrap(os, "replace", "renaming")
        self._wrap(Path, "unlink", "deleting")
        self._wrap(Trainer, "run_step", "stepping")
        self._wrap(evaluation_loop, "inference_precision", "evaluating")
        self._wrap(evaluation_loop, "write_results", "evaluating")
        save = torch.save

        def save_in_halves(content, file, **options):
            if not isinstance(file, io.BufferedWriter):  # not on a disk
                save(content, file, **options)
                return
            start = file.tell()
            save(content, file)
            end = file.tell()
            file.flush()
            os.truncate(file.fileno(), (start + end) // 2)
            self.come_to("saving")
            file.seek(start)
            file.truncate()
            save(content, file)
            self.come_to("saving")

        torch.save = save_in_halves

    def _wrap(self, owner: object, name: str, point: str) -> None:
        function = getattr(owner, name)

        def wrapped(*args, **kwargs):
            self.come_to(point)
            result = function(*args, **kwargs)
            self.come_to(point)
            return result

        setattr(owner, name, wrapped)


def start(
    arguments: list[str],
    log: Path,
    world_size: int,
    killers: dict[int, Killer],
    command: Callable[[list[str]], int | None] = train_net.main,
) -> bool:
    """Run a command in forked processes; whether all ended well. When one did not, the others are killed as well.

    Args:
        killers: by rank.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    children = set()
    for rank in range(world_size):
        child = os.fork()
        if not child:
            _run(command, arguments, log, rank, world_size, port, killers.get(rank, Killer()))
        children.add(child)
    is_well = True
    while children:
        child, status = os.wait()
        children.discard(child)
        if status and is_well:
            is_well = False
            for other in children:
                with suppress(ProcessLookupError):
                    os.kill(other, signal.SIGKILL)
    return is_well


def _run(
    command: Callable, arguments: list[str], log: Path, rank: int, world_size: int, port: int, killer: Killer
) -> None:
    """What a child process does; never returns."""
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if world_size > 1:
            names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
            os.environ.update({name: str(value) for name, value in names.items()})
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        killer.install()
        status = command(arguments) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Trial:
    """Runs of one recipe in a temporary folder.

    Args:
        name: of `RECIPES`.
        world_size: processes.
        folder: for data and runs.
    """

    def __init__(self, name: str, world_size: int, folder: Path) -> None:
        recipe, settings = RECIPES[name]
        self.arguments = ["--config-file", recipe, *settings]
        self.world_size = world_size
        self.folder = folder

    def run(self, name: str, *flags: str, killers: dict[int, Killer] | None = None) -> bool:
        """Start the run of this name, or go on with it."""
        place = f"train.output_dir={self.folder / name}"
        return start([*self.arguments, place, *flags], self.folder / f"{name}.txt", self.world_size, killers or {})

    def go_on(self, name: str, killers: dict[int, Killer] | None = None) -> bool:
        """Start the run, with `--resume` if a killed process has begun it."""
        is_begun = any((self.folder / name / file).exists() for file in ("run.json", "last_checkpoint"))
        return self.run(name, *(["--resume"] if is_begun else []), killers=killers)

    def differences(self, name: str) -> list[str]:
        """In what a finished run differs from the one named `uninterrupted`, and what killed processes have left."""
        one, other = self.folder / "uninterrupted", self.folder / name
        found = [f"files {a} {b}" for a, b in [(_names(one), _names(other))] if a != b]
        for file in ("model_final.pth", "model_best.pth"):
            if (one / file).exists():
                contents = [torch.load(folder / file, weights_only=True) for folder in (one, other)]
                for content in contents:
                    content.pop("recipe")  # has the name of the folder
                    content["metadata"].pop("run")
                found += [f"{file}: {path}" for path in _unequal(*contents)]
        iterations = [[json.loads(line)["iteration"] for line in (f / "metrics.json").open()] for f in (one, other)]
        return [*found, *([] if iterations[0] == iterations[1] else [f"metrics {iterations}"])]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(DIFFERENT))


def _unequal(one: object, other: object, path: str = "") -> Iterator[str]:
    """Paths of the values in which nested content differs, tensors bit by bit."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key, value in one.items():
            yield from _unequal(value, other[key], f"{path}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, value in enumerate(one):
            yield from _unequal(value, other[index], f"{path}/{index}")
    elif not (torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other):
        yield path


def kill_many(trial: Trial, kills: int, draw: random.Random) -> list[str]:
    """Kill runs so many times in all, up to three times each; what went wrong."""
    assert trial.run("uninterrupted"), (trial.folder / "uninterrupted.txt").read_text()
    wrong: list[str] = []
    done = number = 0
    points = draw.sample(POINTS, len(POINTS))
    while done < kills:
        name = f"run_{number}"
        number += 1
        plan = []
        for _ in range(min(3, kills - done)):
            point = "any" if draw.random() < 0.3 else points[(done + len(plan)) % len(points)]
            plan.append((point, draw.randrange(24 if point == "any" else 5), draw.randrange(trial.world_size)))
        done += sum(not trial.go_on(name, {rank: Killer(point, when)}) for point, when, rank in plan)
        is_finished = trial.go_on(name)
        problems = trial.differences(name) if is_finished else [(trial.folder / f"{name}.txt").read_text()[-3000:]]
        wrong += [f"{name} after {plan}: {problem}" for problem in problems]
        print(f"{name} {plan} {'differs' if problems else 'equal'}", flush=True)
    return wrong


def make_data(name: str, folder: Path) -> None:
    """The data set of a recipe, in this process and in those that it forks."""
    if name == "dino":
        write_dataset(folder)
    else:
        generate_dataset(folder / "generated", num_train=2, num_val=2, style="day", seed=3)
    os.environ["DETECTRON2_DATASETS"] = str(folder)
    register_generated()


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("processes", type=int)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for module in (
        "focalnet_d2.engine.jobs",
        "torch._dynamo",
        "torch.utils.tensorboard",
        "dino.model",
        "mask2former.model",
    ):
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as place:
        make_data(options.recipe, Path(place) / "data")
        wrong = kill_many(
            Trial(options.recipe, options.processes, Path(place)), options.kills, random.Random(options.seed)
        )
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
