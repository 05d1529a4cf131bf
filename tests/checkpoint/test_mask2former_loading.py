"""Mask2Former checkpoints: official files in all their forms, and our own; what fits and what is refused."""

import pickle
from collections import OrderedDict

import pytest
import torch
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from focalnet_d2.checkpoint import check_checkpoint, load_checkpoint
from focalnet_d2.data.datasets import ADE20K_CLASSES, ADE20K_THING_IDS
from mask2former.checkpoint import LAYOUTS
from tests.checkpoint.building import assert_same_state, own_file, snapshot
from tests.checkpoint.mask2former_files import (  # fmt: skip
    CASE,
    FOUR_LEVELS,
    HEAD,
    PANOPTIC,
    SEMANTIC,
    case_model,
    meta_mask2former,
    official_shapes,
    small_mask2former,
    small_official,
)
from tests.golden.mask2former_cases import official_names_of_parameters

COCO = [category["name"] for category in COCO_CATEGORIES]


@pytest.fixture
def official() -> dict:
    return small_official()


@pytest.fixture(scope="module")
def names() -> dict:
    """Official name -> our name."""
    return official_names_of_parameters(CASE, case_model())


def with_class_rows(state: dict, num_classes: int) -> dict:
    """The official file with random class rows of another number of classes."""
    dim = state[f"{HEAD}class_embed.weight"].shape[1]
    rows = {"weight": torch.randn(num_classes + 1, dim), "bias": torch.randn(num_classes + 1)}
    return {**state, **{f"{HEAD}class_embed.{part}": value for part, value in rows.items()}}


# Forms of the official files


def assert_loads(content, official: dict, names: dict, path=None):
    """The content fills every parameter with the official value."""
    model = case_model()
    report = load_checkpoint(model, content if path is None else path)
    assert not report.missing
    state = model.state_dict()
    for theirs, ours in names.items():
        assert state[ours].equal(official[theirs]), ours
    assert set(names.values()) == set(state)
    return report


def test_values_arrive(official, names):
    report = assert_loads({"model": official}, official, names)
    assert report.layout == "Mask2Former"
    assert set(report.skipped) == {"criterion.empty_weight"}
    expected = {
        "backbone.norm0.weight": "backbone.norm0.weight",
        "sem_seg_head.pixel_decoder.transformer.level_embed": "pixel_decoder.level_embed",
        "sem_seg_head.pixel_decoder.adapter_1.norm.bias": "pixel_decoder.lateral.norm.bias",
        "sem_seg_head.pixel_decoder.layer_1.weight": "pixel_decoder.smooth.weight",
        f"{HEAD}transformer_cross_attention_layers.2.norm.weight": "decoder.layers.2.cross_norm.weight",
        f"{HEAD}transformer_self_attention_layers.2.norm.weight": "decoder.layers.2.self_norm.weight",
        f"{HEAD}transformer_ffn_layers.2.norm.weight": "decoder.layers.2.ffn_norm.weight",
        f"{HEAD}query_feat.weight": "decoder.query_feat.weight",
        f"{HEAD}query_embed.weight": "decoder.query_embed.weight",
        f"{HEAD}level_embed.weight": "decoder.level_embed.weight",
    }
    assert expected.items() <= names.items()


@pytest.mark.parametrize("version", [None, 1, 2])
def test_a_trainer_file_with_and_without_versions(official, names, tmp_path, version):
    weights = OrderedDict(official)
    if version is not None:
        weights._metadata = OrderedDict({"": {"version": 1}, "sem_seg_head.predictor": {"version": version}})
    extra = {"optimizer": {"state": {}, "param_groups": []}, "scheduler": {"last_epoch": 5}, "iteration": 4}
    torch.save({"model": weights, **extra}, tmp_path / "model_final.pth")
    assert_loads(None, official, names, tmp_path / "model_final.pth")


@pytest.mark.parametrize("heuristics", [{}, {"matching_heuristics": True}])
def test_the_pickles_of_the_model_zoo(official, names, tmp_path, heuristics):
    arrays = {name: value.numpy() for name, value in official.items()}
    path = tmp_path / "model_final_0123ab.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "MaskFormer", **heuristics}))
    assert_loads(None, official, names, path)


def test_names_of_distributed_training(official, names):
    assert_loads({f"module.{name}": value for name, value in official.items()}, official, names)


@pytest.mark.parametrize("extra", [{}, {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}])
def test_constants_may_be_there_or_not(official, names, extra):
    weights = {name: value for name, value in official.items() if name != "criterion.empty_weight"} | extra
    assert set(assert_loads(weights, official, names).skipped) == set(extra)


def old_names(official: dict) -> dict:
    """The same weights as saved before version 2."""
    renamed = {name.replace("query_feat", "static_query"): value for name, value in official.items()}
    return {name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head."): value for name, value in renamed.items()}


def test_old_names(official, names):
    old = old_names(official)
    assert f"{HEAD}static_query.weight" in old
    assert "sem_seg_head.transformer.level_embed" in old
    assert_loads({"model": old}, official, names)


def test_old_and_new_names_together_are_refused_unless_they_agree(official, names):
    both = {**official, f"{HEAD}static_query.weight": official[f"{HEAD}query_feat.weight"].clone()}
    assert_loads(both, official, names)
    both[f"{HEAD}static_query.weight"] += 1
    with pytest.raises(ValueError, match=r"different values under \S+query_feat\S+ and \S+static_query\S+.*keep one"):
        load_checkpoint(case_model(), both)


def test_a_name_too_many_and_one_too_few_are_named(official):
    model = case_model()
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"names the model does not have: 1 \(sem_seg_head\.predictor\.input_proj"):
        load_checkpoint(model, {**official, f"{HEAD}input_proj.0.weight": torch.ones(1)})
    del official[f"{HEAD}mask_embed.layers.2.bias"]
    with pytest.raises(ValueError, match=r"names missing in the file: 1 \(decoder\.mask_embed\.layers\.2\.bias\)"):
        load_checkpoint(model, official)
    assert_same_state(snapshot(model), before)


def test_a_truncated_file_is_named(official, tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": official}, path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=r"model\.pth is truncated"):
        load_checkpoint(case_model(), path)


# Refusals


@pytest.mark.parametrize(
    ("file", "model", "cause"),
    [
        (PANOPTIC, dict(num_queries=100), ["it holds 200 queries", "model has 100 queries", "decoder.num_queries=200"]),
        (PANOPTIC, dict(num_classes=80), ["has 133 classes and the model 80", "model.num_classes=133"]),
        (SEMANTIC, dict(num_classes=151, num_queries=100), ["has 150 classes and the model 151", "train.new_classes"]),
        (FOUR_LEVELS, dict(), ["it holds 4 focal levels", "model has 3 focal levels"]),
        (PANOPTIC, dict(variant="tiny_lrf"), ["it holds FocalNet-L", "model has FocalNet-T"]),
        (PANOPTIC, dict(variant="huge_fl3"), ["it holds FocalNet-L", "model has FocalNet-H"]),
        (PANOPTIC, dict(layers=(6, 6)), ["9 decoder layers", "6 decoder layers", "model.decoder.num_layers=9"]),
        (PANOPTIC, dict(layers=(3, 9)), ["6 encoder layers", "pixel_decoder.encoder.num_layers=6"]),
        (PANOPTIC, dict(dims=(128, 256)), ["width 256", "width 128", "model.pixel_decoder.dim=256"]),
        (PANOPTIC, dict(decoder_dim=128), ["decoder width 256", "decoder width 128", "model.decoder.dim=256"]),
        (PANOPTIC, dict(dims=(256, 128)), ["mask width 256", "model.pixel_decoder.mask_dim=256"]),
        (PANOPTIC, dict(ffn_dims=(2048, 2048)), ["width 1024 in the encoder", "width 2048 in the encoder"]),
        (PANOPTIC, dict(ffn_dims=(1024, 1024)), ["width 2048 in the decoder", "width 1024 in the decoder"]),
        (PANOPTIC, dict(flags=(("use_postln", False),)), ["model.backbone.use_postln=True", "keep_settings"]),
        (PANOPTIC, dict(flags=(("stem_padding", 3),)), ["model.backbone.stem_padding=2"]),
        (PANOPTIC, dict(flags=(("normalize_modulator", True),)), ["model.backbone.normalize_modulator=False"]),
    ],
)
def test_a_mismatch_is_one_sentence_with_its_cause(file, model, cause):
    with pytest.raises(ValueError, match="The checkpoint") as error:
        check_checkpoint(meta_mask2former(**model), official_shapes(file))
    for part in cause:
        assert part in str(error.value)
    assert len(str(error.value)) < 450
    assert "\n" not in str(error.value)


def test_what_no_source_settles_is_noted_and_stays():
    report = check_checkpoint(meta_mask2former("large_fl4"), official_shapes(FOUR_LEVELS))
    assert not report.missing
    assert report.notes == [
        "backbone.normalize_modulator could not be checked and stays True: published sources disagree"
    ]


def swin_state(prefix: str) -> dict:
    """Names of a Swin Transformer in a file of some detector."""
    block = f"{prefix}layers.0.blocks.0."
    parts = ("attn.relative_position_bias_table", "attn.relative_position_index", "attn.qkv.weight", "mlp.fc1.weight")
    state = {f"{block}{part}": torch.ones(2, 2) for part in parts}
    return {**state, f"{prefix}patch_embed.proj.weight": torch.ones(8, 3, 4, 4), f"{prefix}norm0.weight": torch.ones(8)}


@pytest.mark.parametrize(
    ("others", "backbone"),
    [
        (swin_state("backbone."), "Swin Transformer"),
        ({"backbone.res2.0.conv1.weight": torch.ones(1), "backbone.stem.conv1.weight": torch.ones(1)}, "ResNet"),
    ],
)
@pytest.mark.parametrize("backbone_only", [False, True])
def test_another_backbone_is_named(official, others, backbone, backbone_only):
    state = {name: value for name, value in official.items() if not name.startswith("backbone.")} | others
    with pytest.raises(ValueError, match=rf"holds a {backbone} and not a FocalNet, which Mask2Former has"):
        load_checkpoint(case_model(), {"model": state}, backbone_only=backbone_only)


# Classes


@pytest.mark.parametrize(
    ("num_classes", "classes"),
    [
        (133, COCO),
        (80, COCO[:80]),
        (150, list(ADE20K_CLASSES)),
        (100, [ADE20K_CLASSES[index] for index in ADE20K_THING_IDS]),
    ],
)
def test_class_lists_of_the_official_files(official, num_classes, classes):
    state = with_class_rows(official, num_classes)
    model = case_model(num_classes)
    assert load_checkpoint(model, state, class_names=classes).notes[-1:] != ["class rows are taken by name"]
    assert model.decoder.class_embed.bias.equal(state[f"{HEAD}class_embed.bias"])
    load_checkpoint(model, state, class_names=classes[::-1])
    moved = state[f"{HEAD}class_embed.weight"]
    assert model.decoder.class_embed.weight.equal(torch.cat([moved[:-1].flip(0), moved[-1:]]))
    with pytest.raises(ValueError, match=r"among them rabbit, which the file does not know.*new_classes=True"):
        load_checkpoint(model, state, class_names=["rabbit", *classes[1:]])


def test_a_new_class_list_keeps_the_no_object_row_and_the_rows_of_known_names(official):
    state, model = with_class_rows(official, 133), case_model(3)
    before = snapshot(model)
    report = load_checkpoint(model, state, new_classes=True, class_names=["balloon", "sand", "person"])
    for part in ("weight", "bias"):
        value, old = model.state_dict()[f"decoder.class_embed.{part}"], state[f"{HEAD}class_embed.{part}"]
        assert value[0].equal(before[f"decoder.class_embed.{part}"][0])
        assert value[1].equal(old[COCO.index("sand")])
        assert value[2].equal(old[0])
        assert value[3].equal(old[133])
    assert "classes taken from the file by name: 2 (sand, person), new ones: 1 (balloon)" in report.notes
    assert model.decoder.query_feat.weight.equal(state[f"{HEAD}query_feat.weight"])


def test_unknown_class_lists_leave_all_rows_fresh_but_the_no_object_row():
    file, model = small_mask2former(4, seed=1), small_mask2former(6, seed=2)
    before = snapshot(model)["decoder.class_embed.bias"]
    report = load_checkpoint(model, {"model": file.state_dict()}, new_classes=True)
    assert model.decoder.class_embed.bias.equal(torch.cat([before[:6], file.decoder.class_embed.bias[4:]]))
    assert "all 6 classes are new" in report.notes


def test_another_number_of_classes_is_refused_with_both_numbers():
    file, model = small_mask2former(4), small_mask2former(6)
    with pytest.raises(ValueError, match=r"has 4 classes and the model 6: set model\.num_classes=4 .*new_classes=True"):
        load_checkpoint(model, {"model": file.state_dict()})


# Our own files


def test_own_files_come_back_whole(tmp_path):
    file, model = small_mask2former(4, seed=1), small_mask2former(4, seed=2)
    report = load_checkpoint(model, own_file(file, tmp_path, list("abcd")), class_names=list("abcd"))
    assert_same_state(snapshot(model), snapshot(file))
    assert report.layout == "focalnet_d2"
    assert (report.missing, report.skipped, report.resized, report.notes) == ([], {}, {}, [])


def test_own_files_follow_the_order_of_the_class_names(tmp_path):
    file, model = small_mask2former(3, seed=1), small_mask2former(3, seed=2)
    load_checkpoint(model, own_file(file, tmp_path, ["a", "b", "c"]), class_names=["c", "a", "b"])
    assert model.decoder.class_embed.bias.equal(file.decoder.class_embed.bias[[2, 0, 1, 3]])


def test_own_files_note_the_flags_of_the_backbone(tmp_path):
    file = small_mask2former(use_postln=True)
    with pytest.raises(ValueError, match=r"set model\.backbone\.use_postln=True"):
        load_checkpoint(small_mask2former(), own_file(file, tmp_path))


def test_the_model_offers_its_layouts():
    assert small_mask2former().layouts is LAYOUTS
