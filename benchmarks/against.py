"""The library of two checkouts, side by side: the same cases, in two processes that take turns.

Each process runs its own checkout's cases, found by name, with its own benchmarks; both keep freed memory, as a run
does, and have as many threads. In every round they go A B B A. `times as fast` says how many times as fast this
checkout is, and whether both computed the same bits.
"""

import argparse
import contextlib
import gc
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.measuring import summary  # noqa: E402
from benchmarks.work import Timed, UnavailableError  # noqa: E402
from focalnet_d2.kernels.malloc import keep_freed_memory  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.case import Row

OTHER, THIS = "other checkout", "this checkout"
AT_LEAST_S = 0.2  # of what is timed in one turn


class Worker:
    """A process that runs the cases of a checkout when it is asked to.

    Args:
        checkout: its folder.
        options: the command line, of which `small`, `set` and `threads` are handed on.
    """

    def __init__(self, checkout: Path, options: argparse.Namespace):
        command = [
            sys.executable,
            str(find_program(checkout)),
            json.dumps([options.small, options.set, options.threads]),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
        self.process = subprocess.Popen(command, cwd=checkout, **pipes)

    def ask(self, **question: Any) -> dict:
        """The answer to `build=[title, precision]`, `seconds=name` or `digest=name`.

        Raises:
            UnavailableError: the case cannot be measured there.
            RuntimeError: the process has ended.
        """
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self.process.args[1]} ended with status {self.process.wait()}.")
        answer = json.loads(line)
        if "unavailable" in answer:
            raise UnavailableError(answer["unavailable"])
        return answer

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def find_program(checkout: Path) -> Path:
    """This file in another checkout.

    Raises:
        FileNotFoundError: it has none.
    """
    program = checkout.resolve() / "benchmarks" / "against.py"
    if not program.is_file():
        raise FileNotFoundError(f"{program} does not exist: --against needs a checkout that has it.")
    return program


def compare_checkouts(rows: Sequence["Row"], other: Path, options: argparse.Namespace) -> int:
    """Measures, prints, and writes `against.json` into the folder that `--json` names; the exit status."""
    workers, found = {OTHER: Worker(other.resolve(), options), THIS: Worker(ROOT, options)}, []
    for row in rows:
        try:
            for one in compare_row(row, workers, options.rounds or row.case.rounds):
                ratio, low, high = one["forms"][THIS]["ratio"], *one["forms"][THIS]["ratio_range"]
                bits = "same bits" if one["same_bits"] else "other bits"
                print(
                    f"{ratio:6.3f} ({low:.3f} to {high:.3f})  {one['case']}, {one['precision'] or '-'}, {bits}",
                    flush=True,
                )
                found.append(one)
        except UnavailableError as error:
            print(f"{row.title} is left out: {error}.", file=sys.stderr)
    for worker in workers.values():
        worker.close()
    if options.json and found:
        Path(options.json).mkdir(parents=True, exist_ok=True)
        (Path(options.json) / "against.json").write_text(json.dumps({"rows": found}, indent=1) + "\n")
    if found:
        slowest = min(found, key=lambda one: one["forms"][THIS]["ratio"])
        print(f"{len(found)} rows; the slowest, {slowest['case']}, is {slowest['forms'][THIS]['ratio']} times as fast.")
    return 0 if found else 2


def compare_row(row: "Row", workers: Mapping[str, Worker], rounds: int) -> Iterator[dict]:
    """A row of results for every implementation that both have."""
    names = [worker.ask(build=[row.title, row.precision])["implementations"] for worker in workers.values()]
    for name in (name for name in names[1] if name in names[0]):
        digests = {worker.ask(digest=name)["digest"] for worker in workers.values()}
        times: dict[str, list[float]] = {side: [] for side in workers}
        for _ in range(rounds):
            taken = dict.fromkeys(workers, 0.0)
            for side in (*workers, *reversed(workers)):
                taken[side] += workers[side].ask(seconds=name)["seconds"] / 2
            for side, seconds in taken.items():
                times[side].append(seconds)
        case = row.title if name == "library" else f"{row.title}, {name}"
        yield {"case": case, "precision": row.precision, "same_bits": len(digests) == 1, "forms": summary(times)}


def digest(result: Any) -> str:
    """A sum of all bits of tensors, lists and numbers."""
    found = hashlib.sha256()
    _add(result, found.update)
    return found.hexdigest()


def _add(result: Any, update: Callable[[bytes], None]) -> None:
    if hasattr(result, "tensor"):  # masks and boxes
        result = result.tensor
    if isinstance(result, list | tuple):
        for part in result:
            _add(part, update)
    elif isinstance(result, Tensor):
        update(str((result.dtype, tuple(result.shape))).encode())
        update(result.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    else:
        update(repr(result).encode())


def serve(questions: Iterator[str], find: Callable[[str, str | None], Timed], answer: Callable[[dict], None]) -> None:
    """Answers as `Worker.ask` says, one line a question; `find` makes the work of a case."""
    work = None
    for line in questions:
        [(what, value)] = json.loads(line).items()
        if what == "build":
            work = None  # frees what the last case held
            gc.collect()
            try:
                work = find(*value)
                answer({"implementations": list(work.implementations)[1:]})
            except (UnavailableError, ModuleNotFoundError) as error:
                answer({"unavailable": str(error)})
        elif what == "digest":
            answer({"digest": digest(work.implementations[value]())})
        else:
            answer({"seconds": steady_seconds(work, value)})


def steady_seconds(work: Timed, name: str) -> float:
    """Seconds of a call; of what is quick the mean of several calls after one, so that caches are warm."""
    first = work.seconds(work.implementations[name])
    calls = min(int(AT_LEAST_S / first), 50)
    return first if calls < 2 else sum(work.seconds(work.implementations[name]) for _ in range(calls)) / calls


def main() -> None:
    """The process of a checkout; what it prints otherwise goes to standard error."""
    from benchmarks.run import all_rows, parse_changes  # the command line, which imports this module

    small, changes, threads = json.loads(sys.argv[1])
    torch.set_num_threads(threads)
    keep_freed_memory()
    rows = {(row.title, row.precision): row for row in all_rows(small, parse_changes(changes))}

    def find(title: str, precision: str | None) -> Timed:
        if (title, precision) not in rows:
            raise UnavailableError("it is unknown there")
        work = rows[title, precision].build()
        if not isinstance(work, Timed):
            raise UnavailableError("it is not a matter of turns in one process")
        return work

    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        serve(sys.stdin, find, lambda answer: print(json.dumps(answer), file=answers, flush=True))


if __name__ == "__main__":
    main()
