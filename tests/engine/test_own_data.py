"""From `data=DIR` to a recipe: what is found, in which order settings count, what is kept, and what is refused."""

import logging
import os
import pickle
import shutil

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import RecipeError, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.data.catalog import load_dataset
from focalnet_d2.data.record_choice import object_counts
from focalnet_d2.engine import own_data
from focalnet_d2.engine.data_report import log_data, warn_of_changed_folder
from focalnet_d2.engine.jobs import Job
from focalnet_d2.engine.own_data import apply_settings, data_settings, read_settings, source_of, write_split
from focalnet_d2.engine.preflight import read_data
from focalnet_d2.engine.recipe_filling import class_counts, mapper_class, uses_of
from tests.own_data_folders import write_boxes, write_classes, write_panoptic, write_semantic
from tests.recipes import recipe_named
from tests.registered_sets import forgotten_afterwards

DINO, MASK2FORMER = "dino_focalnet_mini_quickstart", "mask2former_focalnet_mini_quickstart"


def applied(recipe, *overrides, **options):
    recipe = recipe_named(recipe).copy() if isinstance(recipe, str) else recipe
    return apply_settings(recipe, map(str, overrides), **options)


@pytest.fixture(autouse=True)
def registered():
    """What a test registers is gone after it."""
    with forgotten_afterwards():
        yield


@pytest.fixture
def no_look(monkeypatch):
    def look(*_, **__):
        raise AssertionError("The folder was looked at again.")

    monkeypatch.setattr(own_data, "find_datasets", look)


@pytest.fixture
def boxes(tmp_path):
    return write_boxes(tmp_path / "boxes")


WRITERS = {"boxes": write_boxes, "panoptic": write_panoptic, "semantic": write_semantic, "classes": write_classes}


@pytest.mark.parametrize(
    ("recipe", "folder", "number", "things"),
    [
        (DINO, "boxes", 2, None),
        (DINO, "panoptic", 2, None),
        ("mask_rcnn_focalnet_mini_coco", "panoptic", 2, None),
        (MASK2FORMER, "panoptic", 4, [0, 1]),
        (MASK2FORMER, "semantic", 3, []),
        ("mask2former_focalnet_mini_nuclei", "panoptic", 2, [0, 1]),
        ("upernet_focalnet_mini_ade20k", "semantic", 3, None),
        ("upernet_focalnet_mini_ade20k", "panoptic", 4, None),
        ("classifier_focalnet_mini_folder", "classes", 3, None),
    ],
)
def test_folders_of_each_kind_pass_the_preflight(recipe, folder, number, things, tmp_path):
    recipe = applied(recipe, f"data={WRITERS[folder](tmp_path / 'data')}", f"train.output_dir={tmp_path}")
    data = read_data(recipe, to_train=True)  # which compares model, data sets and evaluators
    assert len(data.train) == len(data.test) == (9 if folder == "classes" else 4)
    assert set(class_counts(recipe, linked=True).values()) == {number}
    if things is not None:
        assert recipe.model.inference.thing_ids == things


def test_boxes_and_masks_of_panoptic_data_are_those_of_its_things(tmp_path):
    root = write_panoptic(tmp_path / "data")
    applied("mask_rcnn_focalnet_mini_coco", f"data={root}")
    annotations = load_dataset("data_train")[0]["annotations"]
    assert sorted((one["category_id"], *one["bbox"]) for one in annotations) == [(0, 4, 6, 20, 30), (1, 30, 8, 25, 20)]
    assert all(one["segmentation"] for one in annotations)
    assert MetadataCatalog.get("data_train").thing_classes == ["cat", "traffic light"]


def test_settings_of_data_come_first_and_all_others_on_top(boxes, monkeypatch):
    monkeypatch.chdir(boxes.parent)
    changes = ["data.drop=[cat]", "data.rename={traffic light:lamp}"]
    recipe = applied(DINO, "dataloader.evaluator.max_dets=7", "data=boxes", *changes, "train.new_classes=False")
    assert recipe.data.root == str(boxes)  # which another process finds, wherever it starts
    assert (recipe.model.num_classes, recipe.dataloader.evaluator.max_dets, recipe.train.new_classes) == (1, 7, False)
    assert MetadataCatalog.get("data_val").thing_classes == ["lamp"]
    assert {one["category_id"] for image in load_dataset("data_val") for one in image["annotations"]} == {0}


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        (
            DINO,
            "model.num_classes=7",
            "The model has 7 classes, but the data set data_train has 2 .*model.num_classes=2",
        ),
        (MASK2FORMER, "model.criterion.num_classes=3", "model.criterion.num_classes has 3 classes, but .* has 4"),
        (MASK2FORMER, "model.inference.thing_ids=[0]", r"thing_ids are 0 \(cat\), but the things .*thing_ids=\[0,1\]"),
    ],
)
def test_numbers_that_contradict_the_data_are_refused_before_a_model_is_built(recipe, setting, message, tmp_path):
    recipe = applied(recipe, f"data={write_panoptic(tmp_path / 'data')}", setting)
    with pytest.raises(RecipeError, match=message):
        read_data(recipe, to_train=True)


MINI_DEMO = "mask2former_focalnet_mini_demo"
RESULTS = {
    DINO: ("model.num_select", "model.query_selection.num_queries"),
    "sparse_rcnn_focalnet_mini_coco": ("model.num_select", "model.head.num_proposals"),
    MINI_DEMO: ("model.inference.instance.top_k", "model.decoder.num_queries"),
}


@pytest.mark.parametrize(("recipe", "keys"), RESULTS.items())
def test_no_more_results_are_wanted_than_one_class_can_give_unless_somebody_types_it(recipe, keys, tmp_path, caplog):
    results, queries = keys
    typed = (f"data={write_boxes(tmp_path / 'data', masks=True)}", "data.drop=[cat]", f"{queries}=30")
    filled = applied(recipe, *typed)
    assert OmegaConf.select(filled, results) == 30
    with caplog.at_level(logging.INFO):
        log_data(filled)
    assert f"{results}=30, as many results as there can be: {queries}=30 times 1 classes" in caplog.text
    read_data(filled, to_train=True)
    contradiction = applied(recipe, *typed, f"{results}=31")
    with pytest.raises(
        RecipeError, match=f"{results}=31 is more than {queries}=30 times .*set {results}=30, or {queries}=31"
    ):
        read_data(contradiction, to_train=True)
    own = OmegaConf.select(recipe_named(recipe), results)
    assert OmegaConf.select(applied(recipe, *typed[:2], f"{queries}=500"), results) == own


def test_boxes_alone_are_refused_by_a_recipe_for_masks_in_one_line(boxes):
    with pytest.raises(RecipeError) as error:
        applied("mask_rcnn_focalnet_mini_coco", f"data={boxes}")
    message = str(error.value)
    assert message.startswith("This recipe learns from objects with masks, but ")
    assert f"{boxes} holds boxes without masks (coco:" in message
    assert "take a recipe such as atss_focalnet_mini_coco, dino_focalnet_mini_balloon" in message
    assert "mask" not in message.rpartition("such as")[2]


def test_files_that_cannot_be_used_are_named_where_the_recipe_needs_them(boxes):
    (boxes / "panoptic.json").write_text('{"images": [], "annotations": [{"segments_info": []}], "categories": []}')
    with pytest.raises(ValueError, match=r"panoptic.json"):
        applied(MASK2FORMER, f"data={boxes}")
    with pytest.raises(RecipeError, match="holds boxes without masks"):
        applied("mask_rcnn_focalnet_mini_coco", f"data={boxes}")
    assert applied(DINO, f"data={boxes}").model.num_classes == 2


@pytest.mark.parametrize(
    ("recipe", "folder", "message"),
    [
        ("classifier_focalnet_mini_folder", "boxes", "learns from a class for every image, but .*boxes without masks"),
        (DINO, "semantic", "from objects with boxes, but .* holds a class for every pixel .*such as mask2former"),
        (DINO, "classes", "such as classifier_focalnet_mini_folder"),
    ],
)
def test_other_pairs_that_cannot_be_name_recipes_that_can(recipe, folder, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        applied(recipe, f"data={WRITERS[folder](tmp_path / 'data')}")


def test_what_lacks_is_said(tmp_path, boxes):
    with pytest.raises(RecipeError, match="data.drop is about a folder of data: name it, too"):
        applied(DINO, "data.drop=[cat]")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        applied(DINO, f"data={tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="name 'Cat', but .* did you mean 'cat'?"):
        applied(DINO, f"data={boxes}", "data.drop=[Cat]")
    shutil.rmtree(boxes / "train")
    with pytest.raises(RecipeError, match="no training part, only val: .* or add --eval-only"):
        applied(DINO, f"data={boxes}")
    assert applied(DINO, f"data={boxes}", evaluate_only=True).dataloader.test.dataset.names == "data_val"


def test_what_was_found_is_kept_and_not_looked_for_again(boxes, request):
    text = recipe_to_yaml(applied(DINO, f"data={boxes}", "data.drop=[cat]", "dataloader.evaluator.max_dets=7"))
    DatasetCatalog.remove("data_train")
    request.getfixturevalue("no_look")
    again = applied(recipe_from_yaml(text), "train.max_iter=3")
    assert len(load_dataset("data_train")) == 4
    assert (again.model.num_classes, again.dataloader.evaluator.max_dets) == (1, 7)
    assert recipe_to_yaml(applied(recipe_from_yaml(text))) == text
    other_classes = applied(recipe_from_yaml(text), "data.drop=[]")
    assert other_classes.model.num_classes == 2
    for looked_for in ("data.val=train", "data.found=null"):
        with pytest.raises(AssertionError, match="looked at again"):
            applied(recipe_from_yaml(text), looked_for)


def test_the_test_part_is_scored_where_it_is_named(tmp_path):
    root = write_boxes(tmp_path / "data", parts=("train", "val", "test"))
    text = recipe_to_yaml(applied(DINO, f"data={root}", "data.test=test"))
    assert recipe_from_yaml(text).dataloader.test.dataset.names == "data_val"
    assert applied(recipe_from_yaml(text), evaluate_only=True).dataloader.test.dataset.names == "data_test"
    assert applied(DINO, f"data={root}", evaluate_only=True).dataloader.test.dataset.names == "data_val"


@pytest.fixture
def split(tmp_path):
    """A recipe whose data have no validation part, and the folder with its lists."""
    recipe = applied(DINO, f"data={write_boxes(tmp_path / 'data', parts=('train',), count=10)}", "data.split_seed=3")
    (tmp_path / "run").mkdir()
    write_split(recipe, tmp_path / "run")
    (tmp_path / "run" / "recipe.yaml").write_text(recipe_to_yaml(recipe))
    return recipe, tmp_path / "run"


def names_of(dataset: str) -> list[str]:
    return sorted(os.path.basename(image["file_name"]) for image in load_dataset(dataset))


def test_a_split_is_written_into_the_run_folder_which_may_move(split):
    _, folder = split
    train, val = names_of("data_train"), names_of("data_val")
    assert (len(train), len(val), len({*train, *val})) == (8, 2, 10)
    assert sorted((folder / "val_images.txt").read_text().split()) == val
    (folder / "val_images.txt").write_text(f"{val[0]}\n")  # to see that the list is what counts
    moved = folder.rename(folder.with_name("moved"))
    again = applied(source_of(moved / "recipe.yaml"))
    assert names_of("data_val") == val[:1]
    other = folder.with_name("other")
    write_split(again, other)  # a run by that recipe in a folder of its own does not need the first one
    assert again.data.found.parts.val.image_list == str(other / "val_images.txt")
    assert (other / "val_images.txt").read_text() == f"{val[0]}\n"


def test_a_resumed_run_goes_on_with_what_it_found(split, caplog, request):
    recipe, folder = split
    earlier = read_settings(folder / "recipe.yaml")
    root = recipe.data.root
    with caplog.at_level(logging.WARNING):
        warn_of_changed_folder(recipe)
    assert not caplog.text
    shutil.copy(f"{root}/train/train_0.png", f"{root}/train/added.png")
    again = applied(source_of(folder / "recipe.yaml"))  # as it is resumed from the run's own recipe
    with caplog.at_level(logging.WARNING):
        warn_of_changed_folder(again)
    assert "has 11 image files now, and was" in caplog.text
    caplog.clear()
    shutil.copytree(f"{root}/train", f"{root}/valid")
    with caplog.at_level(logging.WARNING):
        warn_of_changed_folder(recipe)
    assert "differs from what the run found at its first start, with which it goes on" in caplog.text
    request.getfixturevalue("no_look")
    for typed in ([f"data={root}", "data.split_seed=3"], []):
        again = applied(DINO, *typed, earlier=earlier)
        assert data_settings(again) == earlier
        assert again.model.num_classes == 2
    with pytest.raises(AssertionError, match="looked at again"):
        applied(DINO, f"data={root}", "data.split_seed=4", earlier=earlier)


def test_what_was_recognized_is_said(tmp_path, caplog):
    recipe = applied(MASK2FORMER, f"data={write_panoptic(tmp_path / 'data')}", "data.rename={traffic light:lamp}")
    with caplog.at_level(logging.INFO):
        log_data(recipe)
        log_data(recipe_named(DINO))
    (record,) = caplog.records
    text = record.getMessage()
    assert "is read as coco-panoptic, panoptic: " in text
    assert "4 images" in text
    assert "classes: 0 cat (id 4), 1 lamp (id 9), 2 road (id 1), 3 sky (id 20)" in text
    assert "PanopticMapper, model.num_classes=4, scored by PanopticEvaluator, DetectionEvaluator" in text


def test_more_objects_than_a_recipe_can_find_are_one_warning(boxes, caplog):
    settings = ("model.query_selection.num_queries=1", "dataloader.evaluator.max_dets=1")
    with caplog.at_level(logging.WARNING, logger="focalnet_d2.engine.object_counts"):
        read_data(applied(DINO, f"data={boxes}"), to_train=True)
        assert not caplog.records
        read_data(applied(DINO, f"data={boxes}", *settings), to_train=True)
    (record,) = caplog.records
    assert ".png has 2 objects" in record.getMessage()
    wanted = "set model.query_selection.num_queries=2 (now 1), dataloader.evaluator.max_dets=2 (now 1)."
    assert record.getMessage().endswith(wanted)


def test_a_log_says_what_became_of_classes_and_which_part_is_scored(tmp_path, split, caplog):
    def said(recipe):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            log_data(recipe)
        return caplog.text

    root = write_panoptic(tmp_path / "panoptic", ("train", "val", "test"))
    changes = ("data.rename={cat:tiger}", "data.merge={ground:[road,sky]}", "data.drop=[traffic light]")
    text = said(applied(MASK2FORMER, f"data={root}", *changes, "data.test=test"))
    assert "changed classes: cat is called tiger, road, sky are one class, ground, traffic light is left out" in text
    assert "the part that is scored: val; test is scored by focalnet-d2 evaluate" in text
    assert "is scored: test" in said(applied(MASK2FORMER, f"data={root}", "data.test=test", evaluate_only=True))
    assert "is scored" not in said(applied(MASK2FORMER, f"data={root}"))
    recipe, _ = split
    assert "val_images.txt lists" in said(recipe)
    assert "drawn" not in caplog.text
    assert "drawn with the seed 3" in said(applied(DINO, f"data={recipe.data.root}", "data.split_seed=3"))


def test_faults_of_the_data_of_a_folder_name_the_command_that_lists_all(boxes):
    file = boxes / "val/_annotations.coco.json"
    file.write_text(file.read_text().replace("[4, 6, 20, 30]", '[4, 6, "wide", 30]', 1))
    recipe = applied(DINO, f"data={boxes}")
    ending = rf"`focalnet-d2 check-data {boxes}` lists all faults, and --fix mends a copy\.$"
    with pytest.raises(RecipeError, match=rf"_annotations.coco.json.* {ending}"):
        read_data(recipe, to_train=True)
    (boxes / "train/train_0.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"train_0.png.* {ending}"):
        read_data(applied(DINO, f"data={boxes}"), to_train=True)
    del recipe["data"]
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read_data(recipe, to_train=True)
    assert "check-data" not in str(error.value)


def test_registered_data_of_another_kind_name_recipes_that_learn_from_it(boxes, tmp_path):
    applied(DINO, f"data={boxes}")
    recipe = recipe_named(MASK2FORMER).copy()
    for loader in ("train", "test"):
        recipe.dataloader[loader].dataset = {**recipe.dataloader[loader].dataset, "names": f"data_{loader}"}
    recipe.dataloader.test.dataset.names = "data_val"
    applied("upernet_focalnet_mini_ade20k", f"data={write_semantic(tmp_path / 'semantic')}")
    message = "learns from panoptic segments, but the data set data_train holds a class for every pixel: take a recipe"
    with pytest.raises(RecipeError, match=message) as error:
        read_data(recipe, to_train=True)
    advised = str(error.value).rpartition("such as ")[2].split(", ")[0]
    assert uses_of(mapper_class(recipe_named(advised)))[0].kind == "semantic"


def test_no_validation_image_is_refused_with_what_else_can_be_done(split):
    root = split[0].data.root
    with pytest.raises(ValueError, match=r"data.val_share=0 leaves no image to score.* as data.train and data.val"):
        read_data(applied(DINO, f"data={root}", "data.val_share=0"), to_train=True)
    both = applied(DINO, f"data={root}", "data.val_share=0", "data.train=train", "data.val=train")
    data = read_data(both, to_train=True)
    assert (len(data.train), len(data.test)) == (10, 10)


def test_crowds_and_stuff_are_no_objects():
    thing, stuff, crowd = ({"isthing": flag, "iscrowd": crowd} for flag, crowd in ((True, 0), (False, 0), (True, 1)))
    panoptic = [{"segments_info": [thing, stuff, crowd]}, {"segments_info": []}]
    assert object_counts(panoptic).tolist() == [[2, 1], [0, 0]]
    boxes = [{"annotations": [{}, {"iscrowd": 1}, {"iscrowd": 0}]}, {"sem_seg_file_name": "a.png"}]
    assert object_counts(boxes).tolist() == [[2, 2], [0, 0]]


def test_a_recipe_is_executed_once_in_a_process(boxes, tmp_path):
    recipe, counter = tmp_path / "counts.py", tmp_path / "count"
    shipped = (("data.coco_detection", "dataloader"), ("models.dino_mini", "model"), ("optim", "adamw as optimizer"),
               ("schedules", "drop_at_80_percent as lr_multiplier"), ("train", "train"))  # fmt: skip
    imports = [f"from focalnet_d2.configs.common.{part} import {name}" for part, name in shipped]
    recipe.write_text("\n".join([*imports, f"open({str(counter)!r}, 'a').write('x')\n"]))
    job = Job(recipe, (f"data={boxes}", f"train.output_dir={tmp_path / 'run'}"))
    assert job.train_settings().device == "auto"
    assert job.read_recipe().model.num_classes == job.read_recipe().model.num_classes == 2
    assert counter.read_text() == "x"
    pickle.loads(pickle.dumps(job)).train_settings()  # in a process of its own
    assert counter.read_text() == "xx"
