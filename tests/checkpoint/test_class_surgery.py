"""Another class list, in every kind of model: classes that both lists name keep their logits to the last bit."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

import pytest
import torch
from detectron2.config import instantiate
from torch import Tensor, nn

from focalnet_d2.checkpoint import load_checkpoint
from focalnet_d2.checkpoint.layout import ClassRows
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.data.class_changes import ClassChanges
from tests.checkpoint.building import own_file, snapshot
from tests.modeling.rcnn.building import DETECTORS, tiny_node

OLD = ["person", "car", "truck", "Hund", "cat"]
FAMILIES = {
    "dino_focalnet_mini_quickstart": "sigmoid",
    "mask2former_focalnet_mini_quickstart": "softmax",
    "mask_rcnn_focalnet_mini_coco": "softmax",
    "cascade_mask_rcnn_focalnet_mini_coco": "softmax",
    "atss_focalnet_mini_coco": "sigmoid",
    "sparse_rcnn_focalnet_mini_coco": "sigmoid",
    "upernet_focalnet_mini_ade20k": "softmax",
    "classifier_focalnet_mini_folder": "softmax",
}
# What they see depends on the scores of all classes: on the proposals, boxes or detections that are chosen by them.
BEHIND_A_CHOICE = ("class_embed.", "roi_heads.mask_head.", "roi_heads.box_predictor.1.", "roi_heads.box_predictor.2.")
PRIOR = -math.log((1 - 0.01) / 0.01)


def build(recipe: str, classes: int, seed: int) -> nn.Module:
    """A mini model; the seed decides its weights, of the class heads as in a new one."""
    torch.manual_seed(seed)
    if recipe.startswith(DETECTORS):
        node = tiny_node(recipe.partition("_focalnet")[0], num_classes=classes)
    else:
        node = load_recipe(recipe).model
        node.num_classes = classes
    return instantiate(node).eval()


@cache
def trained(recipe: str) -> nn.Module:
    """A model whose class rows are like no fresh ones."""
    model = build(recipe, len(OLD), seed=1)
    for name, rows in class_tensors(model).items():
        nn.init.normal_(model.get_parameter(name), std=0.5 if rows.ndim > 1 else 2)
    return model


def table(model: nn.Module) -> ClassRows:
    return next(layout.classes for layout in reversed(model.layouts) if layout.classes is not None)


def class_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Class tensors by name as (classes, ..., rows without class at the end)."""
    state, sizes = model.state_dict(), table(model).block_sizes(model.state_dict())
    shaped = {name: state[name].unflatten(0, (-1, rows)) for name, rows in sizes.items()}
    return {name: state[name] for name in table(model).keys(state)} | shaped


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """First input and output of each module with class rows, the output with the class first."""
    calls: dict[str, tuple[Tensor, Tensor]] = {}

    def record(name: str, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        calls.setdefault(name, (inputs[0], by_class(module, output)))

    names = {name.rpartition(".")[0] for name in class_tensors(model)}
    handles = [model.get_submodule(name).register_forward_hook(partial(record, name)) for name in names]
    yield calls
    for handle in handles:
        handle.remove()


def by_class(module: nn.Module, output: Tensor) -> Tensor:
    return output.movedim(1 if isinstance(module, nn.Conv2d) else -1, 0)


def run(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    image = torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    with torch.no_grad(), recorded(model) as calls:
        model.predict(model.preprocess([{"image": image}]))
    return calls


def assert_same_logits(old: nn.Module, new: nn.Module, shared: dict[int, int]) -> None:
    """Shared classes (new row -> old row) and no class give the same logits of the same inputs, and of one image.

    Weights and inputs are equal to the last bit. The last bits of a logit may differ, since libraries of matrix
    products sum in an order that depends on the number of rows: by twice the error of a sum in float32 at most.
    """
    before, after = run(old), run(new)
    assert before
    sizes = {name.rpartition(".")[0]: size for name, size in table(old).block_sizes(old.state_dict()).items()}
    for name, (inputs, expected) in before.items():
        module, size = new.get_submodule(name), sizes.get(name, 1)
        extra = 0 if name in sizes else table(old).extra_rows
        to_rows, from_rows = (
            [row * size + k for row in rows for k in range(size)] + list(range(count - extra, count))
            for rows, count in ((shared, len(module.weight)), (shared.values(), len(expected)))
        )
        for part in ("weight", "bias"):
            assert torch.equal(getattr(module, part)[to_rows], getattr(old.get_submodule(name), part)[from_rows])
        bound = 2 * rounding_bound(module, inputs)[to_rows]
        with torch.no_grad():
            outputs = [by_class(module, module(inputs))]
        if not name.startswith(BEHIND_A_CHOICE):
            assert torch.equal(after[name][0], inputs)
            outputs.append(after[name][1])
        assert all(((output[to_rows] - expected[from_rows]).abs() <= bound).all() for output in outputs), name


def rounding_bound(module: nn.Module, inputs: Tensor) -> Tensor:
    """How far sums of products in float32 may be from the exact ones, whatever their order, class first."""
    steps = module.weight[0].numel() + 1
    unit = torch.finfo(torch.float32).eps / 2
    absolute = copy.deepcopy(module).double()
    with torch.no_grad():
        absolute.weight.abs_()
        absolute.bias.abs_()
        return by_class(module, absolute(inputs.double().abs())) * steps * unit / (1 - steps * unit)


@pytest.fixture(params=FAMILIES)
def recipe(request) -> str:
    return request.param


def test_shared_classes_give_identical_logits_and_new_ones_start_from_the_prior(recipe, tmp_path):
    old, names = trained(recipe), ["cat", "balloon", "person", "dog", "bus", "truck", "sky"]
    new = build(recipe, len(names), seed=2)
    fresh = snapshot(new)
    changes = ClassChanges(rename={"Hund": "dog"})
    file = own_file(old, tmp_path, OLD)
    report = load_checkpoint(new, file, new_classes=True, class_names=names, class_changes=changes)
    assert (
        "classes taken from the file by name: 4 (cat, person, dog from Hund, truck), new ones: 3 (balloon, bus, sky)"
        in report.notes
    )
    assert_same_logits(old, new, {0: 4, 2: 0, 3: 3, 5: 2})
    untouched = build(recipe, len(names), seed=2)
    for name, rows in class_tensors(new).items():
        started = class_tensors(untouched)[name]
        assert torch.equal(untouched.state_dict()[name], fresh[name]), "the seed decides the weights"
        for row in (1, 4, 6):
            assert torch.equal(rows[row], started[row])
        if FAMILIES[recipe] == "sigmoid" and name.endswith(".bias"):
            assert rows[[1, 4, 6]].tolist() == pytest.approx([PRIOR] * 3)


def test_a_permuted_list_gives_the_same_model(recipe, tmp_path):
    old, new = trained(recipe), build(recipe, len(OLD), seed=2)
    order = [3, 0, 4, 1, 2]
    load_checkpoint(new, own_file(old, tmp_path, OLD), class_names=[OLD[row] for row in order])
    assert_same_logits(old, new, dict(enumerate(order)))
    before, after = run(old), run(new)
    assert before.keys() == after.keys()
    for name in before:
        if name.startswith("class_embed."):
            assert torch.equal(after[name][0], before[name][0]), "the same queries are chosen"


def test_heads_with_one_output_for_all_classes_keep_it():
    old, new = (build_agnostic(classes, seed) for classes, seed in ((5, 1), (3, 2)))
    file = {"model": snapshot(old), "metadata": {"thing_classes": OLD}}
    load_checkpoint(new, file, new_classes=True, class_names=["cat", "person", "sky"], keep_settings=True)
    scores, old_scores = (model.roi_heads.box_predictor.cls_score.bias for model in (new, old))
    assert torch.equal(scores[[0, 1, 3]], old_scores[[4, 0, 5]])
    for name in ("box_predictor.bbox_pred.weight", "mask_head.predictor.weight"):
        assert torch.equal(new.roi_heads.get_parameter(name), old.roi_heads.get_parameter(name))


def build_agnostic(classes: int, seed: int) -> nn.Module:
    """A Mask R-CNN with one box and one mask for all classes."""
    torch.manual_seed(seed)
    node = tiny_node("mask_rcnn", num_classes=classes)
    node.roi_heads.box_predictor.cls_agnostic_bbox_reg = True
    node.roi_heads.mask_head.num_classes = 1
    return instantiate(node)


def test_dropped_and_merged_classes(recipe, tmp_path):
    old, names = trained(recipe), ["cat", "vehicle", "person"]
    new = build(recipe, len(names), seed=2)
    changes = ClassChanges(merge={"vehicle": ["car", "truck"]}, drop=["Hund"])
    report = load_checkpoint(new, own_file(old, tmp_path, OLD), class_names=names, class_changes=changes)
    assert "3 of the file's 5 class rows are taken by name (vehicle from car and truck)" in report.notes
    assert_same_logits(old, new, {0: 4, 2: 0})
    for name, rows in class_tensors(new).items():
        assert torch.equal(rows[1], class_tensors(old)[name][[1, 2]].mean(0)), name


def test_other_class_names_are_not_evaluated_unless_by_name(recipe, tmp_path):
    old, subset, superset = trained(recipe), ["cat", "person"], [*OLD, "hund"]
    file, fewer, more = own_file(old, tmp_path, OLD), build(recipe, 2, seed=2), build(recipe, 6, seed=3)
    before = snapshot(more)
    refused = "was trained on the classes person, .* the data has"
    with pytest.raises(ValueError, match=rf"{refused} cat, person \(5 and 2 classes\): set .*=by_name"):
        load_checkpoint(fewer, file, class_names=subset, other_class_names="refuse", complete=True)
    load_checkpoint(fewer, file, class_names=subset, complete=True)
    for name, rows in class_tensors(fewer).items():
        assert torch.equal(rows[:2], class_tensors(old)[name][[4, 0]])
    with pytest.raises(ValueError, match=rf"{refused} .* does not know hund; .*'data.rename=\{{hund:Hund\}}'"):
        load_checkpoint(more, file, class_names=superset, other_class_names="refuse", complete=True)
    with pytest.raises(ValueError, match="among them hund, which the file does not know: .*data.drop=\\[hund\\]"):
        load_checkpoint(more, file, class_names=superset, complete=True)
    assert all(torch.equal(value, before[name]) for name, value in snapshot(more).items())
