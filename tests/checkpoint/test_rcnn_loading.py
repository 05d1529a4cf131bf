"""Mask R-CNN and Cascade Mask R-CNN files: mmdetection's, and our own; what fits and what is refused."""

import pytest
import torch
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from focalnet_d2.checkpoint import check_checkpoint, load_checkpoint
from focalnet_d2.modeling.rcnn.checkpoint import LAYOUTS
from tests.checkpoint.building import assert_same_state, on_meta, own_file, snapshot
from tests.checkpoint.published_layouts import cascade_mask_rcnn, mask_rcnn
from tests.modeling.rcnn.building import DETECTORS, rcnn_input, tiny_rcnn
from tests.recipes import meta_model

COCO = [category["name"] for category in COCO_CATEGORIES if category["isthing"]]
PUBLISHED = {
    "mask_rcnn": ("mask_rcnn_focalnet_tiny_lrf_3x", mask_rcnn, 270),
    "cascade_mask_rcnn": ("cascade_mask_rcnn_focalnet_tiny_lrf_3x", cascade_mask_rcnn, 376),
}

# Our name -> mmdetection's, some of every kind; S is the stage of a cascade, which is not there otherwise.
NAMES = {
    "backbone.bottom_up.layers.0.blocks.0.modulation.f.bias": "backbone.layers.0.blocks.0.modulation.f.bias",
    "backbone.bottom_up.norm3.weight": "backbone.norm3.weight",
    "backbone.fpn_lateral2.weight": "neck.lateral_convs.0.conv.weight",
    "backbone.fpn_lateral5.bias": "neck.lateral_convs.3.conv.bias",
    "backbone.fpn_output3.weight": "neck.fpn_convs.1.conv.weight",
    "proposal_generator.rpn_head.conv.weight": "rpn_head.rpn_conv.weight",
    "proposal_generator.rpn_head.objectness_logits.bias": "rpn_head.rpn_cls.bias",
    "proposal_generator.rpn_head.anchor_deltas.weight": "rpn_head.rpn_reg.weight",
    "roi_heads.box_head.S.fc1.weight": "roi_head.bbox_head.S.shared_fcs.0.weight",
    "roi_heads.box_predictor.S.cls_score.weight": "roi_head.bbox_head.S.fc_cls.weight",
    "roi_heads.box_predictor.S.bbox_pred.bias": "roi_head.bbox_head.S.fc_reg.bias",
    "roi_heads.mask_head.S.mask_fcn1.weight": "roi_head.mask_head.S.convs.0.conv.weight",
    "roi_heads.mask_head.S.mask_fcn4.bias": "roi_head.mask_head.S.convs.3.conv.bias",
    "roi_heads.mask_head.S.deconv.weight": "roi_head.mask_head.S.upsample.weight",
    "roi_heads.mask_head.S.predictor.bias": "roi_head.mask_head.S.conv_logits.bias",
}
ONLY = {
    "mask_rcnn": {"roi_heads.box_head.fc2.weight": "roi_head.bbox_head.shared_fcs.1.weight"},
    "cascade_mask_rcnn": {
        "roi_heads.box_head.S.conv1.weight": "roi_head.bbox_head.S.shared_convs.0.conv.weight",
        "roi_heads.box_head.S.conv4.norm.running_var": "roi_head.bbox_head.S.shared_convs.3.bn.running_var",
        "roi_heads.box_head.S.conv2.norm.num_batches_tracked": (
            "roi_head.bbox_head.S.shared_convs.1.bn.num_batches_tracked"
        ),
    },
}
WORDS = {
    "proposal_generator.rpn_head.conv.": "rpn_head.rpn_conv.",
    "proposal_generator.rpn_head.objectness_logits.": "rpn_head.rpn_cls.",
    "proposal_generator.rpn_head.anchor_deltas.": "rpn_head.rpn_reg.",
    "roi_heads.box_head.": "roi_head.bbox_head.",
    "roi_heads.box_predictor.": "roi_head.bbox_head.",
    "roi_heads.mask_head.": "roi_head.mask_head.",
    "cls_score.": "fc_cls.",
    "bbox_pred.": "fc_reg.",
    "deconv.": "upsample.",
    "predictor.": "conv_logits.",
}
for _i in range(4):
    WORDS |= {f"backbone.fpn_lateral{_i + 2}.": f"neck.lateral_convs.{_i}.conv."}
    WORDS |= {f"backbone.fpn_output{_i + 2}.": f"neck.fpn_convs.{_i}.conv."}
    WORDS |= {f"mask_fcn{_i + 1}.": f"convs.{_i}.conv.", f".fc{_i + 1}.": f".shared_fcs.{_i}."}
    WORDS |= {f".conv{_i + 1}.norm.": f".shared_convs.{_i}.bn.", f".conv{_i + 1}.": f".shared_convs.{_i}.conv."}


def named_as_in_mmdetection(state: dict) -> dict:
    """A state dict of ours under mmdetection's names, made word by word."""
    renamed = {}
    for name, value in state.items():
        theirs = name.replace("bottom_up.", "")
        if theirs == name:
            for ours, word in WORDS.items():
                theirs = theirs.replace(ours, word)
        renamed[theirs] = value.clone()
    return renamed


def random_rcnn(detector: str, seed: int, **changes):
    """A tiny model with random statistics in its norms."""
    model = tiny_rcnn(detector, seed=seed, **changes)
    draws = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if "running" in name:
            value.copy_(torch.rand(value.shape, generator=draws) + 0.5)
        elif "num_batches" in name:
            value.fill_(100 + seed)
    return model.eval()


# mmdetection's files


@pytest.mark.parametrize("detector", DETECTORS)
def test_files_of_published_size_fill_the_recipe(detector):
    recipe, shapes, count = PUBLISHED[detector]
    file, model = on_meta(shapes("tiny_lrf")), meta_model(recipe)
    assert len(file) == count
    report = check_checkpoint(model, {"state_dict": file, "meta": {"epoch": 36}}, class_names=COCO)
    assert report.layout == "mmdetection"
    assert (report.missing, report.notes, report.resized) == ([], [], {})
    assert set(report.loaded) == set(model.state_dict())
    assert "FocalNet-T, 3 focal levels" in report.content


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_value_finds_its_place(detector):
    file, model = random_rcnn(detector, 1), random_rcnn(detector, 2)
    published = named_as_in_mmdetection(file.state_dict())
    report = load_checkpoint(model, {"state_dict": published}, complete=True)
    assert_same_state(snapshot(model), snapshot(file))
    assert (report.skipped, report.notes) == ({}, [])
    with torch.no_grad():
        (first,), (second,) = (network([rcnn_input()]) for network in (file, model))
    assert torch.equal(first["instances"].scores, second["instances"].scores)
    assert torch.equal(first["instances"].pred_masks, second["instances"].pred_masks)


@pytest.mark.parametrize(("detector", "stages"), [("mask_rcnn", [""]), ("cascade_mask_rcnn", ["0.", "1.", "2."])])
def test_names_written_down_by_hand(detector, stages):
    model = random_rcnn(detector, 2)
    for stage in stages:
        pairs = {a.replace("S.", stage): b.replace("S.", stage) for a, b in (NAMES | ONLY[detector]).items()}
        published = named_as_in_mmdetection(snapshot(model))
        assert set(pairs.values()) <= set(published)
        for ours, theirs in pairs.items():
            marked = {**published, theirs: torch.full_like(published[theirs], 7)}
            load_checkpoint(model, {"state_dict": marked})
            assert (model.state_dict()[ours] == 7).all(), ours
            load_checkpoint(model, {"state_dict": published})


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("change", ["more", "fewer"])
def test_a_name_too_many_or_too_few_is_refused(detector, change):
    model = random_rcnn(detector, 1)
    before, published = snapshot(model), named_as_in_mmdetection(model.state_dict())
    if change == "more":
        published["roi_head.glbctx_head.fc.weight"] = torch.ones(1)
        cause = r"names the model does not have: 1 \(roi_head\.glbctx_head"
    else:
        del published["rpn_head.rpn_reg.bias"]
        cause = r"names missing in the file: 1 \(proposal_generator\.rpn_head\.anchor_deltas\.bias"
    with pytest.raises(ValueError, match=cause):
        load_checkpoint(model, published)
    assert_same_state(snapshot(model), before)


def test_flags_of_the_network_are_those_of_mmdetection():
    model = tiny_rcnn(use_conv_embed=True)
    with pytest.raises(ValueError, match=r"set model\.backbone\.bottom_up\.stem_padding=3"):
        load_checkpoint(model, named_as_in_mmdetection(model.state_dict()))


# Refusals


@pytest.mark.parametrize(
    ("file", "model", "causes"),
    [
        ("mask_rcnn", "cascade_mask_rcnn", ["holds a Mask R-CNN", "model has a Cascade Mask R-CNN"]),
        ("cascade_mask_rcnn", "mask_rcnn", ["holds a Cascade Mask R-CNN", "model has a Mask R-CNN"]),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_one_detector_is_not_the_other(file, model, causes, own):
    state = tiny_rcnn(file).state_dict()
    with pytest.raises(ValueError, match="does not fit the model") as error:
        load_checkpoint(tiny_rcnn(model), {"model": state if own else named_as_in_mmdetection(state)})
    assert all(cause in str(error.value) for cause in causes)


@pytest.mark.parametrize(
    ("size", "recipe", "causes"),
    [
        ("tiny_srf", "mask_rcnn_focalnet_tiny_lrf_1x", ["holds 2 focal levels", "model has 3 focal levels"]),
        ("small_lrf", "mask_rcnn_focalnet_tiny_lrf_1x", ["holds FocalNet-S", "model has FocalNet-T"]),
        ("tiny_deeper_lrf", "mask_rcnn_focalnet_tiny_lrf_1x", ["holds FocalNet-T deeper", "model has FocalNet-T"]),
        ("tiny_lrf", "mask_rcnn_focalnet_base_srf_3x", ["holds FocalNet-T, 3", "model has FocalNet-B, 2"]),
    ],
)
def test_a_wrong_size_is_named(size, recipe, causes):
    with pytest.raises(ValueError, match="does not fit the model") as error:
        check_checkpoint(meta_model(recipe), on_meta(mask_rcnn(size)))
    assert all(cause in str(error.value) for cause in causes)


@pytest.mark.parametrize(
    ("name", "rows", "cause"),
    [
        ("roi_heads.box_predictor.bbox_pred", 4, "one box for all classes: True"),
        ("roi_heads.mask_head.predictor", 1, "one mask for all classes: True"),
        ("proposal_generator.rpn_head.objectness_logits", 9, "9 anchors a cell"),
    ],
)
def test_heads_of_another_kind_are_named(name, rows, cause):
    model = tiny_rcnn()
    state = model.state_dict()
    for part in ("weight", "bias"):
        value = state[f"{name}.{part}"]
        state[f"{name}.{part}"] = torch.zeros(rows, *value.shape[1:])
    with pytest.raises(ValueError, match=cause):
        load_checkpoint(model, {"model": state})


def test_files_without_masks_or_of_another_width_are_named():
    model = tiny_rcnn()
    boxes_only = {name: value for name, value in model.state_dict().items() if "mask_head" not in name}
    with pytest.raises(ValueError, match="holds mask heads: False; the model has mask heads: True"):
        load_checkpoint(model, {"model": boxes_only})
    with pytest.raises(ValueError, match=r"width 16, box heads of width 16; .*model\.backbone\.out_channels=16"):
        check_checkpoint(meta_model("mask_rcnn_focalnet_mini_coco"), {"model": _as_wide_as_mini(model)})


def _as_wide_as_mini(model) -> dict:
    """The tiny model's heads on the small recipe's FocalNet."""
    mini = meta_model("mask_rcnn_focalnet_mini_coco").state_dict()
    heads = {name: value for name, value in model.state_dict().items() if "bottom_up" not in name}
    return {**{name: value for name, value in mini.items() if "bottom_up" in name}, **heads}


def test_another_number_of_classes_is_refused_with_both():
    file, model = tiny_rcnn(num_classes=3), tiny_rcnn(num_classes=5)
    with pytest.raises(ValueError, match=r"has 3 classes and the model 5: set model\.num_classes=3 .*new_classes"):
        load_checkpoint(model, named_as_in_mmdetection(file.state_dict()))


# Classes


def rows_of(state: dict, detector: str) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Biases of classes, boxes (K, 4) and masks of each stage."""
    stages = [""] if detector == "mask_rcnn" else ["0.", "1.", "2."]
    return [
        (
            state[f"roi_heads.box_predictor.{stage}cls_score.bias"],
            state[f"roi_heads.box_predictor.{stage}bbox_pred.bias"].view(-1, 4),
            state[f"roi_heads.mask_head.{stage}predictor.bias"],
        )
        for stage in stages
    ]


def with_random_rows(detector: str, seed: int, num_classes: int):
    model = tiny_rcnn(detector, seed=seed, num_classes=num_classes)
    for parameter in model.roi_heads.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("detector", DETECTORS)
def test_rows_of_all_heads_follow_the_names(detector, tmp_path):
    file, model = with_random_rows(detector, 1, 3), with_random_rows(detector, 2, 3)
    load_checkpoint(model, own_file(file, tmp_path, ["a", "b", "c"]), class_names=["c", "a", "b"])
    for old, new in zip(rows_of(file.state_dict(), detector), rows_of(model.state_dict(), detector), strict=True):
        for before, after in zip(old, new, strict=True):
            order = [2, 0, 1, 3][: len(before)]
            assert torch.equal(after, before[order])


@pytest.mark.parametrize("detector", DETECTORS)
def test_new_classes_keep_background_and_what_is_known(detector):
    file, model = with_random_rows(detector, 1, 80), with_random_rows(detector, 2, 3)
    before = snapshot(model)
    published = {"state_dict": named_as_in_mmdetection(file.state_dict())}
    report = load_checkpoint(model, published, new_classes=True, class_names=["balloon", "dog", "person"])
    dog = COCO.index("dog")
    for old, fresh, new in zip(
        *(rows_of(state, detector) for state in (file.state_dict(), before, model.state_dict())), strict=True
    ):
        for part, (of_file, of_model, found) in enumerate(zip(old, fresh, new, strict=True)):
            assert torch.equal(found[:3], torch.stack([of_model[0], of_file[dog], of_file[0]]))
            if part == 0:
                assert found[3] == of_file[80]
    assert "classes taken from the file by name: 2 (dog, person), new ones: 1 (balloon)" in report.notes


def test_unknown_new_classes_leave_rows_fresh_but_the_background():
    file, model = with_random_rows("mask_rcnn", 1, 3), with_random_rows("mask_rcnn", 2, 5)
    before = snapshot(model)
    load_checkpoint(model, {"model": file.state_dict()}, new_classes=True)
    ((scores, boxes, masks),) = rows_of(model.state_dict(), "mask_rcnn")
    ((old_scores, old_boxes, old_masks),) = rows_of(before, "mask_rcnn")
    assert torch.equal(scores, torch.cat([old_scores[:5], file.roi_heads.box_predictor.cls_score.bias[3:]]))
    assert torch.equal(boxes, old_boxes)
    assert torch.equal(masks, old_masks)


# Our own files


@pytest.mark.parametrize("detector", DETECTORS)
def test_own_files_come_back_whole(detector, tmp_path):
    file, model = random_rcnn(detector, 1), random_rcnn(detector, 2)
    report = load_checkpoint(model, own_file(file, tmp_path, list("abcde")), class_names=list("abcde"))
    assert_same_state(snapshot(model), snapshot(file))
    assert report.layout == "focalnet_d2"
    assert (report.missing, report.skipped, report.resized, report.notes) == ([], {}, {}, [])


def test_own_files_note_the_flags_of_the_backbone(tmp_path):
    with pytest.raises(ValueError, match=r"set model\.backbone\.bottom_up\.use_postln=True"):
        load_checkpoint(tiny_rcnn(), own_file(tiny_rcnn(use_postln=True), tmp_path))


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_model_offers_its_layouts(detector):
    assert tiny_rcnn(detector).layouts is LAYOUTS
