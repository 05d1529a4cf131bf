"""Panoptic and semantic scores against panopticapi and Detectron2: while predictions come in, and from files."""

import json
import math

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog

from focalnet_d2.commands.score import main
from focalnet_d2.data.datasets.panoptic import panoptic_metadata
from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.data.semantic_labels import read_semantic_labels
from focalnet_d2.evaluation.panoptic import COUNTS, PanopticEvaluator
from focalnet_d2.evaluation.semantic import SemanticEvaluator
from tests.golden.cases import golden_dir, golden_file, read_json

NAME = "golden_evaluators"
PANOPTIC_TOLERANCE, SEMANTIC_TOLERANCE = 1e-12, 1e-9  # of fractions, of percentages


@pytest.fixture(scope="module")
def golden() -> dict:
    return read_json("evaluators", "golden.json")


@pytest.fixture(scope="module")
def truth() -> dict:
    return read_json("evaluators", "panoptic_gt.json")


@pytest.fixture
def metadata(truth):
    """The set as registered, its categories in the order of the file."""
    registered = MetadataCatalog.get(NAME).set(
        **panoptic_metadata(truth["categories"]),
        panoptic_json=str(golden_file("evaluators", "panoptic_gt.json")),
        panoptic_root=str(golden_dir("evaluators") / "panoptic_gt"),
    )
    yield registered
    MetadataCatalog.remove(NAME)


def contiguous(segments_info: list[dict], metadata) -> list[dict]:
    """segments_info with classes by index, as in dataset dicts and in what a model returns."""
    classes, things = metadata.stuff_dataset_id_to_contiguous_id, metadata.thing_dataset_id_to_contiguous_id
    return [
        {**s, "category_id": classes[s["category_id"]], "isthing": s["category_id"] in things} for s in segments_info
    ]


def check_panoptic(golden: dict, results: dict[str, float], counts: dict[str, dict]) -> None:
    """Counts equal, everything else within the tolerance."""
    golden = golden["panoptic"]
    assert counts.keys() == golden["counts"].keys()
    for name, expected in golden["counts"].items():
        assert {key: counts[name][key] for key in ("tp", "fp", "fn")} == {k: expected[k] for k in ("tp", "fp", "fn")}
        assert counts[name]["iou"] == pytest.approx(expected["iou"], rel=0, abs=PANOPTIC_TOLERANCE), name
        pq = golden["per_class"][name]["pq"]
        assert results[f"PQ-{name}"] / 100 == pytest.approx(pq, rel=0, abs=PANOPTIC_TOLERANCE), name
    for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st")):
        for metric in ("pq", "sq", "rq"):
            ours = results[metric.upper() + suffix] / 100
            assert ours == pytest.approx(golden[group][metric], rel=0, abs=PANOPTIC_TOLERANCE), (group, metric)


def check_semantic(golden: dict, results: dict[str, float | None]) -> None:
    assert {"mIoU", "fwIoU", "mACC", "pACC"} <= results.keys()
    for name, value in results.items():
        expected = golden["sem_seg"][name]
        assert (value is None or math.isnan(value)) == (expected is None), name
        if expected is not None:
            assert value == pytest.approx(expected, rel=0, abs=SEMANTIC_TOLERANCE), name
    classes = [name for name in golden["sem_seg"] if name.startswith(("IoU-", "ACC-"))]
    assert set(classes) <= results.keys()


@pytest.mark.parametrize("with_ground_truth", [True, False], ids=["from the input", "from the panoptic JSON"])
def test_panoptic_evaluator(golden, truth, metadata, tmp_path, with_ground_truth):
    predictions = read_json("evaluators", "panoptic_pred.json")["annotations"]
    predictions = {entry["image_id"]: entry for entry in predictions}
    evaluator = PanopticEvaluator(NAME, output_dir=tmp_path)
    folder = golden_dir("evaluators")
    for entry in truth["annotations"]:
        sample = {"image_id": entry["image_id"], "file_name": entry["file_name"]}
        if with_ground_truth:
            sample["pan_seg_file_name"] = str(folder / "panoptic_gt" / entry["file_name"])
            sample["segments_info"] = contiguous(entry["segments_info"], metadata)
        predicted = predictions[entry["image_id"]]
        ids = torch.from_numpy(read_panoptic_ids(folder / "panoptic_pred" / predicted["file_name"]))
        output = {"panoptic_seg": (ids, contiguous(predicted["segments_info"], metadata))}
        evaluator.process([sample], [output])
    results = evaluator.evaluate()
    check_panoptic(golden, results["panoptic_seg"], json.loads((tmp_path / COUNTS).read_text())["panoptic_seg"])
    assert "panoptic_seg_corrected" in results  # the set has a wrong area and several crowds of a class


@pytest.mark.parametrize("workers", [1, 2])
def test_panoptic_command(golden, tmp_path, workers):
    output, counts = tmp_path / "results.json", tmp_path / "counts.json"
    files = [str(golden_file("evaluators", name)) for name in ("panoptic_gt.json", "panoptic_pred.json")]
    options = ["--workers", str(workers), "--output", str(output), "--counts", str(counts)]
    assert main(["panoptic", *files, *options]) == 0
    check_panoptic(
        golden, json.loads(output.read_text())["panoptic_seg"], json.loads(counts.read_text())["panoptic_seg"]
    )


@pytest.mark.parametrize("as_scores", [True, False], ids=["scores", "classes"])
def test_semantic_evaluator(golden, metadata, as_scores):
    evaluator = SemanticEvaluator(NAME)
    folder = golden_dir("evaluators")
    for path in sorted((folder / "semseg_gt").iterdir()):
        predicted = torch.from_numpy(read_semantic_labels(folder / "semseg_pred" / path.name).astype(np.int64))
        if as_scores:
            predicted = torch.nn.functional.one_hot(predicted, len(metadata.stuff_classes)).permute(2, 0, 1).float()
        evaluator.process([{"file_name": path.name, "sem_seg_file_name": str(path)}], [{"sem_seg": predicted}])
    results = evaluator.evaluate()
    assert evaluator.confusion.tolist() == golden["sem_seg_confusion"]
    check_semantic(golden, results["sem_seg"])
    assert results["sem_seg_corrected"]["IoU-brush"] == 0  # predicted, but not in the ground truth


@pytest.mark.parametrize("workers", [1, 2])
def test_semantic_command(golden, tmp_path, workers):
    output = tmp_path / "results.json"
    folders = [str(golden_dir("evaluators") / name) for name in ("semseg_gt", "semseg_pred")]
    categories = str(golden_file("evaluators", "panoptic_gt.json"))
    options = ["--categories", categories, "--workers", str(workers), "--output", str(output)]
    assert main(["semantic", *folders, *options]) == 0
    check_semantic(golden, json.loads(output.read_text())["sem_seg"])


def test_boxes_command(golden, tmp_path):
    output = tmp_path / "results.json"
    files = [str(golden_file("evaluators", name)) for name in ("instances_gt.json", "detections.json")]
    assert main(["boxes", *files, "--iou-type", "bbox", "segm", "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    for iou_type in ("bbox", "segm"):
        expected = golden[iou_type]["stats"]["AP"]
        assert results[iou_type]["AP"] / 100 == pytest.approx(expected, rel=0, abs=PANOPTIC_TOLERANCE)
