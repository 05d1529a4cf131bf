"""Tuning from a checkpoint to a checkpoint: every image once, the two parts apart, and what `--write` changes."""

import json

import numpy as np
import pytest
import torch
from detectron2.config import instantiate

from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint
from focalnet_d2.commands.main import main
from focalnet_d2.config.lazy import recipe_from_yaml
from focalnet_d2.engine.checkpointing import describe_run
from focalnet_d2.engine.own_data import apply_settings
from focalnet_d2.engine.run_folder import RunIdentity
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.inference.thresholds import ENTRY
from focalnet_d2.inference.tuning import ClassTuning, Comparison, PanopticTuning, Tuning, tune
from focalnet_d2.inference.tuning_data import split_parts
from focalnet_d2.inference.tuning_panoptic import PanopticThresholds
from focalnet_d2.inference.tuning_writing import write_thresholds
from mask2former.model import Mask2Former
from tests.inference.checkpoints import small_recipe
from tests.own_data_folders import write_boxes, write_classes, write_panoptic
from tests.registered_sets import forgotten_afterwards

WRITERS = {"mask2former": write_panoptic, "dino": write_boxes, "classifier": write_classes}


@pytest.fixture(scope="module", autouse=True)
def own_names():
    with forgotten_afterwards():
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict:
    """The folder of data and a checkpoint with random weights, for each kind."""
    return {kind: make_run(tmp_path_factory.mktemp(kind), kind) for kind in WRITERS}


def make_run(folder, kind: str) -> tuple:
    data = WRITERS[kind](folder / "data")
    recipe = apply_settings(small_recipe(kind), [f"data={data}", "dataloader.test.num_workers=0"])
    torch.manual_seed(1)
    model = instantiate(recipe.model)
    described = describe_run(recipe, model, "0123456789abcdef")
    save_checkpoint(folder / "model_best.pth", {"model": model.state_dict(), "best": None, **described})
    return data, folder / "model_best.pth"


@pytest.fixture
def copied(runs, tmp_path):
    """A copy of the panoptic checkpoint, as the only file of a run's folder."""
    path = tmp_path / "model_best.pth"
    path.write_bytes(runs["mask2former"][1].read_bytes())
    return path


def test_the_network_sees_each_image_once_and_numbers_are_those_of_evaluations(runs, monkeypatch):
    data, path = runs["mask2former"]
    seen, predict = [], Mask2Former.predict
    monkeypatch.setattr(Mask2Former, "predict", lambda self, images: seen.append(images) or predict(self, images))
    found = tune(path, data, device="cpu")
    assert sum(len(images.tensor) for images in seen) == sum(found.images.values()) == 4
    assert found.images == {"tuning": 2, "reporting": 2}
    pq = found.panoptic.quality["tuning"]
    assert pq.after >= pq.before
    assert [one.name for one in found.classes] == ["cat", "traffic light"]
    for one in found.classes:
        assert one.objects == {"tuning": 2, "reporting": 2}
        assert one.f1["tuning"].after >= one.f1["tuning"].before == 0
    expected = evaluated(path, data, found.panoptic.after)
    assert found.panoptic.quality["reporting"].after == pytest.approx(expected["reporting"], abs=1e-9)
    assert pq.after == pytest.approx(expected["tuning"], abs=1e-9)


def evaluated(path, data, thresholds: PanopticThresholds) -> dict[str, float]:
    """PQ of each part by the model and evaluator that an evaluation uses."""
    settings = [f"model.inference.panoptic.{name}={value}" for name, value in thresholds._asdict().items()]
    predictor = Predictor(path, device="cpu", overrides=settings)
    evaluators = {part: PanopticEvaluator("data_val") for part in ("tuning", "reporting")}
    names = sorted(data.glob("val/*.*"))
    ids = {name: key for key, name in enumerate_ids(data)}
    part_of = split_parts({ids[name.name]: str(name) for name in names}, 0.5)
    for name in names:
        prediction = predictor(name)
        segments = [{"id": one.id, "category_id": one.class_id} for one in prediction.segments]
        sample = {"image_id": ids[name.name]}
        evaluators[part_of[ids[name.name]]].process([sample], [{"panoptic_seg": (prediction.panoptic_map, segments)}])
    return {part: one.evaluate()["panoptic_seg"]["PQ"] for part, one in evaluators.items()}


def enumerate_ids(data) -> list[tuple]:
    (file,) = data.glob("annotations/panoptic_val.json")
    return [(image["id"], image["file_name"]) for image in json.loads(file.read_text())["images"]]


def test_boxes_alone_are_tuned_too(runs, capsys):
    data, path = runs["dino"]
    assert main(["tune", str(path), str(data), "--device", "cpu", "--holdout", "0.25", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "F1 of bbox, tuning, 3 images" in printed
    assert "reporting, 1 image" in printed
    assert "PQ" not in printed
    assert "cat" in printed


def some_tuning() -> Tuning:
    pair = {part: Comparison(1.0, 2.0) for part in ("tuning", "reporting")}
    objects = {"tuning": 3, "reporting": 3}
    panoptic = PanopticTuning(PanopticThresholds(0.8, 0.8), PanopticThresholds(0.35, 0.6), pair)
    return Tuning({}, panoptic, (ClassTuning("traffic light", 0.5, 0.125, objects, pair),), "segm")


def test_written_thresholds_are_used(copied, runs):
    before = read_checkpoint(copied)
    assert write_thresholds(copied, some_tuning()) == [copied]
    after = read_checkpoint(copied)  # which compares the digest
    assert after["metadata"] == before["metadata"] | {
        ENTRY: {"cat": 0.5, "road": 0.5, "traffic light": 0.125, "sky": 0.5}
    }
    assert all(torch.equal(after["model"][name], value) for name, value in before["model"].items())
    predictor = Predictor(copied, device="cpu")
    names = predictor.classes.names
    assert predictor.threshold == tuple(0.125 if name == "traffic light" else 0.5 for name in names)
    panoptic = predictor.model.inference.panoptic
    assert (panoptic.object_mask_threshold, panoptic.overlap_threshold) == (0.35, 0.6)
    again = tune(copied, runs["mask2former"][0], device="cpu")
    assert again.panoptic.before == (0.35, 0.6)
    assert [one.before for one in again.classes] == [0.5, 0.125]


@pytest.mark.parametrize(("run", "is_changed"), [("0123456789abcdef", True), ("fedcba9876543210", False)])
def test_the_recipe_of_the_same_run_gets_them(copied, run, is_changed):
    text = read_checkpoint(copied)["recipe"]
    beside = copied.with_name("recipe.yaml")
    beside.write_text(text)
    RunIdentity(run, "mine").write(copied.parent)
    assert write_thresholds(copied, some_tuning()) == ([copied, beside] if is_changed else [copied])
    found = recipe_from_yaml(beside.read_text(), "it").model.inference.panoptic.object_mask_threshold
    assert found == (
        0.35 if is_changed else recipe_from_yaml(text, "it").model.inference.panoptic.object_mask_threshold
    )


def test_a_write_that_fails_leaves_the_file(copied, monkeypatch):
    before = copied.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"No space left on device.*model_best.pth"):
        write_thresholds(copied, some_tuning())
    assert copied.read_bytes() == before
    assert [path.name for path in copied.parent.iterdir()] == ["model_best.pth"]


def test_what_cannot_be_tuned_is_said_in_one_line(runs, tmp_path, capsys):
    (data, path), (boxes, _), (folders, classifier) = (runs[kind] for kind in WRITERS)
    bare = tmp_path / "bare.pth"
    save_checkpoint(bare, {"model": read_checkpoint(path)["model"]})
    for words, message in {
        (path, data, "data.drop=[sky]"): "only the checkpoint has sky, only the data none",
        (path, data, "data.rename={cat:cow}"): "only the checkpoint has cat, only the data cow",
        (path, boxes): "learns from panoptic segments or",
        (path, "data_vall"): "data_vall is neither a folder nor the name of a registered data set; names that are",
        (path, tmp_path / "none"): "none is neither a folder nor",
        (path, data, "--holdout", "1"): "share of held out images is 1.0",
        (classifier, folders): "predicts classification, for which there is no threshold to tune",
        (bare, data, "--write"): "bare.pth holds no recipe, so it cannot hold thresholds",
        (bare, data): "bare.pth holds no recipe: name the one",
        (path, "data_val", "data.val=x"): "data.val=x is about a folder of data",
    }.items():
        assert main(["tune", *map(str, words), "--device", "cpu"]) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1
        assert not printed.out


def test_parts_depend_on_names_and_seed_alone(tmp_path):
    files = {number: f"{tmp_path}/{number % 2}/{number:02}.png" for number in range(20)}
    moved = {key: name.replace(str(tmp_path), "/elsewhere") for key, name in files.items()}
    parts = split_parts(files, 0.3)
    assert split_parts(dict(reversed(moved.items())), 0.3) == parts
    assert list(parts.values()).count("reporting") == 6
    assert split_parts(files, 0.3, seed=1) != parts
    grouped = split_parts(files, 0.5, groups=r"^(\d)/")
    assert len({grouped[number] for number in range(0, 20, 2)}) == 1
    with pytest.raises(ValueError, match=r"there is only 1 image"):
        split_parts({1: "a.png"}, 0.5)


def test_means_leave_classes_without_objects_out():
    some, none = {"tuning": 1, "reporting": 0}, {"tuning": 0, "reporting": 0}
    f1 = {"tuning": Comparison(10.0, 30.0), "reporting": Comparison(np.nan, np.nan)}
    found = Tuning({}, None, (ClassTuning("a", 0.5, 0.4, some, f1), ClassTuning("b", 0.5, 0.5, none, f1)))
    assert found.mean_f1("tuning") == (10.0, 30.0)
    assert np.isnan(found.mean_f1("reporting").after)


def test_a_checkpoint_that_may_not_be_written_is_refused_before_the_work(copied, runs, monkeypatch, capsys):
    copied.chmod(0o444)
    monkeypatch.setattr(Mask2Former, "predict", None)
    assert main(["tune", str(copied), str(runs["mask2former"][0]), "--device", "cpu", "--write"]) == 2
    assert f"{copied} may not be written to, so --write cannot keep thresholds in it" in capsys.readouterr().err
