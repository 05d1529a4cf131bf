"""mmdetection's ATSS and Sparse R-CNN files: every name arrives, every wrong pair is refused with its cause."""

import pytest
import torch

from focalnet_d2.checkpoint import check_checkpoint, load_checkpoint
from tests.checkpoint.building import assert_same_state, on_meta, own_file, snapshot
from tests.checkpoint.mmdetection_files import FOCALNET_T, TINY, atss_shapes, random_state, sparse_rcnn_shapes
from tests.modeling.small_detectors import tiny_atss, tiny_sparse_rcnn
from tests.recipes import meta_model

SMALL_SPARSE = dict(dim=16, classes=5, proposals=10, stages=3, ffn=24, dynamic=4)
SMALL = {
    "atss": (tiny_atss, atss_shapes(TINY, dim=64, classes=5, convs=1)),
    "sparse_rcnn": (tiny_sparse_rcnn, sparse_rcnn_shapes(TINY, **SMALL_SPARSE)),
}
SHAPES = {"atss": atss_shapes, "sparse_rcnn": sparse_rcnn_shapes}
KEYS = {"atss": 277, "sparse_rcnn": 486}  # with 3 focal levels
ARRIVALS = {
    "atss": {
        "backbone.norm3.weight": "backbone.bottom_up.norm3.weight",
        "neck.lateral_convs.0.conv.weight": "backbone.fpn_lateral3.weight",
        "neck.fpn_convs.2.conv.bias": "backbone.fpn_output5.bias",
        "neck.fpn_convs.3.conv.weight": "backbone.top_block.p6.weight",
        "neck.fpn_convs.4.conv.weight": "backbone.top_block.p7.weight",
        "bbox_head.reg_convs.0.gn.bias": "bbox_head.reg_convs.0.gn.bias",
        "bbox_head.scales.4.scale": "bbox_head.scales.4.scale",
    },
    "sparse_rcnn": {
        "neck.lateral_convs.0.conv.weight": "backbone.fpn_lateral2.weight",
        "neck.fpn_convs.3.conv.bias": "backbone.fpn_output5.bias",
        "rpn_head.init_proposal_bboxes.weight": "head.init_proposal_bboxes.weight",
        "roi_head.bbox_head.2.attention.attn.in_proj_weight": "head.stages.2.attention.in_proj_weight",
        "roi_head.bbox_head.1.ffn.layers.0.0.weight": "head.stages.1.ffn.layers.0.weight",
        "roi_head.bbox_head.1.ffn.layers.1.weight": "head.stages.1.ffn.layers.1.weight",
        "roi_head.bbox_head.0.reg_fcs.6.weight": "head.stages.0.reg_fcs.6.weight",
        "roi_head.bbox_head.0.instance_interactive_conv.norm_in.weight": (
            "head.stages.0.instance_interactive_conv.norm_in.weight"
        ),
    },
}


@pytest.mark.parametrize("kind", SMALL)
def test_every_value_arrives_bit_by_bit(kind, tmp_path):
    build, shapes = SMALL[kind]
    model, file = build(), random_state(shapes)
    torch.save({"meta": {"epoch": 36}, "state_dict": file, "optimizer": {"state": {}}}, tmp_path / "epoch_36.pth")
    report = load_checkpoint(model, tmp_path / "epoch_36.pth")
    state = model.state_dict()
    assert (report.layout, report.missing, report.skipped) == ("mmdetection", [], {})
    assert len(report.loaded) == len(state) == len(file)
    for theirs, ours in ARRIVALS[kind].items():
        assert state[ours].equal(file[theirs]), ours
    by_sum = [sorted(value.double().sum().item() for value in part.values()) for part in (state, file)]
    assert by_sum[0] == by_sum[1]  # every tensor went somewhere, none twice


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("levels", [2, 3])
def test_published_sizes(kind, levels):
    name = f"{kind}_focalnet_tiny_{'srf' if levels == 2 else 'lrf'}_3x"
    shapes = SHAPES[kind]({**FOCALNET_T, "focal_levels": (levels,) * 4})
    report = check_checkpoint(meta_model(name), on_meta(shapes))
    assert len(shapes) == KEYS[kind] - 12 * (levels == 2)
    assert (report.missing, report.skipped, report.resized, report.notes) == ([], {}, {}, [])
    assert len(report.loaded) == len(shapes)


@pytest.mark.parametrize(
    ("kind", "sizes", "cause"),
    [
        ("atss", dict(dim=128), ["width 128", "model.bbox_head.dim=128"]),
        ("atss", dict(convs=2), ["towers of 2", "model.bbox_head.num_convs=2"]),
        ("atss", dict(classes=3), ["has 3 classes and the model 80", "model.num_classes=3", "new_classes"]),
        ("sparse_rcnn", dict(proposals=100), ["100 proposals", "300 proposals", "model.head.num_proposals=100"]),
        ("sparse_rcnn", dict(stages=5), ["it holds 5 stages", "model.head.num_stages=5"]),
        ("sparse_rcnn", dict(ffn=1024), ["feed-forward width 1024", "model.head.ffn_dim=1024"]),
        ("sparse_rcnn", dict(dynamic=32), ["dynamic width 32", "model.head.dynamic_dim=32"]),
        ("sparse_rcnn", dict(classes=81), ["has 81 classes and the model 80"]),
    ],
)
def test_a_mismatch_is_one_sentence_with_its_cause(kind, sizes, cause):
    shapes = SHAPES[kind]({**FOCALNET_T, "focal_levels": (3, 3, 3, 3)}, **sizes)
    with pytest.raises(ValueError, match="The checkpoint") as error:
        check_checkpoint(meta_model(f"{kind}_focalnet_tiny_lrf_3x"), on_meta(shapes))
    assert all(part in str(error.value) for part in cause), error.value


@pytest.mark.parametrize("kind", SMALL)
def test_other_backbones_and_windows_are_refused(kind):
    model = meta_model(f"{kind}_focalnet_tiny_lrf_3x")
    with pytest.raises(ValueError, match=r"it holds 2 focal levels"):
        check_checkpoint(model, on_meta(SHAPES[kind](FOCALNET_T)))
    other = {**FOCALNET_T, "focal_levels": (3, 3, 3, 3), "focal_windows": (9, 9, 9, 9)}
    with pytest.raises(ValueError, match=r"focal windows 9; the model has focal windows \(?11,9,9,7"):
        check_checkpoint(model, on_meta(SHAPES[kind](other)))


@pytest.mark.parametrize("kind", SMALL)
def test_names_too_many_and_too_few_are_named(kind):
    build, shapes = SMALL[kind]
    model, file = build(), random_state(shapes)
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"does not have: 1 \(neck\.fpn_convs\.7\.conv\.bias\)"):
        load_checkpoint(model, {**file, "neck.fpn_convs.7.conv.bias": torch.ones(1)})
    theirs, ours = list(ARRIVALS[kind].items())[-2]
    del file[theirs]
    with pytest.raises(ValueError, match=rf"missing in the file: 1 \({ours}\)"):
        load_checkpoint(model, file)
    assert_same_state(snapshot(model), before)


@pytest.mark.parametrize("kind", SMALL)
def test_settings_of_the_files_are_checked(kind):
    build, shapes = SMALL[kind]
    with pytest.raises(ValueError, match=r"set model\.backbone\.bottom_up\.use_postln=False"):
        load_checkpoint(build(backbone=dict(use_postln=True)), random_state(shapes))


@pytest.mark.parametrize("kind", SMALL)
def test_classes_go_by_name(kind):
    """A COCO file's rows are in the order of the category ids."""
    sizes = dict(dim=64, convs=1) if kind == "atss" else {**SMALL_SPARSE, "classes": 80}
    file = random_state(SHAPES[kind](TINY, **sizes))
    model = SMALL[kind][0](num_classes=2)
    head = "bbox_head.atss_cls.bias" if kind == "atss" else "roi_head.bbox_head.1.fc_cls.bias"
    load_checkpoint(model, file, class_names=["dog", "person"])
    ours = head.replace("roi_head.bbox_head", "head.stages")
    assert model.state_dict()[ours].equal(file[head][[16, 0]])
    with pytest.raises(ValueError, match="has 80 classes and the model 2"):
        load_checkpoint(model, file, class_names=["rabbit", "person"])


@pytest.mark.parametrize("kind", SMALL)
def test_own_files_come_back_whole(kind, tmp_path):
    build = SMALL[kind][0]
    file, model = build(seed=1), build(seed=2)
    report = load_checkpoint(model, own_file(file, tmp_path, list("abcde")), class_names=list("abcde"))
    assert_same_state(snapshot(model), snapshot(file))
    assert (report.layout, report.missing, report.skipped, report.notes) == ("focalnet_d2", [], {}, [])


def test_a_file_of_one_detector_is_not_one_of_the_other(tmp_path):
    with pytest.raises(ValueError, match=r"holds a SparseRCNN and not an ATSS; .*backbone_only=True"):
        load_checkpoint(tiny_atss(), own_file(tiny_sparse_rcnn(), tmp_path))
    load_checkpoint(tiny_atss(), own_file(tiny_sparse_rcnn(), tmp_path), backbone_only=True)
