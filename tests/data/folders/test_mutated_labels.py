"""Damaged files of labels: they are read, or refused by one sentence that names a file, and never anything else."""

import random
import re
import shutil
from pathlib import Path

import pytest

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.annotations.instances import CocoInstances
from focalnet_d2.data.folders.listing import Listing
from tests.data.folders.test_what_tools_write import EXPECTED, folder_of
from tests.fuzzing import fuzz_count

TOKENS = [
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "null",
    "[]",
    "{}",
    "\\",
    "\0",
    "<",
    ">",
    "&x;",
    '"',
    "é",
    "1.5",
    "object",
    "\n",
]
SUFFIXES = (".txt", ".xml", ".json", ".yaml", ".names", ".data")


def mutate(text, draw):
    """Replaces a word, number or mark, or cuts the text."""
    spots = list(re.finditer(r"[\w.\-]+|[^\w\s]", text))
    if not spots or draw.random() < 0.1:
        return text[: draw.randrange(len(text) + 1)]
    spot = draw.choice(spots)
    return text[: spot.start()] + draw.choice([*TOKENS, draw.choice(spots).group()]) + text[spot.end() :]


@pytest.mark.parametrize(
    "tool", ["datumaro_cvat", "datumaro_voc_detection", "datumaro_yolo", "labelme", "ultralytics_yolo"]
)
def test_damaged_files_are_read_or_refused_by_a_sentence(tool, tmp_path):
    layout, images, *_ = EXPECTED[tool]
    sound = folder_of(tool, images, tmp_path / "sound")
    files = [path.relative_to(sound) for path in sorted(sound.rglob("*")) if path.suffix in SUFFIXES]
    refused = 0
    for seed in range(fuzz_count(40)):
        draw = random.Random(seed)
        root = tmp_path / "damaged"
        shutil.copytree(sound, root)
        path = root / draw.choice(files)
        path.write_text(mutate(path.read_text(encoding="utf-8"), draw), encoding="utf-8")
        refused += is_refused(layout.LAYOUT, root)
        shutil.rmtree(root)
    assert 0 < refused < fuzz_count(40)


def is_refused(layout, root: Path) -> bool:
    try:
        found = layout.find(Listing(root), {})
        if found is None:
            return True
        part = found.parts["train"]
        assert isinstance(layout.read(part, lambda fault: None), CocoInstances)
        layout.read(part, strict)
    except ValueError as error:
        message = str(error)
        assert str(root) in message, message
        assert re.fullmatch(r"[^\n]+\.", message), message
        return True
    return False
