"""All evaluators beside the official tools, on generated data; their counts are checked to be equal.

640x480 pixels, 133 classes, about 13 segments an image; children's time included. Rows whose packages are not installed
are left out.
"""

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator, SemSegEvaluator
from PIL import Image

from benchmarks.builders.average_precision import largest_difference
from benchmarks.measuring import cpu_seconds_with_children
from benchmarks.work import Timed, UnavailableError
from focalnet_d2.data.panoptic_labels import semantic_from_panoptic
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.evaluation.panoptic_counts import PanopticCounts, panoptic_results
from focalnet_d2.evaluation.panoptic_files import (
    index_predicted_files,
    read_classes_and_files,
    score_panoptic_files,
)
from focalnet_d2.evaluation.semantic import SemanticEvaluator

HEIGHT, WIDTH, CLASSES, THINGS, SEGMENTS = 480, 640, 133, 80, 13
Tools = dict[str, Callable[[], object]]  # the first is the reference; each returns what must be equal


class Data:
    """Ground truth and predictions of some images, in memory and as files.

    Args:
        images: their number.

    Attributes:
        folder: with `truth.json`, `predictions.json` and the PNGs, until the process ends.
        name: by which Detectron2 knows the data.
    """

    def __init__(self, images: int) -> None:
        rng = np.random.default_rng(0)
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = folder = Path(self._temporary.name)
        self.name = f"benchmark_evaluators_{folder.name}"
        self.samples, self.outputs, truth, predictions = [], [], [], []
        for number in range(1, images + 1):
            name = f"{number:012d}"
            true_map, true_segments = make_panoptic(rng)
            predicted_map, segments = disturb(rng, true_map, true_segments)
            write_panoptic_ids(true_map, folder / "truth" / f"{name}.png")
            write_panoptic_ids(predicted_map, folder / "predictions" / f"{name}.png")
            semantic = semantic_from_panoptic(true_map, true_segments)
            (folder / "semantic").mkdir(exist_ok=True)
            Image.fromarray(semantic).save(folder / "semantic" / f"{name}.png")
            entry = {"image_id": number, "file_name": f"{name}.png"}
            truth.append({**entry, "segments_info": true_segments})
            predictions.append({**entry, "segments_info": segments})
            self.samples.append(
                {
                    "image_id": number,
                    "file_name": f"{name}.jpg",
                    "pan_seg_file_name": str(folder / "truth" / f"{name}.png"),
                    "sem_seg_file_name": str(folder / "semantic" / f"{name}.png"),
                    "segments_info": true_segments,
                }
            )
            self.outputs.append((torch.from_numpy(predicted_map), segments))
        categories = [{"id": i, "name": f"class {i}", "isthing": int(i < THINGS)} for i in range(CLASSES)]
        size = {"height": HEIGHT, "width": WIDTH}
        listed = [{"id": sample["image_id"], "file_name": sample["file_name"], **size} for sample in self.samples]
        for name, annotations in (("truth", truth), ("predictions", predictions)):
            content = {"images": listed, "annotations": annotations, "categories": categories}
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def register(self) -> None:
        """Makes the data known to Detectron2, category ids being the indices of the classes."""
        DatasetCatalog.register(self.name, lambda: self.samples)
        MetadataCatalog.get(self.name).set(
            stuff_classes=[f"class {i}" for i in range(CLASSES)],
            thing_dataset_id_to_contiguous_id={i: i for i in range(THINGS)},
            stuff_dataset_id_to_contiguous_id={i: i for i in range(CLASSES)},
            ignore_label=255,
            panoptic_json=str(self.folder / "truth.json"),
            panoptic_root=str(self.folder / "truth"),
        )

    def panoptic_outputs(self) -> list[dict]:
        """What a model returns; new dicts, since Detectron2's evaluator changes them."""
        return [
            {"panoptic_seg": (ids, [{**s, "isthing": s["category_id"] < THINGS} for s in segments])}
            for ids, segments in self.outputs
        ]


def make_panoptic(rng: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """Cells with wavy borders, one in ten of them void and one in twenty a crowd: segment ids and segments."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    rows, columns = rows + 8 * np.sin(columns / 17), columns + 8 * np.cos(rows / 13)
    centers = rng.random((SEGMENTS + 1, 2)) * (HEIGHT, WIDTH)
    distances = [(rows - y) ** 2 + (columns - x) ** 2 for y, x in centers.astype(np.float32)]
    ids = rng.choice(2**24 - 1, SEGMENTS + 1, replace=False) + 1
    ids[rng.random(SEGMENTS + 1) < 0.1] = 0
    ids = ids[np.argmin(distances, axis=0)].astype(np.int32)  # (H, W)
    segments = [
        {
            "id": int(number),
            "category_id": int(rng.integers(CLASSES)),
            "iscrowd": int(rng.random() < 0.05),
            "area": int(area),
        }
        for number, area in zip(*np.unique(ids, return_counts=True))
        if number
    ]
    return ids, segments


def disturb(rng: np.random.Generator, true_map: np.ndarray, segments: list[dict]) -> tuple[np.ndarray, list[dict]]:
    """A prediction: the truth shifted by up to 20 pixels and numbered anew, one class in five another one."""
    shifted = np.roll(true_map, rng.integers(-20, 21, 2), axis=(0, 1))
    known, numbers = np.unique(shifted, return_inverse=True)
    ids = np.where(known == 0, 0, np.arange(1, len(known) + 1))
    classes = {s["id"]: s["category_id"] if rng.random() > 0.2 else int(rng.integers(CLASSES)) for s in segments}
    listed = [{"id": int(n), "category_id": classes[int(old)]} for n, old in zip(ids, known) if old]
    return ids[numbers].reshape(shifted.shape).astype(np.int32), listed


def panoptic_memory(data: Data) -> Tools:
    """Scoring of maps that a model has just made."""

    def detectron2() -> object:
        with official_counts() as counted:
            score(COCOPanopticEvaluator(data.name), data)
        return counted[0]

    def ours() -> object:
        evaluator = PanopticEvaluator(data.name)
        score(evaluator, data)
        return comparable(evaluator.counts["panoptic_seg"])

    return {"Detectron2 and panopticapi": detectron2, "PanopticEvaluator": ours}


def panoptic_files(data: Data) -> Tools:
    """Scoring of files, in one process."""
    truth, predictions = data.folder / "truth.json", data.folder / "predictions.json"

    def panopticapi() -> object:
        from panopticapi.evaluation import pq_compute  # a package that may be missing

        with official_counts() as counted, contextlib.redirect_stdout(io.StringIO()):
            pq_compute(str(truth), str(predictions))
        return counted[0]

    def ours() -> object:
        classes, true_files = read_classes_and_files(truth)
        predicted = index_predicted_files(predictions)
        return comparable(score_panoptic_files(true_files, predicted, classes.contiguous).official)

    return {"panopticapi": panopticapi, "score_panoptic_files": ours}


def panoptic_files_of_hotcoco(data: Data) -> Tools:
    """Scoring of files beside another fast package, which gives shares and no counts: PQ, SQ and RQ of all classes."""
    files = str(data.folder / "truth.json"), str(data.folder / "predictions.json")

    def hotcoco() -> object:
        from hotcoco.panoptic import PanopticEval  # an optional extra

        evaluation = PanopticEval(*files)
        evaluation.evaluate()
        return [evaluation.results()["All"][name] for name in ("pq", "sq", "rq")]

    def ours() -> object:
        classes, true_files = read_classes_and_files(files[0])
        stats = score_panoptic_files(true_files, index_predicted_files(files[1]), classes.contiguous)
        results = panoptic_results(stats.official, classes)
        return [results[name] / 100 for name in ("PQ", "SQ", "RQ")]

    return {"hotcoco": hotcoco, "score_panoptic_files": ours}


def read_labels(path: str, dtype: type) -> np.ndarray:
    """In place of Detectron2's, which numpy 2 does not run."""
    return np.asarray(Image.open(path)).astype(dtype)


def semantic(data: Data) -> Tools:
    """Scoring of float scores (133, 480, 640) on the CPU; the scores are made outside the measured time."""
    smooth = torch.randn(1, CLASSES, HEIGHT // 16, WIDTH // 16, generator=torch.Generator().manual_seed(0))
    scores = torch.nn.functional.interpolate(smooth, (HEIGHT, WIDTH), mode="bilinear")[0].contiguous()
    samples = data.samples[: max(2, len(data.samples) // 10)]
    outputs = [{"sem_seg": scores}] * len(samples)

    def detectron2() -> object:
        evaluator = SemSegEvaluator(data.name, distributed=False, sem_seg_loading_fn=read_labels)
        evaluator.reset()
        evaluator.process(samples, outputs)
        return evaluator._conf_matrix.tolist()

    def ours() -> object:
        evaluator = SemanticEvaluator(data.name)
        evaluator.process(samples, outputs)
        evaluator.evaluate()
        return evaluator.confusion.tolist()

    return {"Detectron2 SemSegEvaluator.process": detectron2, "SemanticEvaluator.process": ours}


def score(evaluator: PanopticEvaluator | COCOPanopticEvaluator, data: Data) -> None:
    """One image after the other, as in an evaluation."""
    evaluator.reset()
    for sample, output in zip(data.samples, data.panoptic_outputs()):
        evaluator.process([sample], [output])
    evaluator.evaluate()


@contextlib.contextmanager
def official_counts():
    """panopticapi in this process instead of a pool of all cores; yields a list that gets its counts."""
    from panopticapi import evaluation  # a package that may be missing

    counted = []

    def in_this_process(pairs, truth_folder, predicted_folder, categories):
        stat = evaluation.pq_compute_single_core(0, pairs, truth_folder, predicted_folder, categories)
        classes = [stat[category] for category in categories]
        counted.append([(c.iou, c.tp, c.fp, c.fn) for c in classes])
        return stat

    with mock.patch.object(evaluation, "pq_compute_multi_core", in_this_process):
        yield counted


def comparable(counts: PanopticCounts) -> list[tuple]:
    """(IoU sum, tp, fp, fn) of each class."""
    return list(zip(counts.iou.tolist(), counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()))


@cache
def get_data(images: int) -> Data:
    """The data, known to Detectron2."""
    logging.getLogger("detectron2").setLevel(logging.ERROR)  # it warns of OpenCV, which plays no part here
    data = Data(images)
    data.register()
    return data


TOOLS = {
    "panoptic memory": panoptic_memory,
    "panoptic files": panoptic_files,
    "panoptic files of hotcoco": panoptic_files_of_hotcoco,
    "semantic": semantic,
}


def build(what: str, *, images: int) -> Timed:
    """One of `TOOLS`."""
    if what.startswith("panoptic") and find_spec("panopticapi") is None:
        raise UnavailableError("panopticapi is not installed")
    by_hotcoco = what == "panoptic files of hotcoco"
    if by_hotcoco and find_spec("hotcoco") is None:
        raise UnavailableError("hotcoco is not installed")
    tools, difference = TOOLS[what](get_data(images)), largest_difference if by_hotcoco else no_difference
    return Timed(tools, seconds=cpu_seconds_with_children, difference=difference, about={"images": images})


def no_difference(expected: object, found: object) -> float:
    """Zero.

    Raises:
        AssertionError: counts differ.
    """
    assert found == expected, "the counts differ"
    return 0.0
