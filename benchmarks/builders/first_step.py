"""From the command to the first training iteration of a small set, beside the imports that no run is without.

Every turn is a new process of Python, and its seconds are the CPU time of all that it does. The reference imports
torch and the four packages of Detectron2 that train and score (`IMPORTS`). The library runs `focalnet-d2 train DIR
--recipe RECIPE` on a set in COCO's layout that is made here, until the first iteration begins: the folder is looked at,
the data are read and checked, model, optimizer and loader are made. A run before the turns leaves what is compiled once
on a machine.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from benchmarks.builders.data_loading import THINGS, make_record
from benchmarks.work import Processes

IMPORTS = "import torch, detectron2.data, detectron2.engine, detectron2.evaluation, detectron2.modeling"
SIZE = (120, 160)
_RUN = """
import os, sys, time
from focalnet_d2.commands.main import main
from focalnet_d2.engine import trainer

def stop(self):
    print("began", time.process_time(), flush=True)
    os._exit(0)

trainer.Trainer.run_step = stop
main(sys.argv[1:])
"""


@cache
def made_set(images: int) -> tempfile.TemporaryDirectory:
    """A folder of a data set, a fifth of it to validate with."""
    folder = tempfile.TemporaryDirectory()
    share = max(images // 5, 1)
    for part, numbers in (("train", range(share, images)), ("val", range(share))):
        write_part(Path(folder.name, part), numbers)
    return folder


def write_part(folder: Path, numbers: range) -> None:
    """Images of one part and their annotations, as Roboflow lays them out."""
    folder.mkdir()
    images, annotations = [], []
    for number in numbers:
        record = make_record(folder, number, SIZE)
        name = Path(record["file_name"]).name
        images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        for one in record["annotations"]:
            left, top, right, bottom = one["bbox"]
            annotations.append({"id": len(annotations) + 1, "image_id": number, "iscrowd": 0,
                                "category_id": one["category_id"], "bbox": [left, top, right - left, bottom - top],
                                "area": (right - left) * (bottom - top)})  # fmt: skip
    for label_file in folder.glob("*.png"):
        label_file.unlink()
    categories = [{"id": number, "name": f"class {number}"} for number in range(THINGS)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")


def build(*, recipe: str, images: int) -> Processes:
    """Both."""
    folder = made_set(images).name
    begin(recipe, folder)
    return Processes({"reference": (import_alone,), "library": (begin, recipe, folder)})


def import_alone() -> dict[str, float]:
    """CPU seconds of the imports."""
    return {"seconds": seconds(f"{IMPORTS}\nimport time\nprint('began', time.process_time())")}


def begin(recipe: str, folder: str) -> dict[str, float]:
    """CPU seconds until the first iteration begins."""
    with tempfile.TemporaryDirectory() as output:
        settings = ("train.max_iter=1", f"train.output_dir={output}")
        return {"seconds": seconds(_RUN, "train", folder, "--recipe", recipe, *settings)}


def seconds(program: str, *arguments: str) -> float:
    """What a program prints after "began".

    Raises:
        RuntimeError: it prints no such thing.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("began ")]
    if not found:
        raise RuntimeError(f"No iteration began: {done.stderr[-2000:]}")
    return float(found[-1].split()[1])
