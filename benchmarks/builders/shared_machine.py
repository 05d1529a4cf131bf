"""A model on cores that are shared with other processes: as torch runs it by itself, and as the command lines do.

Two processes wait with the model loaded, one of which has chosen its threads as `train_net.py` does. In every round,
beside each number of busy processes (loops that do nothing, of the same priority), they take turns. Seconds are those
of the clock. The fair share of N threads beside k busy processes on N cores is N / (N + k) of the cores, so
`fair_share` is the library's time by (N + k) / N times that of the reference on free cores. The reference takes so long
beside others that it has one turn there.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measuring import summary
from benchmarks.work import Facts
from focalnet_d2.utils.usable_cores import usable_cores

FORMS = ("reference", "library")
_WORKER = Path(__file__).resolve().parents[1] / "shared_machine_worker.py"


class SharedMachine(Facts):
    """A row for each number of busy processes.

    Args:
        recipe, size, training: what is run: inference of one image, or training steps of 8.
        busy: numbers of busy processes, 0 the first.
        seconds: of one turn.
        group: folder of a control group that both processes are put into, such as one with a quota; "" for none.
    """

    def __init__(
        self, recipe: str, *, size: tuple[int, int], training: bool, busy: Sequence[int], seconds: float, group: str
    ):
        self.arguments = [recipe, json.dumps(size), json.dumps(training)]
        self.title = f"{recipe} {'training step' if training else 'inference'} {size[0]}x{size[1]}"
        self.busy, self.seconds, self.group = busy, seconds, group
        super().__init__(find=lambda: iter(()), about={"group": group} if group else {})

    def measure(self, rounds: int, precision: str | None = None) -> Iterator[dict]:
        """The rows."""
        times: dict[int, dict[str, list[float]]] = {busy: {form: [] for form in FORMS} for busy in self.busy}
        with ExitStack() as stack:
            workers = {form: stack.enter_context(worker(form, self.arguments, self.group)) for form in FORMS}
            for turn in range(rounds):
                for busy in self.busy:
                    for form in FORMS if turn == 0 or busy == 0 else FORMS[1:]:
                        with busy_processes(busy):
                            times[busy][form].append(workers[form](self.seconds))
        cores = usable_cores()
        free = summary(times[self.busy[0]])["reference"]["seconds"]
        for busy, found in times.items():
            found["reference"] *= len(found["library"]) // len(found["reference"])
            forms = summary(found)
            fair = free * (cores + busy) / cores
            own = {} if self.group else {"fair_share": round(forms["library"]["seconds"] / fair, 2)}
            yield {"case": f"{self.title} beside {busy} busy processes", "cores": cores, **own, "forms": forms}


@contextmanager
def worker(form: str, arguments: Sequence[str], group: str) -> Iterator[Callable[[float], float]]:
    """A process that has loaded the model: called with seconds, it works as long and says how long one call took."""
    started = ["sh", "-c", '[ -z "$0" ] || echo $$ > "$0/cgroup.procs"; exec "$@"', group]
    process = subprocess.Popen(
        [*started, sys.executable, str(_WORKER), form, *arguments],
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    lines = process.stdout

    def ask(seconds: float) -> float:
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
        return answer()

    def answer() -> float:
        if not (line := lines.readline()):
            raise RuntimeError(f"The process of the {form} has ended, see above.")
        return float(line)

    try:
        answer()  # it is ready
        yield ask
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Loops that do nothing, of the same priority as this process."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
