"""What the inspection of a file says, beside the published layouts of test_layout_matrix.py."""

import pytest
import torch

from focalnet_d2.checkpoint import checkpoint_metadata, read_checkpoint, save_weights
from focalnet_d2.commands import inspect as command
from focalnet_d2.model_zoo import inspection
from focalnet_d2.model_zoo.inspection import inspect_checkpoint
from tests.checkpoint import published_layouts as published
from tests.checkpoint.building import tiny_focalnet
from tests.recipes import meta_model, recipe_named


@pytest.fixture(autouse=True, scope="module")
def shared_models():
    """The inspection uses the models that the other tests build."""
    patch = pytest.MonkeyPatch()
    patch.setattr(inspection, "_recipe", recipe_named)
    patch.setattr(inspection, "_meta_model", meta_model)
    yield
    patch.undo()


def file_of(recipe: str, path, **changes) -> None:
    """Our own file of a shipped small model, without training."""
    model = meta_model(recipe)
    state = {name: torch.zeros(value.shape) for name, value in model.state_dict().items()}
    save_weights(path, state, {**checkpoint_metadata(model, ["a", "b"]), **changes})


# Measured by building the published networks.
@pytest.mark.parametrize(
    ("layout", "shapes", "parameters"),
    [
        ("Microsoft classification", lambda: published.microsoft("tiny_srf", 1000), 28_427_116),
        ("timm", lambda: published.timm("large_fl3", 21842), 239_134_898),
        ("mmdetection", lambda: published.mask_rcnn("tiny_srf"), 48_675_252),
        ("mmdetection", lambda: published.cascade_mask_rcnn("tiny_srf"), 86_416_758),
        ("mmdetection", lambda: published.atss("tiny_lrf"), 37_209_066),
        ("mmdetection", lambda: published.sparse_rcnn("tiny_lrf"), 111_215_864),
        ("mmsegmentation", lambda: published.upernet("base_srf"), 123_681_012),
        ("FocalNet-DINO", lambda: published.dino("focalnet_dino", "large_fl4", 5, 91), 228_122_422),
        ("detrex", lambda: published.dino("detrex", "tiny_lrf", 4, 80), 48_552_924),
        ("Mask2Former", lambda: published.mask2former("large_fl3", 133, 200), 225_900_838),
    ],
)
def test_parameters_are_counted_once_and_running_means_not(layout, shapes, parameters):
    found = inspect_checkpoint(published.published_file(layout, shapes()))
    assert found.parameters == parameters
    assert f"{parameters:,} in" in str(found)


def test_all_that_is_found_stands_in_the_text():
    content = published.published_file("FocalNet-DINO", published.dino("focalnet_dino", "large_fl4", 5, 91))
    found = inspect_checkpoint({**content, "ema_model": {}})
    text = " ".join(str(found).split())
    assert found.class_counts == [91, 80]
    assert found.backbone.focal_levels == (4, 4, 4, 4)
    for words in (
        "family DINO",
        "layout FocalNet-DINO",
        "holds FocalNet-L, 4 focal levels, focal windows 3, 5 feature scales",
        "in 869 tensors",
        "has averaged weights too (ema_model)",
        "91 rows, also for models of 80 classes: person, bicycle, car and 77 more",
        "model.position_embedding.temperature=20",
        "model.backbone.bottom_up.normalize_modulator=True",
        "model.backbone.bottom_up.stem_padding=2",
        "fits dino_focalnet_large_fl4_5scale_12ep",
        "mask2former_focalnet_large_fl4_coco_panoptic",
    ):
        assert words in text
    assert "but not" not in text


def test_settings_that_no_source_settles_are_said_to_be_open():
    content = published.published_file("Microsoft classification", published.microsoft("xlarge_fl4", 21842))
    text = " ".join(str(inspect_checkpoint(content)).split())
    assert "normalize_modulator=? (published sources disagree)" in text


def test_a_file_that_fits_nothing_says_why():
    content = published.published_file("FocalNet-DINO", published.dino("focalnet_dino", "large_fl4", 4, 91))
    found = inspect_checkpoint(content)
    assert not found.fits
    reason = found.refused["dino_focalnet_large_fl4_5scale_12ep"]
    assert reason.startswith("does not fit the model: it holds 4 feature scales")
    assert "fits no shipped recipe" in " ".join(str(found).split())
    assert reason[:50] in " ".join(str(found).split())


def test_what_can_start_from_a_file_has_its_backbone():
    found = inspect_checkpoint(published.published_file("timm", published.timm("tiny_lrf", 1000)))
    assert found.fits == ["classifier_focalnet_tiny_lrf"]
    assert {"mask_rcnn_focalnet_tiny_lrf_1x", "upernet_focalnet_tiny_lrf"} <= set(found.starts)
    assert {"mask2former_focalnet_tiny_lrf_ade20k_semantic", "atss_focalnet_tiny_lrf_3x"} <= set(found.starts)
    assert all("_tiny_lrf" in name for name in found.starts)


def test_fewer_focal_levels_can_start_more():
    found = inspect_checkpoint(published.published_file("timm", published.timm("tiny_srf", 1000)))
    assert {"mask_rcnn_focalnet_tiny_srf_1x", "mask_rcnn_focalnet_tiny_lrf_1x"} <= set(found.starts)


@pytest.mark.parametrize(
    ("recipe", "family"),
    [
        ("mask_rcnn_focalnet_mini_coco", "Mask R-CNN"),
        ("cascade_mask_rcnn_focalnet_mini_coco", "Cascade Mask R-CNN"),
        ("atss_focalnet_mini_coco", "ATSS"),
        ("sparse_rcnn_focalnet_mini_coco", "Sparse R-CNN"),
        ("upernet_focalnet_mini_ade20k", "UPerNet"),
        ("dino_focalnet_mini_coco", "DINO"),
        ("mask2former_focalnet_mini_coco", "Mask2Former"),
        ("classifier_focalnet_mini_folder", "classifier"),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_our_own_files_are_recognized_with_and_without_what_they_tell(recipe, family, told, tmp_path):
    path = tmp_path / "file.safetensors"
    file_of(recipe, path)
    if not told:
        save_weights(path, read_checkpoint(path)["model"])
    found = inspect_checkpoint(path)
    assert found.family == family
    assert recipe in found.fits
    known = [setting.value for setting in found.settings if setting.path.endswith("use_postln")]
    assert known == [False if told or found.layout == "mmsegmentation" else None]
    assert found.class_names == (["a", "b"] if told else found.class_names)


def test_only_the_header_of_safetensors_is_read(tmp_path):
    path = tmp_path / "file.safetensors"
    file_of("dino_focalnet_mini_coco", path)
    content = read_checkpoint(path, header_only=True)
    assert all(value.is_meta for value in content["model"].values())
    assert content["metadata"]["model"] == "DINO"
    assert content["model"].keys() == read_checkpoint(path)["model"].keys()


def test_a_backbone_alone_is_called_one():
    model = tiny_focalnet()
    found = inspect_checkpoint({"model": model.state_dict(), "metadata": checkpoint_metadata(model)})
    assert (found.family, found.layout, found.class_rows) == ("backbone", "FocalNet backbone", 0)
    assert found.parameters == sum(value.numel() for value in model.parameters())
    assert "classes none" in " ".join(str(found).split())


def test_an_unknown_model_with_a_focalnet_is_called_so():
    state = {f"backbone.bottom_up.{name}": value for name, value in tiny_focalnet().state_dict().items()}
    found = inspect_checkpoint({"model": {**state, "head.weight": torch.ones(2)}})
    assert found.family == "an unknown model with a FocalNet"


def test_a_file_without_its_first_block_is_damaged():
    state = published.microsoft("tiny_srf", 1000)
    state = {name: shape for name, shape in state.items() if ".0.blocks.0.mlp" not in name}
    with pytest.raises(ValueError, match="the stem or the first block of its FocalNet is missing"):
        inspect_checkpoint(published.published_file("Microsoft classification", state))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path, capsys):
    assert command.main([str(tmp_path / "missing.pth")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
