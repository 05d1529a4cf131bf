"""UPerNet checkpoints: mmsegmentation's files by their published names and shapes, and our own."""

import pytest
import torch
from torch import Tensor

from focalnet_d2.checkpoint import check_checkpoint, load_checkpoint
from focalnet_d2.data.datasets import ADE20K_CLASSES
from focalnet_d2.modeling.upernet.checkpoint import LAYOUTS
from tests.checkpoint.building import assert_same_state, classifier_state, on_meta, own_file, snapshot, tiny_focalnet
from tests.modeling.upernet.building import build_upernet
from tests.recipes import RECIPES, meta_model

PUBLISHED = [name for name in RECIPES if name.startswith("upernet_") and "_mini_" not in name]
CLASS_TENSORS = [f"{head}_head.conv_seg.{part}" for head in ("decode", "auxiliary") for part in ("weight", "bias")]


def backbone_shapes(dim: int, depths: tuple[int, ...], levels: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a FocalNet with windows of 9 and up, as mmsegmentation's files have them."""
    shapes = {"patch_embed.proj.weight": (dim, 3, 4, 4)}
    shapes |= dict.fromkeys(("patch_embed.proj.bias", "patch_embed.norm.weight", "patch_embed.norm.bias"), (dim,))
    for stage, depth in enumerate(depths):
        c = dim * 2**stage
        for block in range(depth):
            parts = {
                "modulation.f": (2 * c + levels + 1, c), "modulation.h": (c, c, 1, 1), "modulation.proj": (c, c),
                "mlp.fc1": (4 * c, c), "mlp.fc2": (c, 4 * c), "norm1": (c,), "norm2": (c,),
            }  # fmt: skip
            for part, shape in parts.items():
                prefix = f"layers.{stage}.blocks.{block}.{part}"
                shapes |= {f"{prefix}.weight": shape, f"{prefix}.bias": shape[:1]}
            for level in range(levels):
                kernel = 9 + 2 * level
                name = f"layers.{stage}.blocks.{block}.modulation.focal_layers.{level}.0.weight"
                shapes[name] = (c, 1, kernel, kernel)
        if stage < 3:
            shapes |= {f"layers.{stage}.downsample.proj.weight": (2 * c, c, 2, 2)}
            shapes |= {f"layers.{stage}.downsample.{p}": (2 * c,) for p in ("proj.bias", "norm.weight", "norm.bias")}
        shapes |= {f"norm{stage}.weight": (c,), f"norm{stage}.bias": (c,)}
    return {f"backbone.{name}": shape for name, shape in shapes.items()}


def head_shapes(dim: int, classes: int, width: int = 512, auxiliary: int = 256) -> dict[str, tuple[int, ...]]:
    """Names and shapes of both heads, as mmsegmentation's files have them."""
    c = [dim, 2 * dim, 4 * dim, 8 * dim]
    convolutions = {
        **{f"decode_head.psp_modules.{pool}.1": (width, c[3], 1, 1) for pool in range(4)},
        "decode_head.bottleneck": (width, c[3] + 4 * width, 3, 3),
        **{f"decode_head.lateral_convs.{level}": (width, c[level], 1, 1) for level in range(3)},
        **{f"decode_head.fpn_convs.{level}": (width, width, 3, 3) for level in range(3)},
        "decode_head.fpn_bottleneck": (width, 4 * width, 3, 3),
        "auxiliary_head.convs.0": (auxiliary, c[2], 3, 3),
    }
    shapes = {}
    for name, shape in convolutions.items():
        shapes |= {f"{name}.conv.weight": shape, f"{name}.bn.num_batches_tracked": ()}
        shapes |= {f"{name}.bn.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    for head, inside in (("decode_head", width), ("auxiliary_head", auxiliary)):
        shapes |= {f"{head}.conv_seg.weight": (classes, inside, 1, 1), f"{head}.conv_seg.bias": (classes,)}
    return shapes


def mmseg_shapes(dim=96, depths=(2, 2, 6, 2), levels=3, classes=150) -> dict[str, Tensor]:
    """A published file without values; T lrf unless said."""
    return on_meta({**backbone_shapes(dim, depths, levels), **head_shapes(dim, classes)})


def mmseg_file(model, **extra) -> dict:
    """What mmsegmentation would have saved, with random values."""
    torch.manual_seed(7)
    state = {
        name: torch.randn(value.shape) if value.is_floating_point() else torch.tensor(160_000)
        for name, value in model.state_dict().items()
    }
    return {"meta": {"CLASSES": ["wall"], "PALETTE": [[1, 2, 3]]}, "state_dict": {**state, **extra}, "optimizer": {}}


# Published names


def test_the_published_file_of_the_tiny_model_has_310_names():
    assert len(mmseg_shapes()) == 310


SIZES = {"tiny": (96, (2, 2, 6, 2)), "small": (96, (2, 2, 18, 2)), "base": (128, (2, 2, 18, 2))}
DEEPER = {"tiny": (64, (3, 3, 16, 3)), "small": (64, (4, 4, 28, 4)), "base": (96, (4, 4, 28, 4))}


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_of_all_sizes_fill_their_models(name):
    size = name.split("_")[2]
    dim, depths = (DEEPER if "deeper" in name else SIZES)[size]
    file = mmseg_shapes(dim, depths, 3 if "lrf" in name else 2)
    report = check_checkpoint(meta_model(name), {"state_dict": file})
    assert report.layout == "mmsegmentation"
    assert (report.missing, report.skipped, report.resized, report.notes) == ([], {}, {}, [])
    assert sorted(report.loaded) == sorted(file)


def test_values_arrive_unchanged():
    model = build_upernet(150, seed=1)
    file = mmseg_file(model)
    report = load_checkpoint(model, file, class_names=list(ADE20K_CLASSES), complete=True)
    assert (report.layout, report.notes) == ("mmsegmentation", [])
    assert_same_state(snapshot(model), file["state_dict"])


def test_names_of_distributed_training():
    model = build_upernet(150)
    file = mmseg_file(model)["state_dict"]
    load_checkpoint(model, {f"module.{name}": value for name, value in file.items()})
    assert_same_state(snapshot(model), file)


# Refusals


@pytest.mark.parametrize(
    ("file", "cause"),
    [
        (dict(levels=2), ["it holds 2 focal levels", "the model has 3 focal levels"]),
        (dict(depths=(2, 2, 18, 2)), ["it holds FocalNet-S", "the model has FocalNet-T"]),
        (dict(dim=128, depths=(2, 2, 18, 2)), ["it holds FocalNet-B", "the model has FocalNet-T"]),
        (dict(classes=171), ["has 171 classes and the model 150", "model.num_classes=171", "train.new_classes=True"]),
    ],
)
def test_a_mismatch_is_named_by_its_cause(file, cause):
    with pytest.raises(ValueError, match="The checkpoint") as error:
        check_checkpoint(meta_model("upernet_focalnet_tiny_lrf"), {"state_dict": mmseg_shapes(**file)})
    assert all(part in str(error.value) for part in cause), str(error.value)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (dict(dim=4), r"holds width 8; the model has width 4 \(to fit the file: model\.decode_head\.dim=8\)"),
        (dict(pool_sizes=(1, 2)), "holds 4 sizes of pooling; the model has 2 sizes of pooling"),
        (dict(use_postln=True), r"set model\.backbone\.use_postln=False"),
        (dict(focal_windows=(5, 5, 5, 5)), "holds focal windows 3; the model has focal windows 5"),
    ],
)
def test_another_model_is_refused(change, cause):
    model = build_upernet(150, **change)
    before = snapshot(model)
    with pytest.raises(ValueError, match=cause):
        load_checkpoint(model, mmseg_file(build_upernet(150)))
    assert_same_state(snapshot(model), before)


def test_names_too_many_and_too_few_are_named():
    model = build_upernet(150)
    with pytest.raises(ValueError, match=r"names the model does not have: 1 \(decode_head\.psp_modules\.0\.0\.weight"):
        load_checkpoint(model, mmseg_file(model, **{"decode_head.psp_modules.0.0.weight": torch.ones(1)}))
    file = mmseg_file(model)
    del file["state_dict"]["auxiliary_head.convs.0.bn.running_var"]
    with pytest.raises(ValueError, match=r"missing in the file: 1 \(auxiliary_head\.convs\.0\.bn\.running_var\)"):
        load_checkpoint(model, file)


# Classes


def test_other_classes_take_the_rows_of_common_names():
    model = build_upernet(3, seed=2)
    before, file = snapshot(model), mmseg_file(build_upernet(150))
    names = ["rabbit", ADE20K_CLASSES[12], ADE20K_CLASSES[0]]
    with pytest.raises(ValueError, match=r"has 150 classes and the model 3"):
        load_checkpoint(model, file, class_names=names)
    report = load_checkpoint(model, file, class_names=names, new_classes=True)
    assert f"classes taken from the file by name: 2 ({names[1]}, {names[2]}), new ones: 1 (rabbit)" in report.notes
    for name in CLASS_TENSORS:
        value, theirs = model.state_dict()[name], file["state_dict"][name]
        assert torch.equal(value, torch.stack([before[name][0], theirs[12], theirs[0]]))
    assert torch.equal(
        model.decode_head.fpn_bottleneck.conv.weight, file["state_dict"]["decode_head.fpn_bottleneck.conv.weight"]
    )


def test_unknown_class_lists_leave_all_rows_fresh():
    model = build_upernet(3, seed=2)
    before = snapshot(model)
    report = load_checkpoint(model, mmseg_file(build_upernet(5)), new_classes=True)
    assert "all 3 classes are new" in report.notes
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in CLASS_TENSORS)


# Our own files, and backbones


def test_own_files_come_back_whole_and_follow_the_class_names(tmp_path):
    file, model = build_upernet(3, seed=1), build_upernet(3, seed=2)
    path = own_file(file, tmp_path, ["a", "b", "c"])
    report = load_checkpoint(model, path, class_names=["a", "b", "c"], complete=True)
    assert_same_state(snapshot(model), snapshot(file))
    assert (report.missing, report.skipped, report.resized, report.notes) == ([], {}, {}, [])
    load_checkpoint(model, path, class_names=["c", "a", "b"])
    assert torch.equal(model.auxiliary_head.conv_seg.bias, file.auxiliary_head.conv_seg.bias[[2, 0, 1]])


def test_own_files_note_the_flags_of_the_backbone(tmp_path):
    path = own_file(build_upernet(use_postln=True), tmp_path)
    with pytest.raises(ValueError, match=r"set model\.backbone\.use_postln=True"):
        load_checkpoint(build_upernet(), path)
    assert load_checkpoint(build_upernet(use_postln=True), path).notes == []


def test_a_classifier_fills_the_backbone_with_windows_that_grow():
    classifier = tiny_focalnet(depths=(1, 1, 1, 1), focal_levels=(1, 1, 1, 1))
    model = build_upernet(focal_windows=(9, 9, 9, 9))
    report = load_checkpoint(model, {"model": classifier_state(classifier)})
    kernel = "layers.0.blocks.0.modulation.focal_layers.0.0.weight"
    grown = model.backbone.state_dict()[kernel]
    assert torch.equal(grown[..., 3:6, 3:6], classifier.state_dict()[kernel])
    assert grown.count_nonzero() == classifier.state_dict()[kernel].count_nonzero()
    assert {name.split(".")[0] for name in report.missing} == {"backbone", "decode_head", "auxiliary_head"}
    assert [name for name in report.missing if name.startswith("backbone")] == [
        f"backbone.norm{stage}.{part}" for stage in range(4) for part in ("weight", "bias")
    ]


def test_the_model_offers_its_layouts():
    assert build_upernet().layouts is LAYOUTS
