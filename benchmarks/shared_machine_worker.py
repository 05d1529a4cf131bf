"""One of the processes that `builders/shared_machine.py` measures.

    python benchmarks/shared_machine_worker.py reference|library RECIPE SIZE TRAINING

It loads the model, the library after it has chosen its threads as the command lines do, and then works and says how
long that took, once for each line that it reads. The first second of each of the library's turns is not counted: the
watch of waiting threads needs some of it to see that the cores are shared.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
_UNCOUNTED = 1.0  # seconds


def work(form: str, recipe: str, size: str, training: str) -> None:
    """What a process does: a line "0", and for each line of seconds those of one call on the clock."""
    if form == "library":
        from focalnet_d2.utils.thread_choice import choose_threads  # before torch is loaded

        choose_threads()
    with TemporaryDirectory() as folder, prepared(recipe, json.loads(size), json.loads(training), folder) as call:
        call()
        print(0, flush=True)
        for line in sys.stdin:
            if form == "library":
                repeat(call, _UNCOUNTED)
            print(repeat(call, float(line)), flush=True)


def repeat(call: Callable[[], object], seconds: float) -> float:
    """Seconds of one call, the mean of as many as begin within a time."""
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < seconds:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


@contextmanager
def prepared(recipe: str, size: tuple[int, int], training: bool, folder: str) -> Iterator[Callable[[], object]]:
    """A training step, or the inference of an image."""
    import torch  # not at the top: the threads are chosen first
    from detectron2.utils.events import EventStorage

    from benchmarks.builders.inputs import images_with_boxes
    from benchmarks.builders.training import make_trainer
    from benchmarks.measuring import run_as_library
    from focalnet_d2.kernels.malloc import keep_freed_memory

    keep_freed_memory()
    settings = {"recipe": recipe, "size": size, "batch": 8, "objects": 6, "amp": "off", "overrides": []}
    with EventStorage() as storage:
        trainer = make_trainer(settings, torch.device("cpu"), folder)
        trainer.iter, trainer.storage = 0, storage
        if training:
            yield trainer.run_step
            return
        model = trainer.model.eval()
        batch = images_with_boxes(size, 1, 6, model.num_classes)
        with torch.no_grad():
            yield lambda: run_as_library("float32", lambda: model(batch))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    work(*sys.argv[1:])
