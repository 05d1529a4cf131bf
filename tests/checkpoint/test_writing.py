"""Saving: complete or not at all, and nothing that reading would refuse."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint, save_weights
from focalnet_d2.utils import atomic_write as atomic_files


def test_what_is_saved_is_read_back(tmp_path):
    path = tmp_path / "new" / "model_0000009.pth"
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_checkpoint(
        path,
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "iteration": 9, "best": np.float64(1.5)},
    )
    content = read_checkpoint(path)
    assert torch.equal(content["model"]["weight"], model.weight)
    assert content["optimizer"]["state"][0]["step"] == 1
    assert (content["iteration"], content["best"]) == (9, 1.5)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("save", ["checkpoint", "weights"])
@pytest.mark.parametrize("moment", ["writing", "syncing", "renaming"])
def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, save, moment):
    path = tmp_path / ("model.pth" if save == "checkpoint" else "model.safetensors")

    def write(value):
        state = {"a": torch.full((1000,), value)}
        save_checkpoint(path, {"model": state}) if save == "checkpoint" else save_weights(path, state)

    def fail(*args):
        raise OSError("No space left on device")

    write(1.0)
    old = path.read_bytes()

    if moment == "writing":
        opened = open

        def half_open(name, mode):
            file = opened(name, mode)
            file.write(b"half")
            file.close()
            return file

        monkeypatch.setattr(atomic_files, "open", half_open, raising=False)
    else:
        monkeypatch.setattr(atomic_files.os, {"syncing": "fsync", "renaming": "replace"}[moment], fail)
    with pytest.raises((OSError, ValueError, RuntimeError)):
        write(2.0)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == [path.name]
    write(2.0)
    assert read_checkpoint(path)["model"]["a"][0] == 2.0


def test_what_could_not_be_read_back_is_refused_before_writing(tmp_path):
    path = tmp_path / "model.pth"
    save_checkpoint(path, {"iteration": 1})
    with pytest.raises(TypeError, match=r"data\['hooks'\]\[1\], a Linear"):
        save_checkpoint(path, {"hooks": [1, nn.Linear(1, 1)]})
    assert read_checkpoint(path) == {"iteration": 1}


def test_weights_that_share_memory_can_be_saved(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    save_weights(tmp_path / "model.safetensors", model, {"note": "shared"})
    content = read_checkpoint(tmp_path / "model.safetensors")
    assert torch.equal(content["model"]["1.weight"], model[0].weight)
    assert content["metadata"] == {"note": "shared"}
