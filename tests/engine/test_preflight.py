"""What a run finds out before it builds a model: classes that do not fit, files and metadata that cannot be scored."""

import shutil

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation.testing import flatten_results_dict
from omegaconf import DictConfig
from torch import nn

from focalnet_d2.checkpoint import checkpoint_metadata, save_weights
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe
from focalnet_d2.data.datasets.custom import register_panoptic_folder
from focalnet_d2.engine import jobs
from focalnet_d2.engine.preflight import check_tasks, read_data
from focalnet_d2.engine.run import load_initial_weights
from focalnet_d2.engine.watched_metric import members
from tests.data.checks.many_images import write_yolo
from tests.data.segmentation_files import CATEGORIES, write_panoptic_set
from tests.mask2former.building import build_mask2former, tiny_backbone

FITTING = ("model.num_classes=4", "model.inference.thing_ids=[0,1]")


@pytest.fixture
def datasets(tmp_path):
    """Registers `learned` and `scored`, two sets of the same two images, the second with changed categories."""
    registered = []

    def register(categories=CATEGORIES) -> None:
        for name, listed in (("learned", CATEGORIES), ("scored", categories)):
            files = write_panoptic_set(tmp_path / name, change=lambda c, listed=listed: c.update(categories=listed))
            registered.append(register_panoptic_folder(name, *files))

    yield register
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def recipe(*overrides: str, train: str = "learned", test: str = "scored") -> DictConfig:
    names = (f"dataloader.train.dataset.names={train}", f"dataloader.test.dataset.names={test}")
    return apply_overrides(load_recipe("mask2former_focalnet_mini_quickstart"), [*names, *FITTING, *overrides])


def test_data_that_fit_are_read_once_and_scored_by_evaluators_that_know_them(datasets):
    datasets()
    data = read_data(recipe(), to_train=True)
    assert [image["image_id"] for image in data.train] == [image["image_id"] for image in data.test] == [1, 3]
    assert [type(one).__name__ for one in members(data.evaluator)] == [
        "PanopticEvaluator",
        "DetectionEvaluator",
        "SemanticEvaluator",
    ]
    assert read_data(recipe(), to_train=False).train is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.num_classes=5"],
            r"has 5 classes, but .* learned has 4 \(dog, car, sea, sky\): set model\.num_classes=4",
        ),
        (["model.num_classes=3"], r"has 3 classes, but .* set model\.num_classes=4"),
        (
            ["model.inference.thing_ids=[0,1,2]"],
            r"0 \(dog\), 1 \(car\), 2 \(sea\), but the things .* 0 \(dog\), 1 \(car\): set .*thing_ids=\[0,1\]",
        ),
        (["model.inference.thing_ids=[]"], r"thing_ids are none, but .* set model\.inference\.thing_ids=\[0,1\]"),
        (["model.inference.thing_ids=[0,7]"], r"thing_ids are 0 \(dog\), 7, but the things"),
    ],
)
def test_a_model_for_other_classes_is_refused_before_it_is_built(datasets, monkeypatch, overrides, message):
    datasets()
    monkeypatch.setattr(jobs, "build_model", lambda recipe: pytest.fail("a model was built"))
    with pytest.raises(RecipeError, match=message):
        jobs.do_train(recipe(*overrides), jobs.Job("unread"))
    with pytest.raises(RecipeError, match=message.replace("learned", "scored")):
        jobs.do_test(recipe(*overrides, "train.init_checkpoint=unread.pth"))


def test_pasting_of_objects_without_masks_is_refused_before_a_model_is_built(tmp_path, monkeypatch):
    write_yolo(tmp_path, 4)
    monkeypatch.setattr(jobs, "build_model", lambda recipe: pytest.fail("a model was built"))
    settings = (f"data={tmp_path}", "train.device=cpu", f"train.output_dir={tmp_path}/run")
    with pytest.raises(ValueError, match=r"copy_paste pastes .* masks, and .*\.png has objects with a box"):
        jobs.run_job(jobs.Job("dino_focalnet_mini_quickstart", (*settings, "dataloader.train.copy_paste=0.5")))


def test_thing_ids_in_another_order_are_the_same(datasets):
    datasets()
    read_data(recipe("model.inference.thing_ids=[1,0]"), to_train=True)


def test_thing_ids_do_not_matter_where_only_pixels_are_classified(datasets):
    datasets()
    read_data(
        recipe("model.inference.thing_ids=[]", "model.inference.panoptic=null", "model.inference.instance=null"),
        to_train=True,
    )


@pytest.mark.parametrize("metric", ["nope", "", "bbox", "AP", "classification/top1", "sem_seg/PQ"])
def test_a_best_metric_that_no_evaluator_gives_is_refused(datasets, metric):
    datasets()
    with pytest.raises(RecipeError, match=f"train.best_metric is '{metric}': the evaluators .* give .*panoptic_seg/PQ"):
        read_data(recipe(f"train.best_metric={metric}"), to_train=True, metric_is_typed=True)
    read_data(recipe(f"train.best_metric={metric}"), to_train=False)


def test_evaluators_give_the_metrics_that_they_name(datasets):
    datasets()
    for one in members(read_data(recipe(), to_train=False).evaluator):
        given, named = set(flatten_results_dict(one.evaluate())), one.metric_names()
        assert len(named) == len(set(named))
        assert given
        assert {name for name in named if "_corrected/" not in name} == given


def renamed(old: str, new: str) -> list[dict]:
    return [{**category, "name": category["name"].replace(old, new)} for category in CATEGORIES]


def exchanged() -> list[dict]:
    """The same names, dog and car with each other's id."""
    return [{**one, "name": {"dog": "car", "car": "dog"}.get(one["name"], one["name"])} for one in CATEGORIES]


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (renamed("dog", "wolf"), "from number 0 on: dog, car, sea, sky and wolf, car, sea, sky"),
        (renamed("sky", "air"), "from number 3 on: sky and air"),
        (exchanged(), "from number 0 on: dog, car, sea, sky and car, dog, sea, sky"),
    ],
)
def test_training_and_test_data_of_different_classes_are_refused(datasets, categories, message):
    datasets(categories)
    with pytest.raises(RecipeError, match=f"learned and the test data scored have different classes, {message}"):
        read_data(recipe(), to_train=True)


def test_a_data_set_that_is_not_panoptic_is_no_ground_truth_of_pq(datasets):
    datasets()
    MetadataCatalog.get("only_pixels").stuff_classes = ["dog", "car", "sea", "sky"]
    with pytest.raises(ValueError, match="only_pixels has no thing_dataset_id_to_contiguous_id"):
        read_data(recipe("dataloader.evaluator.evaluators.0.dataset_name=only_pixels"), to_train=True)
    MetadataCatalog.remove("only_pixels")


def test_files_of_the_test_data_are_missed_before_the_training(datasets, tmp_path):
    datasets()
    shutil.rmtree(tmp_path / "scored" / "ids")
    with pytest.raises(FileNotFoundError, match=r"scored/ids"):
        read_data(recipe(), to_train=True)


def test_evaluators_of_what_the_model_does_not_predict_are_refused(datasets):
    datasets()
    evaluator = read_data(recipe(), to_train=False).evaluator
    model = nn.Linear(1, 1)
    check_tasks(model, evaluator)
    model.tasks = ("panoptic", "sem_seg")
    with pytest.raises(
        RecipeError, match="DetectionEvaluator scores bbox, segm, but the Linear .* panoptic, sem_seg only"
    ):
        check_tasks(model, evaluator)
    model.tasks = ("panoptic", "sem_seg", "segm", "bbox")
    check_tasks(model, evaluator)


@pytest.fixture
def checkpoint(tmp_path):
    """Writes weights that record these class names; row k of the class head is full of k."""

    def write(names):
        model = build_mask2former(tiny_backbone(), num_classes=len(names))
        for row, weights in enumerate(model.decoder.class_embed.weight.data):
            weights.fill_(row)
        save_weights(tmp_path / "m.safetensors", model, checkpoint_metadata(model, names))
        return str(tmp_path / "m.safetensors")

    return write


def class_rows(file: str, *overrides: str) -> list[float]:
    """Rows of the class head after a checkpoint was loaded to evaluate it on `scored`."""
    model = build_mask2former(tiny_backbone(), num_classes=4)
    load_initial_weights(model, recipe(f"train.init_checkpoint={file}", *overrides), to_train=False)
    return model.decoder.class_embed.weight[:, 0].tolist()


OTHERS = {
    "the same classes in another order": ["car", "dog", "sea", "sky"],
    "1 of the 4 names are not in the file": ["dog", "car", "sea", "air"],
    "5 and 4 classes": ["dog", "car", "sea", "sky", "air"],
}


@pytest.mark.parametrize("difference", OTHERS)
def test_a_checkpoint_that_records_other_class_names_is_not_evaluated(datasets, checkpoint, difference):
    datasets()
    read_data(recipe(), to_train=False)
    names = OTHERS[difference]
    with pytest.raises(ValueError, match=rf"m\.safetensors .*{', '.join(names)}.* dog, car, sea, sky \({difference}\)"):
        class_rows(checkpoint(names))


def test_a_checkpoint_of_other_class_names_is_evaluated_when_told_how(datasets, checkpoint):
    datasets()
    read_data(recipe(), to_train=False)
    by_name, by_position = (f"train.other_class_names={rule}" for rule in ("by_name", "by_position"))
    assert class_rows(checkpoint(["dog", "car", "sea", "sky"])) == [0, 1, 2, 3, 4]
    swapped = checkpoint(["car", "dog", "sea", "sky"])
    assert class_rows(swapped, by_name) == [1, 0, 2, 3, 4]
    assert class_rows(swapped, by_position) == [0, 1, 2, 3, 4]
    other = checkpoint(["hund", "auto", "see", "himmel"])
    assert class_rows(other, by_position) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="which the file does not know"):
        class_rows(other, by_name)
    with pytest.raises(ValueError, match="other_class_names='maybe' must be one of refuse, by_name, by_position"):
        class_rows(swapped, "train.other_class_names=maybe")


def test_images_that_are_learned_from_and_scored_are_said(datasets, caplog):
    datasets()
    read_data(recipe(), to_train=True)
    assert "to learn from, too" not in caplog.text
    read_data(recipe(test="learned"), to_train=True)
    assert "2 of the 2 images to score are images to learn from, too" in caplog.text
