"""Classifiers of Microsoft, transformers and timm: the whole of them, or their backbone; and our own files."""

import pytest
import torch
from torch import nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.checkpoint import check_checkpoint, load_checkpoint, save_weights
from focalnet_d2.modeling.classifier.checkpoint import LAYOUTS
from focalnet_d2.modeling.classifier.model import ImageClassifier
from tests.checkpoint.building import (
    LARGE_FLAGS,
    Detector,
    assert_same_state,
    classifier_state,
    own_file,
    snapshot,
    tiny_focalnet,
)

LARGE_FL4 = dict(LARGE_FLAGS, normalize_modulator=True, focal_levels=(4, 4, 4, 4))
HUGE = dict(LARGE_FLAGS, use_postln_in_modulation=True, focal_levels=(3, 3, 3, 3))
FLAG_SETS = pytest.mark.parametrize("flags", [{}, LARGE_FL4, HUGE], ids=("plain", "large_fl4", "huge"))
TINY = dict(embed_dim=8, depths=(1, 2, 1, 1), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 5, 3))


def classifier(seed=0, num_classes=6, **changes) -> ImageClassifier:
    torch.manual_seed(seed)
    model = ImageClassifier(FocalNet(**{**TINY, **changes}, out_features=("res5",)), num_classes=num_classes)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def random_weights(model: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def transformers_model(num_classes=6, **flags) -> nn.Module:
    """The library's own network with the flags of ours."""
    from transformers import FocalNetConfig, FocalNetForImageClassification

    sizes = {**TINY, **flags}
    config = FocalNetConfig(
        embed_dim=sizes["embed_dim"],
        hidden_sizes=[16, 32, 64, 64],
        depths=list(sizes["depths"]),
        focal_levels=list(sizes["focal_levels"]),
        focal_windows=list(sizes["focal_windows"]),
        use_conv_embed=sizes.get("use_conv_embed", False),
        use_layerscale=sizes.get("use_layerscale", False),
        use_post_layernorm=sizes.get("use_postln", False),
        use_post_layernorm_in_modulation=sizes.get("use_postln_in_modulation", False),
        normalize_modulator=sizes.get("normalize_modulator", False),
        num_labels=num_classes,
    )
    return random_weights(FocalNetForImageClassification(config))


def timm_model(num_classes=6, **flags) -> nn.Module:
    """The library's own network with the flags of ours."""
    from timm.models.focalnet import FocalNet as TimmFocalNet

    sizes = {**TINY, **flags}
    model = TimmFocalNet(
        num_classes=num_classes,
        embed_dim=sizes["embed_dim"],
        depths=sizes["depths"],
        focal_levels=sizes["focal_levels"],
        focal_windows=sizes["focal_windows"],
        use_overlap_down=sizes.get("use_conv_embed", False),
        use_post_norm=sizes.get("use_postln", False),
        use_post_norm_in_modulation=sizes.get("use_postln_in_modulation", False),
        normalize_modulator=sizes.get("normalize_modulator", False),
        layerscale_value=1e-4 if sizes.get("use_layerscale", False) else None,
    )
    return random_weights(model)


SOURCES = pytest.mark.parametrize(
    ("build", "layout"),
    [(transformers_model, "Hugging Face transformers"), (timm_model, "timm")],
    ids=("transformers", "timm"),
)


def library_state(model: ImageClassifier, layout: str) -> dict:
    """The library's file of this model: the key table turned round."""
    table = next(found for found in LAYOUTS if found.name == layout)
    tensors = dict(model.state_dict())
    table.restore(model, tensors, None)
    rules = [rule.inverse() for rule in table.rules(model, [])]
    return {next(rule.apply(name) for rule in rules if rule.matches(name)): value for name, value in tensors.items()}


def logits_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output = model.run_network(images) if isinstance(model, ImageClassifier) else model(images)
    return getattr(output, "logits", output)


# The libraries' own networks


@SOURCES
@FLAG_SETS
def test_logits_are_those_of_the_library(build, layout, flags):
    file, model = build(**flags), classifier(**flags)
    report = load_checkpoint(model, file.state_dict())
    assert report.layout == layout
    assert len(report.loaded) == len(file.state_dict()) == len(model.state_dict())
    assert (report.missing, report.skipped, report.resized) == ([], {}, {})
    images = torch.randn(2, 3, 64, 96)
    torch.testing.assert_close(logits_of(model, images), logits_of(file, images), atol=1e-5, rtol=1e-5)


@SOURCES
@FLAG_SETS
def test_the_library_takes_our_weights_by_the_same_table(build, layout, flags):
    """Every name and shape, turned round."""
    model, other = classifier(**flags), build(**flags)
    other.load_state_dict(library_state(model, layout))
    images = torch.randn(1, 3, 32, 64)
    torch.testing.assert_close(logits_of(other, images), logits_of(model, images), atol=1e-5, rtol=1e-5)


@SOURCES
def test_a_detector_takes_the_backbone_and_grows_its_kernels(build, layout):
    small = build()
    model = Detector(FocalNet(**{**TINY, "focal_windows": (5, 5, 7, 5)}))
    report = load_checkpoint(model, small.state_dict())
    assert report.layout == layout
    assert {name.rpartition(".")[0] for name in report.skipped} <= {
        "norm", "head.fc", "focalnet.layernorm", "classifier",
    }  # fmt: skip
    plain = classifier()
    load_checkpoint(plain, small.state_dict())
    focalnet = model.backbone.bottom_up.double()
    plain.backbone.double().norm3 = focalnet.norm3
    images = torch.randn(1, 3, 40, 56, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(focalnet(images)["res5"], plain.backbone(images)["res5"])


@SOURCES
def test_a_file_without_head_is_a_backbone(build, layout):
    state = build().state_dict()
    bare = {name: value for name, value in state.items() if not name.startswith(("head.fc", "classifier"))}
    report = load_checkpoint(classifier(), bare)
    assert report.layout == layout
    assert set(report.missing) == {"head.weight", "head.bias", "backbone.norm3.weight", "backbone.norm3.bias"}
    with pytest.raises(ValueError, match="holds only a part of the model"):
        load_checkpoint(classifier(), bare, complete=True)


@SOURCES
def test_other_sizes_are_refused_by_name(build, layout):
    with pytest.raises(ValueError, match=r"width 8, depths 1,2,1,1.*; the model has .*width 16"):
        load_checkpoint(classifier(embed_dim=16), build().state_dict())
    with pytest.raises(ValueError, match=r"holds 2 focal levels; the model has 3 focal levels"):
        load_checkpoint(classifier(focal_levels=(3, 3, 3, 3)), build().state_dict())


@SOURCES
@pytest.mark.parametrize("broken", ["an unknown name", "a missing one"])
def test_loading_is_strict(build, layout, broken):
    state, model = build().state_dict(), classifier()
    before = snapshot(model)
    if broken == "an unknown name":
        state["head.extra"] = torch.ones(2)
    else:
        state.pop(next(name for name in state if name.endswith("mlp.fc2.bias")))
    with pytest.raises(ValueError, match="1 (.*head.extra|.*mlp.fc2.bias)"):
        load_checkpoint(model, state)
    assert_same_state(snapshot(model), before)


def test_timm_shows_in_its_names_where_the_norms_stand():
    state = timm_model(**LARGE_FLAGS).state_dict()
    with pytest.raises(ValueError, match=r"names the model does not have: .*norm1_post\.weight"):
        load_checkpoint(classifier(**{**LARGE_FLAGS, "use_postln": False}), state)


# What no shape shows, at the published sizes


def meta_classifier(variant: str, num_classes: int = 21842, **changes) -> ImageClassifier:
    with torch.device("meta"):
        backbone = FocalNet(**{**FOCALNET_VARIANTS[variant], "out_features": ("res5",), **changes})
        return ImageClassifier(backbone, num_classes=num_classes)


@pytest.mark.parametrize("layout", ["Hugging Face transformers", "timm"])
@pytest.mark.parametrize("variant", ["tiny_lrf", "large_fl3", "large_fl4", "xlarge_fl4", "huge_fl4"])
def test_whether_large_fl4_normalizes_is_left_open(layout, variant):
    """Their networks of this size do not, the weights that they converted were trained with it."""
    model = meta_classifier(variant)
    report = check_checkpoint(model, library_state(model, layout))
    assert report.layout == layout
    assert bool(report.notes) == (variant in ("large_fl4", "xlarge_fl4"))
    if variant in ("large_fl3", "huge_fl4"):
        with pytest.raises(ValueError, match=r"set model\.backbone\.normalize_modulator=False"):
            check_checkpoint(meta_classifier(variant, normalize_modulator=True), library_state(model, layout))
        with pytest.raises(ValueError, match=r"set model\.backbone\.use_postln=True"):
            check_checkpoint(meta_classifier(variant, use_postln=False), library_state(model, layout))


# Microsoft's files and our own; classes


def microsoft_file(model: ImageClassifier) -> dict:
    names = {name: name.removeprefix("backbone.").replace("norm3.", "norm.") for name in model.state_dict()}
    return {"model": {names[name]: value for name, value in model.state_dict().items()}}


def test_microsofts_file_fills_all_of_a_classifier():
    file, model = classifier(seed=1), classifier(seed=2)
    report = load_checkpoint(model, microsoft_file(file), complete=True)
    assert report.layout == "Microsoft classification"
    assert_same_state(snapshot(model), snapshot(file))


def test_the_isotropic_network_has_its_last_norm_behind_the_only_stage():
    def build(seed):
        torch.manual_seed(seed)
        return ImageClassifier(FocalNet(**FOCALNET_VARIANTS["tiny_iso"] | {"embed_dim": 8}), num_classes=3)

    file, model = build(1), build(2)
    names = {name: name.removeprefix("backbone.").replace("norm0.", "norm.") for name in file.state_dict()}
    report = load_checkpoint(model, {names[name]: value for name, value in file.state_dict().items()})
    assert not report.missing
    assert_same_state(snapshot(model), snapshot(file))


def test_a_22k_head_gives_its_first_classes_to_imagenet_1k():
    file, model = classifier(seed=1, num_classes=21842), classifier(seed=2, num_classes=1000)
    report = load_checkpoint(model, microsoft_file(file))
    assert report.notes[-1] == "1000 of the file's 21842 class rows are taken"
    assert model.head.weight.equal(file.head.weight[:1000])


def test_another_number_of_classes_needs_new_classes():
    file, model = microsoft_file(classifier(seed=1)), classifier(seed=2, num_classes=4)
    with pytest.raises(ValueError, match=r"has 6 classes and the model 4: set model\.num_classes=6"):
        load_checkpoint(model, file)
    fresh = model.head.weight.clone()
    load_checkpoint(model, file, new_classes=True)
    assert model.head.weight.equal(fresh)
    assert model.backbone.norm3.weight.equal(file["model"]["norm.weight"])


def test_classes_of_our_own_files_are_taken_by_name(tmp_path):
    file = classifier(seed=1, num_classes=3)
    path = own_file(file, tmp_path, ["ant", "bee", "cat"])
    model = classifier(seed=2, num_classes=2)
    report = load_checkpoint(model, path, class_names=["cat", "ant"])
    assert report.layout == "focalnet_d2"
    assert model.head.weight.equal(file.head.weight[[2, 0]])


def test_our_own_file_is_restored_bit_by_bit_with_its_settings(tmp_path):
    file = classifier(seed=1, **LARGE_FL4)
    path, model = own_file(file, tmp_path), classifier(seed=2, **LARGE_FL4)
    assert load_checkpoint(model, path, complete=True).notes == []
    assert_same_state(snapshot(model), snapshot(file))
    with pytest.raises(ValueError, match=r"set model\.backbone\.normalize_modulator=True"):
        load_checkpoint(classifier(**{**LARGE_FL4, "normalize_modulator": False}), path)


def test_a_detector_starts_from_the_backbone_of_our_classifier(tmp_path):
    file, model = classifier(seed=1), Detector(FocalNet(**TINY))
    report = load_checkpoint(model, own_file(file, tmp_path), backbone_only=True)
    assert set(report.skipped) == {"head.weight", "head.bias"}
    assert model.backbone.bottom_up.norm3.weight.equal(file.backbone.norm3.weight)


def test_a_classifier_starts_from_a_backbone():
    backbone, model = tiny_focalnet(seed=4), classifier(depths=(1, 1, 2, 1), focal_windows=(3, 3, 3, 3))
    report = load_checkpoint(model, backbone.state_dict())
    assert report.layout == "FocalNet backbone"
    assert report.missing == ["head.weight", "head.bias"]
    assert "head.weight" in load_checkpoint(model, classifier_state(backbone, classes=6)).loaded


def test_files_of_half_precision_are_taken(tmp_path):
    file, model = timm_model().half(), classifier()
    save_weights(tmp_path / "timm.safetensors", file, {})
    load_checkpoint(model, tmp_path / "timm.safetensors")
    assert model.head.weight.dtype == torch.float32
    assert model.head.weight.equal(file.head.fc.weight.float())
