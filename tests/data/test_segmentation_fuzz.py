"""Damaged panoptic and semantic truths: a result or one error that names the file, and training and scoring agree.

`FUZZ_SCALE=10` tries ten times as many.
"""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image

from focalnet_d2.data.catalog import get_segmentation_dataset_dicts
from focalnet_d2.data.datasets.ade20k import register_semantic
from focalnet_d2.data.datasets.custom import register_panoptic_folder
from focalnet_d2.data.mappers import PanopticMapper, SemanticMaskMapper
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.evaluation.panoptic_files import TruthFile, read_classes_and_files, score_panoptic_files
from focalnet_d2.evaluation.semantic import score_semantic_files
from tests.data.segmentation_files import save_image, save_label, write_panoptic_set
from tests.fuzzing import fuzz_count

STRANGE = (
    None,
    -1,
    0,
    1,
    7,
    2**24,
    2**70,
    1.0,
    1.5,
    float("nan"),
    float("inf"),
    "1",
    "",
    "dog",
    True,
    [],
    [1],
    {},
    "é",
)


def places_in(tree) -> list[tuple]:
    """(container, key) of everything in a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, child in items for place in ((tree, key), *places_in(child))]


def damage_json(content: dict, rng: random.Random) -> None:
    """Changes, removes or repeats something; the names of photos stay, as scoring does not look at them."""
    places = [place for place in places_in(content) if not (place[1] == "file_name" and "height" in place[0])]
    container, key = rng.choice(places)
    action = rng.choice(("change", "change", "remove", "repeat"))
    if action == "change":
        container[key] = rng.choice(STRANGE)
    elif action == "remove":
        del container[key]
    elif isinstance(container, list):
        container.append(json.loads(json.dumps(container[key])))


def damage_bytes(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if rng.random() < 0.3:
        del content[rng.randrange(len(content)) :]
    else:
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


def damage_pixels(path: Path, rng: random.Random) -> None:
    """Another size, another kind of pixels, or other values."""
    pixels = np.array(Image.open(path))
    action = rng.randrange(4)
    if action == 0:
        pixels = pixels[:, :2]
    elif action == 1:
        pixels = pixels[..., 0] if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    elif action == 2:
        pixels[0, 0] = rng.randrange(256)
    else:
        pixels = pixels.astype(np.uint16)[..., 0] if pixels.ndim == 3 else pixels.astype(np.uint16) * rng.randrange(300)
    Image.fromarray(pixels).save(path)


def outcome(use, folder: Path) -> str:
    """ "taken" or "refused"; an error must be ours and name a file of the folder."""
    message = ""
    try:
        use()
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    assert not message or str(folder) in message, message
    return "refused" if message else "taken"


@pytest.fixture
def names():
    """Registered names, forgotten afterwards."""
    registered = ["fuzzed_panoptic", "fuzzed_semantic"]
    yield registered
    for name in set(registered) & set(DatasetCatalog.list()):
        DatasetCatalog.remove(name)


def learn(name: str, mapper) -> None:
    for record in get_segmentation_dataset_dicts(name):
        mapper(record)


def score_panoptic(folder: Path) -> None:
    """Empty predictions of the right size for whatever images there are."""
    classes, truth = read_classes_and_files(folder / "panoptic.json", folder / "ids")
    predictions = dict.fromkeys(truth, TruthFile(str(folder / "void.png"), []))
    score_panoptic_files(truth, predictions, classes.contiguous)


def test_panoptic_files(tmp_path, names):
    rng = random.Random(11)
    files = write_panoptic_set(tmp_path / "sound")
    write_panoptic_ids(np.zeros((2, 3), int), tmp_path / "sound" / "void.png")
    seen = set()
    for number in range(fuzz_count(30)):
        folder = Path(shutil.copytree(tmp_path / "sound", tmp_path / str(number)))
        panoptic_json = folder / "panoptic.json"
        damage = rng.choice(("json", "json", "json", "bytes", "pixels"))
        if damage == "json":
            content = json.loads(panoptic_json.read_text())
            damage_json(content, rng)
            panoptic_json.write_text(json.dumps(content))
        else:
            path = rng.choice((folder / "ids" / "1.png", folder / "ids" / "3.png"))
            damage_pixels(path, rng) if damage == "pixels" else damage_bytes(rng.choice((path, panoptic_json)), rng)
        register_panoptic_folder(names[0], *(folder / file.name for file in files))
        mapper = PanopticMapper(is_train=True, augmentations=[])
        results = [
            outcome(lambda mapper=mapper: learn(names[0], mapper), folder),
            outcome(lambda folder=folder: score_panoptic(folder), folder),
        ]
        assert len(set(results)) == 1, (number, damage, results)
        seen.add(results[0])
        shutil.rmtree(folder)
    assert seen == {"taken", "refused"}


def test_semantic_files(tmp_path, names):
    rng = random.Random(12)
    sound = tmp_path / "sound"
    for kind in ("images", "truth", "found"):
        (sound / kind).mkdir(parents=True)
    for name in "ab":
        save_image(sound / "images" / f"{name}.jpg", 2, 3)
        save_label(sound / "truth" / f"{name}.png", [[0, 149, 255], [3, 3, 255]])
        save_label(sound / "found" / f"{name}.png", [[0, 1, 2], [3, 3, 3]])
    seen = set()
    for number in range(fuzz_count(10)):
        folder = Path(shutil.copytree(sound, tmp_path / str(number)))
        path = folder / "truth" / rng.choice(("a.png", "b.png"))
        rng.choice((damage_pixels, damage_bytes))(path, rng)
        register_semantic(names[1], folder / "images", folder / "truth")
        mapper = SemanticMaskMapper(is_train=True, augmentations=[], num_classes=150)
        results = [
            outcome(lambda mapper=mapper: learn(names[1], mapper), folder),
            outcome(lambda folder=folder: score_semantic_files(folder / "truth", folder / "found", 150), folder),
        ]
        assert len(set(results)) == 1, (number, results)
        seen.add(results[0])
        shutil.rmtree(folder)
    assert seen == {"taken", "refused"}
