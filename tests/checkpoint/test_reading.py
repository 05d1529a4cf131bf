"""Opening checkpoint files: every kind that exists in the wild, and none of their code."""

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from yacs.config import CfgNode

from focalnet_d2.checkpoint import read_checkpoint, save_weights, select_weights


class Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Shell:
    """An object whose unpickling runs a command."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def weights():
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip format", "format before 1.6"])
def test_reads_both_torch_formats(tmp_path, weights, zipped):
    path = tmp_path / "model.pth"
    torch.save({"model": weights, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    content = read_checkpoint(path)
    assert content["epoch"] == 3
    assert torch.equal(content["model"]["a.weight"], weights["a.weight"])


def test_reads_the_arguments_of_official_dino_files(tmp_path, weights):
    path = tmp_path / "checkpoint0011.pth"
    torch.save(
        {"model": weights, "args": argparse.Namespace(lr=1e-4, names=["a"]), "lr_scheduler": {"x": {1: 2}}}, path
    )
    content = read_checkpoint(path)
    assert content["args"].lr == 1e-4
    assert set(select_weights(content).tensors) == set(weights)


def test_reads_the_configuration_of_microsoft_training_files_as_plain_data(tmp_path, weights):
    path = tmp_path / "focalnet.pth"
    config = CfgNode({"MODEL": {"NAME": "focalnet"}, "AMP": True})
    config.freeze()
    torch.save({"model": weights, "config": config, "max_accuracy": np.float64(83.5)}, path)
    content = read_checkpoint(path)
    assert type(content["config"]) is OrderedDict
    assert content["config"]["MODEL"]["NAME"] == "focalnet"
    assert content["max_accuracy"] == 83.5


@pytest.mark.parametrize("package", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_reads_model_zoo_pickles_of_either_numpy(tmp_path, package, protocol):
    array = np.arange(4, dtype=np.float32)
    text = pickle.dumps({"model": {"a": array}, "__author__": "x"}, protocol=protocol)
    function = array.__reduce_ex__(protocol)[0]
    old, new = function.__module__, f"{package}.{function.__module__.rpartition('.')[2]}"
    if protocol == 2:
        renamed = text.replace(f"c{old}\n".encode(), f"c{new}\n".encode())
    else:  # names carry their length
        renamed = text.replace(bytes([len(old)]) + old.encode(), bytes([len(new)]) + new.encode())
    assert new.encode() in renamed
    (tmp_path / "R-50.pkl").write_bytes(_without_frame(renamed))
    content = read_checkpoint(tmp_path / "R-50.pkl")
    assert torch.equal(select_weights(content).tensors["a"], torch.from_numpy(array))


def _without_frame(text: bytes) -> bytes:
    """The pickle without the frame that newer protocols put around it, whose length would be wrong."""
    return text[:2] + text[11:] if text[2:3] == b"\x95" else text


def test_reads_safetensors_with_metadata(tmp_path, weights):
    save_weights(tmp_path / "model.safetensors", weights, {"thing_classes": ["cat", "dog"], "step": 7})
    content = select_weights(read_checkpoint(tmp_path / "model.safetensors"))
    assert content.metadata == {"thing_classes": ["cat", "dog"], "step": 7}
    assert torch.equal(content.tensors["a.weight"], weights["a.weight"])


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: {"model": c}], ids=["bare", "model"])
@pytest.mark.parametrize("evil", [Touch, Shell])
@pytest.mark.parametrize("save", ["torch", "legacy", "pickle 2", "pickle 5"])
def test_a_pickle_that_would_run_code_is_refused_by_name_and_does_nothing(tmp_path, weights, wrap, evil, save):
    trap, path = tmp_path / "trap", tmp_path / "model.pth"
    content = wrap({**weights, "x": evil(trap)} if save[0] != "p" else {"x": evil(trap)})
    if save.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(save[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=save == "torch")
    with pytest.raises(ValueError, match=r"model\.pth asks for \S+.*nothing was run") as error:
        read_checkpoint(path)
    assert ("system" if evil is Shell else "pathlib") in str(error.value) or "getattr" in str(error.value)
    assert not trap.exists()


def test_a_pickle_may_not_reach_other_codecs(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.")
    with pytest.raises(ValueError, match=r"_codecs\.encode with rot13"):
        read_checkpoint(path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["pth", "pkl", "safetensors"])
def test_a_truncated_file_is_named(tmp_path, weights, kept, suffix):
    path = tmp_path / f"model.{suffix}"
    if suffix == "pth":
        torch.save({"model": weights}, path)
    elif suffix == "pkl":
        path.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in weights.items()}}))
    else:
        save_weights(path, weights)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=rf"model\.{suffix}.*(truncated|empty).*(copy|download)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"hello, these are not weights", "truncated, damaged or no checkpoint"),
    ],
)
def test_files_that_are_no_weights_say_what_they_are(tmp_path, content, message):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="is a folder"):
        read_checkpoint(tmp_path)


def test_a_file_that_holds_no_dictionary(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list"):
        read_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize("container", ["model", "state_dict", "teacher", None])
@pytest.mark.parametrize("prefix", ["", "module.", "visual.", "module.visual."])
def test_containers_and_prefixes_are_removed(weights, container, prefix):
    named = {prefix + name: value for name, value in weights.items()}
    content = {container: named, "optimizer": {"state": {}}} if container else named
    assert set(select_weights(content).tensors) == set(weights)


def test_a_prefix_that_only_some_names_have_stays():
    names = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert set(select_weights(names).tensors) == set(names)


def test_averaged_weights_are_taken_when_asked_for(weights):
    averaged = {name: value + 1 for name, value in weights.items()}
    content = {"model": weights, "ema_model": averaged}
    assert torch.equal(select_weights(content).tensors["a.bias"], weights["a.bias"])
    assert torch.equal(select_weights(content, ema=True).tensors["a.bias"], averaged["a.bias"])
    with pytest.raises(ValueError, match="no averaged weights"):
        select_weights({"model": weights}, ema=True)


def test_entries_that_are_no_tensors_are_reported_and_nothing_else_is_an_error(weights):
    assert select_weights({**weights, "epoch": 3}).skipped == {"epoch": "a int, not a tensor"}
    with pytest.raises(ValueError, match=r"m\.pth holds no weights; it holds epoch, loss"):
        select_weights({"epoch": 3, "loss": 0.5}, "m.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        select_weights({"model": {}})
