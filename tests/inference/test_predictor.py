"""`Predictor`: from a checkpoint alone, one by one as in batches, and one sentence about what cannot be used."""

import numpy as np
import pytest
import torch
from detectron2.config import instantiate
from PIL import Image

import focalnet_d2
from focalnet_d2.checkpoint import checkpoint_metadata, read_checkpoint, save_weights
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe, recipe_to_yaml
from focalnet_d2.inference.prediction import Prediction
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.inference.tiles import TileSettings
from focalnet_d2.inference.trained import classes_of
from tests.inference.checkpoints import RECIPES, small_recipe, write

SIZES = ((40, 60), (60, 40), (40, 60), (50, 50), (40, 60))


@pytest.fixture(scope="module", params=RECIPES)
def checkpoint(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("run") / f"{request.param}.pth", small_recipe(request.param))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write(tmp_path_factory.mktemp("run") / "model_best.pth", small_recipe("dino"))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    draws = np.random.default_rng(0)
    return [draws.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


EXACT = ("class_ids", "panoptic_map", "semantic_map", "segments", "masks")


def assert_equal_to_rounding(found: Prediction, expected: Prediction) -> None:
    """To 1e-5 of each score, and for boxes of the size of the image, whose coordinates are shares of it."""
    assert found.size == expected.size
    for name in EXACT:
        one, other = getattr(found, name), getattr(expected, name)
        assert one is other is None or np.array_equal(np.asarray(one), np.asarray(other)), name
    for name, atol in (("boxes", 1e-5 * max(expected.size)), ("scores", 0.0), ("class_scores", 0.0)):
        one, other = getattr(found, name), getattr(expected, name)
        if other is None:
            assert one is None
        else:
            assert len(other)
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=atol, err_msg=name)


def test_batches_of_equal_and_of_different_sizes_equal_one_by_one(checkpoint, images):
    predictor = Predictor(checkpoint, device="cpu", threshold=0.0)
    expected = [predictor(image) for image in images]
    predictor.batch_size = 4
    together = predictor(images)
    assert len(together) == len(images)
    for found, alone in zip(together, expected, strict=True):
        assert_equal_to_rounding(found, alone)


def test_it_predicts_what_an_evaluation_does(checkpoint, images, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(images[0]).save(path)
    predictor = Predictor(checkpoint, device="cpu", threshold=0.0)
    mapper = instantiate(small_recipe(checkpoint.stem).dataloader.test.mapper)
    height, width = images[0].shape[:2]
    with torch.no_grad():
        (expected,) = predictor.model([mapper({"file_name": str(path), "height": height, "width": width})])
    found = predictor(path)
    assert found.path == path
    if "instances" in expected:
        np.testing.assert_allclose(found.scores, np.sort(expected["instances"].scores.numpy())[::-1])
    if "sem_seg" in expected:
        assert np.array_equal(found.semantic_map, expected["sem_seg"].argmax(0).numpy())
    if "panoptic_seg" in expected:
        assert np.array_equal(found.panoptic_map, expected["panoptic_seg"][0].numpy())
    if "scores" in expected:
        np.testing.assert_allclose(found.class_scores, expected["scores"].softmax(0).numpy())


def test_classes_are_those_of_the_file(detector, images):
    found = focalnet_d2.Predictor(detector, device="cpu", threshold=0.0)(images[0])
    assert found.category_ids == [1000 - 3 * index for index in found.class_ids.tolist()]
    assert found.names == [f"name {key}" for key in found.category_ids]


def test_files_folders_patterns_and_lists(detector, images, tmp_path):
    (tmp_path / "sub").mkdir()
    names = ["b.png", "a.png", "sub/c.png", "notes.txt"]
    for name, image in zip(names[:3], images):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    predictor = Predictor(detector, device="cpu")
    paths = [tmp_path / name for name in ("a.png", "b.png", "sub/c.png")]
    assert [one.path for one in predictor(tmp_path)] == paths
    assert [one.path for one in predictor(str(tmp_path / "*.png"))] == paths[:2]
    assert [one.path for one in predictor(paths[::-1])] == paths[::-1]
    assert predictor(str(paths[0])).path == paths[0]
    assert isinstance(predictor(paths[0].read_bytes()), Prediction)
    assert isinstance(predictor(torch.from_numpy(images[0]).permute(2, 0, 1)), Prediction)
    for missing in (tmp_path / "*.gif", tmp_path / "none.jpg"):
        with pytest.raises(FileNotFoundError, match=missing.name.replace("*", r"\*")):
            predictor(missing)
    with pytest.raises(ValueError, match=r"notes.txt cannot be read .it is no image"):
        predictor(tmp_path / "notes.txt")
    assert predictor([]) == []
    assert [one.path for one in predictor(path for path in paths)] == paths
    with pytest.raises(TypeError, match="A list is no image"):
        predictor([paths])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_image_that_cannot_be_used_does_not_stop_the_others(batch_size, detector, images, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    thin, too_few_tokens = (np.zeros((*size, 3), np.uint8) for size in ((1, 5000), (3, 500)))
    no_numbers = np.full((4, 4), np.nan)
    sources = [images[0], tmp_path / "notes.txt", images[1], no_numbers, tmp_path / "none.png", thin, too_few_tokens]
    found = list(Predictor(detector, device="cpu", batch_size=batch_size).attempts(iter(sources)))
    kinds = [Prediction, ValueError, Prediction, ValueError, FileNotFoundError, ValueError, ValueError]
    assert [type(one) for one in found] == kinds
    for error, words in ((found[1], "notes.txt"), (found[3], "NaN"), (found[5], "too thin"), (found[6], "(3, 500, 3)")):
        assert words in str(error)


def test_a_checkpoint_is_read_once(detector, monkeypatch):
    asked = []
    for module in ("focalnet_d2.inference.trained", "focalnet_d2.checkpoint.loading"):
        monkeypatch.setattr(f"{module}.read_checkpoint", lambda path: asked.append(path) or read_checkpoint(path))
    Predictor(detector, device="cpu")
    assert asked == [str(detector)]


def test_colors_arrive_in_the_order_of_the_model(detector, images):
    predictor = Predictor(detector, device="cpu", threshold=0.0)
    turned = Predictor(detector, device="cpu", threshold=0.0, channel_order="BGR")
    assert np.array_equal(predictor(images[0]).scores, turned(images[0][..., ::-1]).scores)
    assert not np.array_equal(predictor(images[0]).scores, turned(images[0]).scores)


def test_settings_of_the_recipe_can_be_changed(detector, images):
    narrow = ["dataloader.test.mapper.augmentations.0.short_edge_length=96", "train.amp=bf16"]
    changed = Predictor(detector, overrides=narrow, device="cpu", threshold=0.0)(images[0])
    assert changed.size == images[0].shape[:2]
    assert not np.array_equal(changed.scores, Predictor(detector, device="cpu", threshold=0.0)(images[0]).scores)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": ""}, r"model.pth holds no recipe: name the one .* recipe=NAME"),
        ({"recipe": "model: {"}, r"The recipe in .*model.pth is not readable as YAML"),
        ({"recipe": "model: {}"}, r"Recipe in .*model.pth lacks dataloader"),
        ({"metadata": {"format": "focalnet_d2", "classes": [[1, "cat"]]}}, r"model.pth has a class list that cannot"),
        ({"metadata": {"classes": [[1, "a", True, [0, 0, 0]]]}}, r"model.pth lists 1 classes, but its model has 8"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(changes, message, tmp_path):
    path = write(tmp_path / "model.pth", small_recipe("dino"), **changes)
    with pytest.raises(ValueError, match=message):
        Predictor(path, device="cpu")


def test_a_recipe_that_builds_anything_else_is_refused(tmp_path):
    recipe = small_recipe("dino")
    recipe.model.backbone = {"_target_": "os.system", "command": f"touch {tmp_path / 'run'}"}
    text = recipe_to_yaml(recipe)
    path = write(tmp_path / "model.pth", small_recipe("dino"), recipe=text)
    with pytest.raises(RecipeError, match=r"recipe in .*model.pth builds os.system"):
        Predictor(path, device="cpu")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = instantiate(small_recipe("dino").model)
    state = model.state_dict()
    next(iter(state.values())).fill_(float("nan"))
    path = write(tmp_path / "model.pth", small_recipe("dino"), model=state)
    with pytest.raises(ValueError, match=r"model.pth holds NaN or infinite weights"):
        Predictor(path, device="cpu")


def test_a_file_without_a_recipe_takes_one(tmp_path, images):
    model = instantiate(load_recipe(RECIPES["dino"]).model)
    names = [f"name {index}" for index in range(8)]
    save_weights(tmp_path / "weights.safetensors", model, checkpoint_metadata(model, names))
    small = ["dataloader.test.mapper.augmentations.0.short_edge_length=64"]
    predictor = Predictor(tmp_path / "weights.safetensors", RECIPES["dino"], overrides=small, device="cpu")
    assert predictor.classes.names == names
    assert predictor(images[0]).size == images[0].shape[:2]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(None, ["person", 1, "toothbrush", 90]), ([f"n{index}" for index in range(80)], ["n0", 0, "n79", 79])],
)
def test_a_file_without_a_class_list_has_its_own_names_or_those_of_the_data_set(names, expected):
    content = {"metadata": {"thing_classes": names}}
    classes = classes_of(content, load_recipe(RECIPES["mask_rcnn"]), 80, "model.pth").classes
    assert [classes[0].name, classes[0].dataset_id, classes[79].name, classes[79].dataset_id] == expected


@pytest.mark.parametrize("options", [{"threshold": 1.5}, {"batch_size": 0}])
def test_options_out_of_range_are_refused(detector, options):
    with pytest.raises(ValueError, match="must be"):
        Predictor(detector, device="cpu", **options)


def test_a_mapper_that_takes_no_image_alone_is_refused(tmp_path):
    recipe = apply_overrides(small_recipe("dino"), [])
    recipe.dataloader.test.mapper = {"_target_": "detectron2.data.MapDataset", "dataset": [], "map_func": None}
    path = write(tmp_path / "model.pth", recipe)
    with pytest.raises(RecipeError, match="MapDataset, which has no image_tensor"):
        Predictor(path, device="cpu")


def test_tiles_are_for_images_of_more_pixels_than_pillow_decodes(detector, images, tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.fromarray(images[0]).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 2000 and more are refused
    with pytest.raises(ValueError, match=r"large.png has more than 2000 pixels: .* predict it by tiles"):
        Predictor(detector, device="cpu")(path)
    assert Predictor(detector, device="cpu", tiles=TileSettings(50))(path).size == (40, 60)
    assert Image.MAX_IMAGE_PIXELS == 1000
