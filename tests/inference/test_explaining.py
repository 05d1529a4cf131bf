"""What became of every query is what the prediction says, and watching changes neither numbers nor model."""

import csv
import json

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from focalnet_d2.backbone.focalnet import FocalModulation
from focalnet_d2.commands.main import main
from focalnet_d2.inference.explaining import detection_rows, explain
from focalnet_d2.inference.explaining_files import COLUMNS, save_explanation
from focalnet_d2.inference.explaining_network import NetworkWatch
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.structures.query_outcomes import QueryOutcome
from tests.inference.checkpoints import RECIPES, small_recipe, write

EVERYTHING = ["model.inference.panoptic.object_mask_threshold=0.05", "model.inference.panoptic.overlap_threshold=0.1"]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def predictors(tmp_path_factory) -> dict[str, Predictor]:
    found = {}
    for kind in RECIPES:
        path = write(tmp_path_factory.mktemp("run") / f"{kind}.pth", small_recipe(kind))
        settings = EVERYTHING if kind == "mask2former" else []
        found[kind] = Predictor(path, device="cpu", threshold=0.2, overrides=settings)
    return found


def state_of(model) -> tuple:
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    return hooks, model.__dict__.keys() - {"training"}, getattr(getattr(model, "inference", None), "panoptic", None)


@pytest.mark.parametrize("kind", RECIPES)
def test_watching_changes_nothing(kind, predictors, image):
    predictor = predictors[kind]
    expected, before = predictor(image), state_of(predictor.model)
    found = explain(predictor, image)
    assert state_of(predictor.model) == before
    for name in ("boxes", "scores", "class_ids", "panoptic_map", "semantic_map", "class_scores"):
        one, other = getattr(found.prediction, name), getattr(expected, name)
        assert (one is None and other is None) or np.array_equal(one, other)
    assert [stage.name for stage in found.stages] == ["res2", "res3", "res4", "res5"]
    for stage in found.stages:
        assert stage.gates.shape == (len(stage.levels), *found.picture.shape[:2])
        assert stage.modulator.shape == found.picture.shape[:2]
        assert (stage.modulator > 0).all()
        assert stage.levels[-1] == "global"


def test_kept_rows_are_the_segments(predictors, image):
    found = explain(predictors["mask2former"], image)
    segments = found.prediction.segments
    assert segments
    kept = sorted((row for row in found.rows if row.outcome == "segment"), key=lambda row: row.segment)
    assert [(row.segment, row.class_id) for row in kept] == [(one.id, one.class_id) for one in segments]
    for one in segments:
        inside = sum(row.inside for row in found.rows if row.segment == one.id)
        assert inside == (found.prediction.panoptic_map == one.id).sum()
    assert [row.query for row in found.rows] == list(range(len(found.rows)))


@pytest.mark.parametrize("kind", ["dino", "mask_rcnn"])
def test_kept_rows_are_the_objects(kind, predictors, image):
    found = explain(predictors[kind], image)
    kept = sorted((row for row in found.rows if row.outcome == "detection"), key=lambda row: row.segment)
    assert [row.segment for row in kept] == list(range(1, len(found.prediction.scores) + 1))
    np.testing.assert_array_equal(np.array([row.score for row in kept], np.float32), found.prediction.scores)
    assert [row.class_id for row in kept] == found.prediction.class_ids.tolist()
    if kind == "dino":
        assert {row.query for row in found.rows} == set(range(predictors[kind].model.query_selection.num_queries))


def test_objects_by_hand():
    """Query 0 has two objects, 1 one that is too low, 2 nothing in the result, 3 is no object."""
    result = Instances(
        (8, 8),
        pred_boxes=Boxes(torch.zeros(3, 4)),
        scores=torch.tensor([0.5, 0.75, 0.25]),
        pred_classes=torch.tensor([1, 0, 1]),
        query_indices=torch.tensor([0, 0, 1]),
    )
    logits = torch.tensor([[[0.0, 0, 0], [0, 0, 0], [9.0, 0, 0], [0, 0, 9.0]]])
    rows = detection_rows(result, {"pred_logits": logits}, 0.4, 2)
    assert [row[:2] + row[3:5] for row in rows] == [
        *((0, 0, "detection", 1), (0, 1, "detection", 2), (1, 1, "low score", 0)),
        *((2, 0, "not selected", 0), (3, None, "no object", 0)),
    ]
    assert rows[3].score == pytest.approx(float(logits[0, 2].softmax(0)[0]))
    sigmoid = detection_rows(result, {"pred_logits": logits}, (0.0, 0.6), 3)
    assert sigmoid[3].score == pytest.approx(float(torch.tensor(9.0).sigmoid()))
    assert [row.outcome for row in sigmoid[:2]] == ["detection", "low score"]


def test_gates_and_modulator_are_those_of_the_layer():
    layer = FocalModulation(6, focal_level=2, use_postln=True).eval()
    x = torch.randn(1, 5, 7, 6)
    query, gates, modulator = layer.parts(x)
    assert torch.equal(layer(x), layer.proj(layer.ln(query * modulator)))
    torch.testing.assert_close(gates, layer.f(x)[..., -3:])
    context = layer.gather_context(layer.f(x)[..., 6:12], gates)
    torch.testing.assert_close(modulator, layer.h(context.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def test_maps_are_cut_to_the_image():
    watch = NetworkWatch()
    watch.input_size, watch.levels["res2"] = (64, 32), ("3x3", "global")
    column = torch.arange(8.0).expand(16, 8) * 4 + 2  # the x of the middle of each cell
    row = torch.arange(16.0)[:, None].expand(16, 8) * 4 + 2
    watch.maps["res2"] = torch.stack([column, row, column])
    (stage,) = watch.stages((48, 16), (48, 16))
    assert stage.gates.shape == (2, 48, 16)
    np.testing.assert_allclose(stage.gates[0, 20, 4:12], np.arange(4, 12) + 0.5)
    np.testing.assert_allclose(stage.gates[1, 4:40, 3], np.arange(4, 40) + 0.5)


def test_the_files_say_the_same(predictors, image, tmp_path):
    found = explain(predictors["mask2former"], image)
    written = save_explanation(found, tmp_path, "image.png")
    assert sorted(written) == sorted(tmp_path.iterdir())
    document = json.loads((tmp_path / "image.png.queries.json").read_text())
    lines = list(csv.DictReader((tmp_path / "image.png.queries.csv").read_text().splitlines()))
    assert [line["query"] for line in lines] == [str(row["query"]) for row in document["queries"]]
    names = found.prediction.classes.names
    for row, line, outcome in zip(document["queries"], lines, found.rows, strict=True):
        assert tuple(row) == tuple(line) == COLUMNS
        assert QueryOutcome(row["query"], outcome.class_id, *list(row.values())[2:]) == outcome
        assert row["class"] == ("" if outcome.class_id is None else names[outcome.class_id])
    levels = len(found.stages[0].levels)
    alone = np.asarray(Image.open(tmp_path / "image.png.gates.res2.global.png"))
    sheet = np.asarray(Image.open(tmp_path / "image.png.gates.res2.png"))
    assert alone.shape == found.picture.shape
    assert sheet.shape[1] > (levels + 2) * alone.shape[1]
    highest = np.unravel_index(found.stages[0].gates[-1].argmax(), alone.shape[:2])
    lowest = np.unravel_index(found.stages[0].gates[-1].argmin(), alone.shape[:2])
    assert int(alone[highest].sum()) > int(alone[lowest].sum()) + 200


def test_the_command(predictors, image, tmp_path, capsys):
    path = str(write(tmp_path / "model.pth", small_recipe("dino")))
    assert main(["explain", path, str(image), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "outcome" in printed
    assert "low score" in printed
    assert "are in" in printed
    notes = tmp_path / "notes.txt"
    notes.write_text("no image")
    for file, message in ((notes, "notes.txt cannot be read"), (tmp_path / "none.png", "none.png")):
        assert main(["explain", path, str(file), "--out", str(tmp_path / "other"), "--device", "cpu"]) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1
    assert not (tmp_path / "other").exists()
