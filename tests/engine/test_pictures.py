"""Pictures of a training: which samples are drawn when, and that the training is the same with and without them."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage

from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.data.channels import ChannelFormat
from focalnet_d2.data.class_map import class_map
from focalnet_d2.engine.pictures import FIRST_BATCH, MOST, FirstBatchPicture, SamplePredictions, Studio, make_studio
from focalnet_d2.engine.run import build_model, build_trainer, seed_all_rng
from focalnet_d2.engine.validation_loss import evenly
from tests.tiny_run import RECIPE, TINY

CLASSES = class_map([1], ["thing"])


class Album:
    """Pictures that remember what they are of."""

    def __init__(self):
        self.drawn, self.results_drawn, self.files = [], [], {}

    def targets(self, sample, classes):
        self.drawn.append(sample)
        return np.zeros((1, 1, 3), np.uint8)

    def results(self, sample, result, classes, threshold):
        self.results_drawn.append((sample["file_name"], result))
        return np.zeros((1, 1, 3), np.uint8)

    def write(self, path, groups, titles, captions):
        assert len(groups) == len(captions)
        assert {len(group) for group in groups} == {len(titles)}
        self.files[path.name] = list(captions)


class Broken(Album):
    def targets(self, sample, classes):
        raise OSError("no space")


def run(folder, pictures=None, *overrides, resume=False):
    """Two steps with an evaluation after each, on the tiny data set; weights and random states at the end."""
    seed_all_rng(0)
    settings = (*TINY, "train.max_iter=2", "train.eval_period=1", "train.checkpoint_period=1", *overrides)
    recipe = apply_overrides(load_recipe(RECIPE), [*settings, f"train.output_dir={folder}"])
    folder.mkdir(exist_ok=True)
    model = build_model(recipe)
    trainer, start = build_trainer(model, recipe, resume=resume, pictures=pictures)
    trainer.train(start, recipe.train.max_iter)
    return [*model.state_dict().values(), torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(int))]


def results_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "time" not in key} for line in lines]


def test_a_training_is_the_same_with_and_without_pictures(tiny_data, tmp_path):
    pytest.importorskip("supervision")
    from focalnet_d2.run_reports.training_pictures import TrainingPictures

    plain, shown = run(tmp_path / "plain"), run(tmp_path / "shown", TrainingPictures())
    assert all(map(torch.equal, plain, shown))
    assert results_of(tmp_path / "plain") == results_of(tmp_path / "shown")
    files = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.jpg"))]
    assert files == ["shown/first_batch.jpg", "shown/samples/0000001.jpg", "shown/samples/0000002.jpg"]


def test_every_evaluation_draws_the_same_images_and_a_resumed_run_its_own_batch(tiny_data, tmp_path):
    album = Album()
    run(tmp_path / "run", album, "train.sample_predictions=3")
    assert album.files.pop(FIRST_BATCH) == [path.split("/")[-1] for path in names(album.drawn[:4])]
    assert album.files == {"0000001.jpg": ["1.png", "3.png", "4.png"], "0000002.jpg": ["1.png", "3.png", "4.png"]}
    assert [name.split("/")[-1] for name, _ in album.results_drawn] == ["1.png", "3.png", "4.png"] * 2
    assert all("instances" in result for _, result in album.results_drawn)
    second = Album()
    (tmp_path / "run" / "last_checkpoint").write_text("model_0000001.pth")
    run(tmp_path / "run", second, "train.sample_predictions=0", resume=True)
    assert list(second.files) == [FIRST_BATCH]
    assert len(second.drawn) == 4
    images = [[sample["image"] for sample in one.drawn[:4]] for one in (album, second)]
    assert not all(map(np.array_equal, *images))  # another draw of augmentations


def names(samples):
    return [sample["file_name"] for sample in samples]


def test_pictures_that_fail_are_one_warning_each(tiny_data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "focalnet_d2.engine.pictures"):
        run(tmp_path / "broken", Broken())
    assert len(results_of(tmp_path / "broken")) == 3
    messages = [one.message for one in caplog.records if one.name == "focalnet_d2.engine.pictures"]
    assert messages == ["There is no first_batch.jpg: no space", "There is no picture in samples: no space"]


def test_a_large_batch_is_shown_in_part(tmp_path):
    album = Album()
    batch = [{"image": torch.zeros(3, 1, 1), "file_name": f"a/{index}.png"} for index in range(MOST + 1)]
    FirstBatchPicture(Studio(album, CLASSES, tmp_path, "RGB")).first_batch(batch)
    assert album.files == {FIRST_BATCH: [f"{index}.png" for index in range(MOST)]}


TWO = ChannelFormat("uint16", stored=2, channels=[0, 1], mean=[1000.0, 0.0], std=[250.0, 1.0])


@pytest.mark.parametrize(
    ("image_format", "values", "expected"),
    [
        ("RGB", torch.tensor([1, 2, 3], dtype=torch.uint8), [1, 2, 3]),
        ("BGR", torch.tensor([1, 2, 3], dtype=torch.uint8), [3, 2, 1]),
        ("RGB", torch.tensor([-3.0, 20.6, 260.0]), [0, 21, 255]),
        (TWO, torch.tensor([1500.0, 7.0]), [255, 255, 255]),
    ],
)
def test_any_image_is_drawn_in_eight_bits(tmp_path, image_format, values, expected):
    sample = {"image": values.view(-1, 1, 1), "file_name": "a.png"}
    prepared = Studio(Album(), CLASSES, tmp_path, image_format).prepared(sample)
    assert prepared["image"].dtype == np.uint8
    assert prepared["image"].tolist() == [[expected]]
    assert torch.equal(sample["image"].flatten(), values)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_results_belong_to_their_images(tmp_path, monkeypatch, batch_size):
    images = [{"file_name": f"{index}.png", "image": torch.zeros(3, 1, 1)} for index in range(9)]
    monkeypatch.setattr("focalnet_d2.engine.pictures.build_mapper", lambda recipe: dict)
    album = Album()
    recipe = SimpleNamespace(train=SimpleNamespace(max_iter=7, get=lambda name, default: 3))
    samples = SamplePredictions(Studio(album, CLASSES, tmp_path, "RGB"), images, recipe)
    for _ in range(2):
        samples.reset()
        for start in range(0, 9, batch_size):
            batch = images[start : start + batch_size]
            samples.process(batch, [{"of": image["file_name"]} for image in batch])
        with EventStorage(3):
            assert samples.evaluate() is None
    assert album.results_drawn == [(name, {"of": name}) for name in ("0.png", "4.png", "8.png")] * 2
    assert album.files == {"0000004.jpg": ["0.png", "4.png", "8.png"]}


def test_several_processes_leave_the_drawing_to_the_main_one(tiny_data, tmp_path, monkeypatch):
    recipe = apply_overrides(load_recipe(RECIPE), [*TINY, f"train.output_dir={tmp_path}"])
    assert make_studio(Album(), recipe) is not None
    assert make_studio(None, recipe) is None
    monkeypatch.setattr("focalnet_d2.engine.pictures.comm.is_main_process", lambda: False)
    assert make_studio(Album(), recipe) is None


def test_places_are_spread_evenly():
    assert evenly(9, 3) == [0, 4, 8]
    assert evenly(2, 8) == [0, 1]
    assert evenly(0, 8) == []
