"""Weights and optimizer state cut over two processes (gloo), against one process that has them whole."""

import json
import math
import os
import shutil

import pytest
import torch
from detectron2.utils import comm
from torch import nn

from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.data.generated import register_generated
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.distributed import launch, wrap_model
from focalnet_d2.engine.run import build_model
from focalnet_d2.engine.sharding import gathered, is_sharded, local_shard, recomputed_modules, total_norm
from focalnet_d2.engine.trainer import NonFiniteError, Trainer
from tests.tiny_run import SAME_EVERYWHERE, losses_of, tiny_dataset, train, write_dataset

FSDP = "train.parallel=fsdp"
RUN = (
    *SAME_EVERYWHERE,
    "train.max_iter=3",
    "train.checkpoint_period=2",
    "train.eval_period=2",
    "train.ema.enabled=True",
)
RECOMPUTE = tuple(f"model.{part}.use_checkpoint=True" for part in ("backbone.bottom_up", "encoder", "decoder"))
HALFWAY = "model_0000002.pth"


def stop_halfway(source: str, target: str) -> None:
    """A folder as it was after iteration 2 of a finished run."""
    os.makedirs(target)
    shutil.copy(os.path.join(source, HALFWAY), target)
    with open(os.path.join(target, "last_checkpoint"), "w") as file:
        file.write(HALFWAY)


def train_sharded_runs(folder: str) -> None:
    """In each of two processes: the runs to compare, one with few objects in parts, and one with a bad gradient."""
    register_generated(os.path.join(folder, "data", "generated"))
    train(os.path.join(folder, "fsdp"), *RUN, *RECOMPUTE, FSDP)
    for name, source in (("fsdp_after_fsdp", "fsdp"), ("fsdp_after_one", "one")):
        target = os.path.join(folder, name)
        if comm.is_main_process():
            stop_halfway(os.path.join(folder, source), target)
        comm.synchronize()
        train(target, *RUN, FSDP, resume=True)
    register_generated(os.path.join(folder, "one_image_with_objects", "generated"))
    train(
        os.path.join(folder, "uneven"),
        FSDP,
        "train.accumulation=2",
        "train.amp=bf16",
        "train.max_iter=2",
        dtype=torch.float32,
    )
    check_a_small_network(folder)


class Line(nn.Module):
    """Two layers of which activation checkpointing could recompute each."""

    use_checkpoint = False

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 1)])

    def forward(self, batch):
        return {"loss": self.layers[1](self.layers[0](torch.stack([sample["x"] for sample in batch]))).mean()}


def check_a_small_network(folder: str) -> None:
    """Accumulation sums what it sums in one process, norms are those of whole tensors, and errors name parameters."""
    torch.manual_seed(comm.get_rank())
    batch = [{"x": torch.full((3,), float(value))} for value in range(1, 5)]
    model = wrap_model(Line(), torch.device("cpu"), "fsdp")
    assert [name for name, value in model.named_parameters() if not is_sharded(value)] == []
    with gathered(model), torch.no_grad():  # before the first step, and one process alone
        assert not any(map(is_sharded, model.parameters()))
        assert comm.get_rank() == 1 or model(batch)["loss"].isfinite()
    assert all(map(is_sharded, model.parameters()))
    trainer = Trainer(model, [batch] * 2, torch.optim.SGD(model.parameters(), lr=0.0), device=torch.device("cpu"),
                      accumulation=2, output_dir=folder)  # fmt: skip
    trainer.write_metrics = lambda losses, norm, data_time: norms.append(norm)
    norms = []
    trainer.run_step()

    whole = Line()
    whole.load_state_dict({name: value.full_tensor() for name, value in model.state_dict().items()})
    whole(batch)["loss"].backward()
    gradients = [value.grad for value in whole.parameters()]
    for expected, value in zip(gradients, model.parameters()):
        torch.testing.assert_close(value.grad.full_tensor(), expected)
    torch.testing.assert_close(norms, [float(total_norm(gradients))])

    model.layers[0].register_forward_hook(lambda layer, inputs, output: output * float("inf"))
    trainer.check_losses = lambda losses, ranks: None
    trainer.iter = 1
    with pytest.raises(NonFiniteError, match=r"layers\.0\.weight"):
        trainer.run_step()
    assert local_shard(model.layers[0].weight).isfinite().all()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    write_dataset(folder / "one_image_with_objects", images_with_objects=1)
    with tiny_dataset(folder / "data"):
        train(str(folder / "one"), *RUN)
        launch(train_sharded_runs, num_processes=2, args=(str(folder),))
        stop_halfway(folder / "fsdp", folder / "one_after_fsdp")
        train(str(folder / "one_after_fsdp"), *RUN, resume=True)
    return folder


def weights(folder):
    return torch.load(folder / "weights.pth")


def test_two_sharded_processes_have_the_losses_of_one(runs):
    one, sharded = losses_of(runs / "one"), losses_of(runs / "fsdp")
    assert len(one) == len(sharded) >= 3
    for step_of_one, step in zip(one, sharded):
        assert step_of_one == pytest.approx(step, rel=1e-5)  # boxes and classes are float32


@pytest.mark.parametrize("name", ["fsdp", "fsdp_after_one", "one_after_fsdp"])
def test_weights_are_those_of_one_process(runs, name):
    """Also where one process went on from the file of two, or two from that of one."""
    torch.testing.assert_close(weights(runs / name), weights(runs / "one"), rtol=1e-4, atol=1e-6)


def test_stopped_and_resumed_equals_uninterrupted(runs):
    assert torch.equal(weights(runs / "fsdp_after_fsdp"), weights(runs / "fsdp"))


def test_files_are_those_of_one_process(runs):
    """The same names and plain, whole tensors in every part, averaged weights and moments included."""
    for name in (HALFWAY, "model_final.pth", "model_best.pth"):
        one, sharded = (flatten(read_checkpoint(runs / folder / name)) for folder in ("one", "fsdp"))
        assert {key for key in one if "rng" not in key} == {key for key in sharded if "rng" not in key}
        for key, value in one.items():
            if key[0] in ("model", "training_model", "optimizer") and key[-1] != "foreach":
                torch.testing.assert_close(value, sharded[key], rtol=1e-4, atol=1e-6)
        assert one["metadata", "model"] == sharded["metadata", "model"] == "DINO"


def flatten(value, path=()):
    """Nested dicts and lists -> one dict by path."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {path: value}
    return {key: leaf for name, child in value.items() for key, leaf in flatten(child, (*path, name)).items()}


def test_evaluation_on_the_way_has_the_results_of_one_process(runs):
    one, sharded = (json.loads((runs / name / "results.json").read_text()) for name in ("one", "fsdp"))
    assert one == sharded


def test_parts_of_a_batch_without_a_single_object_in_bf16(runs):
    steps = losses_of(runs / "uneven")
    assert len(steps) >= 2
    assert all(math.isfinite(value) for step in steps for value in step.values())


def test_blocks_and_layers_are_gathered_one_by_one():
    recipe = load_recipe("dino_focalnet_mini_quickstart")
    model = build_model(recipe)
    names = {name for name, module in model.named_modules() for layer in recomputed_modules(model) if module is layer}
    depths = recipe.model.backbone.bottom_up.depths
    assert {name for name in names if "backbone" in name} == {
        f"backbone.bottom_up.layers.{stage}.blocks.{block}" for stage, n in enumerate(depths) for block in range(n)
    }
    assert {"encoder.layers.0", "decoder.layers.0"} <= names


def test_one_process_has_nothing_to_cut():
    model = Line()
    assert wrap_model(model, resolve_device("cpu"), "fsdp") is model
    assert not any(map(is_sharded, model.parameters()))
    with pytest.raises(ValueError, match=r"train\.parallel is 'zero'.*ddp, fsdp"):
        wrap_model(model, resolve_device("cpu"), "zero")


def test_a_torch_that_cannot_shard_is_named(monkeypatch):
    monkeypatch.setattr("torch.distributed.fsdp.FSDPModule", object)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"newer torch than .*train\.parallel=ddp"):
        wrap_model(Line(), resolve_device("cpu"), "fsdp")
