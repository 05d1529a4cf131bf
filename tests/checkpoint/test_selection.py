"""Weights are found in whatever a training program wrapped them in; where two may be meant, the file asks."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from focalnet_d2.checkpoint import load_checkpoint, select_weights
from tests.checkpoint.building import assert_same_state, snapshot, tiny_focalnet

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
AVERAGED = {name: value + 1 for name, value in WEIGHTS.items()}
EMA_NAMES = ("ema_model", "model_ema", "ema_state_dict", "state_dict_ema", "params_ema")


def with_prefix(prefix: str) -> dict:
    return {prefix + name: value for name, value in WEIGHTS.items()}


@pytest.mark.parametrize("container", ["state_dict", "model", "params", "net", "teacher", *EMA_NAMES])
def test_every_container_is_taken_and_said(container):
    found = select_weights({container: WEIGHTS, "epoch": 3, "optimizer": {"state": {}}})
    assert_same_state(found.tensors, WEIGHTS)
    assert found.taken == f"from its entry {container}"


@pytest.mark.parametrize("name", EMA_NAMES)
def test_averaged_weights_stand_beside_the_others(name):
    content = {"state_dict": WEIGHTS, name: AVERAGED}
    assert_same_state(select_weights(content).tensors, WEIGHTS)
    assert select_weights(content).taken == f"from its entry state_dict, not {name}"
    assert_same_state(select_weights(content, ema=True).tensors, AVERAGED)
    assert_same_state(select_weights(content, entry=name).tensors, AVERAGED)


@pytest.mark.parametrize("order", list(permutations(["module.", "model.", "_orig_mod.", "_fsdp_wrapped_module."])))
def test_prefixes_are_removed_in_any_order_and_said(order):
    found = select_weights({"state_dict": with_prefix("".join(order))})
    assert_same_state(found.tensors, WEIGHTS)
    assert all(prefix in found.taken for prefix in order)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."])
def test_wrappers_of_single_modules_are_removed_wherever_they_stand(wrapper):
    named = {f"a.{wrapper}weight": WEIGHTS["a.weight"], "a.bias": WEIGHTS["a.bias"]}
    assert_same_state(select_weights(named).tensors, WEIGHTS)


def test_containers_may_stand_in_each_other():
    assert_same_state(select_weights({"state_dict": {"model": WEIGHTS, "step": 3}}).tensors, WEIGHTS)


@pytest.mark.parametrize("counter", ["n_averaged", "steps"])
def test_counters_of_an_average_do_not_hide_its_prefix(counter):
    found = select_weights({"ema_state_dict": {counter: torch.tensor(5), **with_prefix("module.")}})
    assert_same_state(found.tensors, WEIGHTS)
    assert found.skipped == {counter: "a counter of the averaging"}


def test_the_model_keeps_the_prefixes_that_it_has_itself():
    model = nn.Module()
    model.model = tiny_focalnet(1)
    file = {f"module.model.{name}": value for name, value in snapshot(tiny_focalnet(2)).items()}
    load_checkpoint(model, {"state_dict": file})
    assert_same_state(model.model.state_dict(), tiny_focalnet(2).state_dict())


def test_the_report_says_what_was_taken():
    file = {f"_orig_mod.module.{name}": value for name, value in snapshot(tiny_focalnet(2)).items()}
    report = load_checkpoint(tiny_focalnet(1), {"params": file, "params_ema": file})
    first = str(report).splitlines()[0]
    assert first.endswith("loaded from its entry params, not params_ema, without _orig_mod., module. in the names")


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ({"model": WEIGHTS, "state_dict": AVERAGED}, {}),
        ({"params": WEIGHTS, "net": AVERAGED}, {}),
        ({"ema_model": WEIGHTS, "model_ema": AVERAGED}, {}),
        ({"model": {"z": WEIGHTS["a.bias"]}, "ema_model": WEIGHTS, "model_ema": AVERAGED}, {"ema": True}),
        ({"state_dict": {**with_prefix("teacher."), **with_prefix("student.")}}, {}),
        ({**with_prefix("model."), **with_prefix("model_ema.")}, {}),
    ],
)
def test_where_two_may_be_meant_the_file_asks(content, options):
    with pytest.raises(ValueError, match=r"m\.pth holds weights under \w+ and \w+: set train\.weights_entry=\w+"):
        select_weights(content, "m.pth", **options)


@pytest.mark.parametrize("name", ["weights", "module", "ema", "student", "network", "model_state_dict"])
@pytest.mark.parametrize("inside", [WEIGHTS, {"model": WEIGHTS}])
def test_an_entry_of_another_name_is_named_with_what_to_set(name, inside):
    content = {"epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}, name: inside}
    with pytest.raises(ValueError, match=rf"tensors in {name}: set train\.weights_entry={name} "):
        select_weights(content)
    assert_same_state(select_weights(content, entry=name).tensors, WEIGHTS)
    with pytest.raises(
        ValueError, match=rf"no averaged weights .* tensors in {name}: set train\.weights_entry={name} "
    ):
        select_weights({"model": WEIGHTS, **content}, ema=True)


@pytest.mark.parametrize(
    ("wrapped", "prefix"), [("net.", "net"), ("student.", "student"), ("a.b.", "a.b"), ("module.net.", "net")]
)
def test_a_prefix_that_all_names_share_is_named_with_what_to_set(wrapped, prefix):
    file = {"state_dict": {wrapped + name: value for name, value in snapshot(tiny_focalnet(2)).items()}}
    model = tiny_focalnet(1)
    with pytest.raises(ValueError, match=rf"all begin with '{prefix}\.': set train\.weights_entry={prefix} "):
        load_checkpoint(model, file)
    load_checkpoint(model, file, entry=prefix)
    assert_same_state(model.state_dict(), tiny_focalnet(2).state_dict())


def test_a_prefix_without_which_nothing_is_known_is_not_recommended():
    with pytest.raises(ValueError, match=r"has no layout .*2 \(net\.a\.weight, net\.a\.bias\)\.$"):
        load_checkpoint(tiny_focalnet(1), with_prefix("net."))


@pytest.mark.parametrize("value", [None, [1.0, 2.0], 0.5, {"a": torch.ones(2)}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_something_else_in_the_place_of_a_tensor_is_said(prefix, value):
    tensors = snapshot(tiny_focalnet(2))
    name = next(name for name in tensors if name.endswith("bias"))
    file = {prefix + key: value if key == name else tensor for key, tensor in tensors.items()}
    kind = type(value).__name__
    with pytest.raises(
        ValueError, match=rf"something else under names of tensors: 1 \({name}: a {kind}, not a tensor\)"
    ):
        load_checkpoint(tiny_focalnet(1), {"model": file, "epoch": 3})


def test_the_answer_is_an_entry_or_the_beginning_of_names():
    assert_same_state(select_weights({"model": AVERAGED, "net": WEIGHTS}, entry="net").tensors, WEIGHTS)
    both = {**with_prefix("teacher."), **{f"student.{name}": value for name, value in AVERAGED.items()}}
    for content in (both, {"state_dict": both}):
        assert_same_state(select_weights(content, entry="student").tensors, AVERAGED)
    with pytest.raises(ValueError, match=r"m\.pth has no entry 'nothing', and no names that begin with 'nothing\.'"):
        select_weights({"model": WEIGHTS}, "m.pth", entry="nothing")


@pytest.mark.parametrize("name", [3, None, ("a", 1), "", 2.5, b"a"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match=r"m\.pth holds a tensor under .*no name"):
        select_weights({"model": {**WEIGHTS, name: torch.ones(1)}}, "m.pth")


@pytest.mark.parametrize("names", [["module.", "module.a"], ["a._orig_mod.b", "a.b"]])
def test_names_of_which_nothing_is_left_are_refused(names):
    with pytest.raises(ValueError, match=r"m\.pth holds the odd name"):
        select_weights(dict.fromkeys(names, torch.ones(1)), "m.pth")


@pytest.mark.parametrize(
    "metadata",
    [
        {"thing_classes": 5},
        {"thing_classes": ["cat", 3]},
        {"thing_classes": "cat"},
        {"settings": [1]},
        {"model": 3},
        {3: "x"},
    ],
)
def test_odd_metadata_is_one_error_that_names_the_file(metadata):
    with pytest.raises(ValueError, match=r"The metadata of the checkpoint m\.pth is odd"):
        select_weights({"model": WEIGHTS, "metadata": metadata}, "m.pth")


def test_arrays_become_tensors_whatever_their_byte_order_and_strides():
    arrays = {"a": np.arange(6.0).reshape(2, 3)[::-1], "b": np.arange(3, dtype=">f4"), "c": np.full((), 2.0)}
    found = select_weights({**arrays, "names": np.array(["x"])})
    assert found.skipped == {"names": "a ndarray, not a tensor"}
    assert {name: value.tolist() for name, value in found.tensors.items()} == {
        "a": [[3, 4, 5], [0, 1, 2]], "b": [0, 1, 2], "c": 2,
    }  # fmt: skip
