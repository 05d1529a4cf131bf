"""Steps whose losses or gradients are not finite: what is kept of them, and those that are left out."""

import math

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import nn

from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.engine.checkpointing import RunState, resume_run
from focalnet_d2.engine.hooks import EMAHook, PeriodicCheckpoint
from focalnet_d2.engine.nonfinite import NonFiniteError, kept_files
from focalnet_d2.engine.plain_batch import from_plain, to_plain
from focalnet_d2.engine.rng import set_rng_state
from focalnet_d2.engine.run_folder import remove_run
from focalnet_d2.engine.trainer import Trainer
from focalnet_d2.structures.packed_masks import PackedMasks

CPU = torch.device("cpu")
NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=5))
ARRAYS = arrays(st.sampled_from([np.float32, np.uint8, np.int64, np.bool_]), array_shapes(max_dims=3, max_side=4))
LEAVES = st.one_of(NUMBERS, ARRAYS, ARRAYS.map(torch.from_numpy), ARRAYS.map(lambda a: Boxes(torch.zeros(a.size, 4))))
BATCHES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=8,
)


def same(one, other) -> bool:
    """Of the same types and the same content, bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Instances):
        return one.image_size == other.image_size and same(one.get_fields(), other.get_fields())
    if isinstance(one, PolygonMasks):
        return same(one.polygons, other.polygons)
    one, other = (value if isinstance(value, np.ndarray) else getattr(value, "tensor", value) for value in (one, other))
    if isinstance(one, np.ndarray | torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and repr(one.tolist()) == repr(other.tolist())
    return repr(one) == repr(other)


@given(BATCHES)
def test_what_becomes_plain_comes_back(value):
    assert same(from_plain(to_plain(value)), value)


def test_targets_of_all_kinds_come_back_from_a_file_that_runs_no_code(tmp_path):
    masks = torch.rand(2, 8, 8) > 0.5
    polygons = PolygonMasks([[np.array([0.0, 0, 4, 0, 4, 4])], [np.array([1.0, 1, 2, 1, 2, 2]), np.arange(6.0)]])
    instances = Instances((8, 8), gt_boxes=Boxes(torch.rand(2, 4)), gt_classes=torch.arange(2))
    instances.gt_masks, instances.polygons, instances.packed = BitMasks(masks), polygons, PackedMasks.pack(masks)
    batch = [{"image": torch.zeros(3, 8, 8)[:, ::2], "instances": instances, "image_id": np.int64(5)}]
    torch.save(to_plain(batch), tmp_path / "batch.pth")
    (found,) = from_plain(torch.load(tmp_path / "batch.pth", weights_only=True))
    assert same(found, {**batch[0], "image_id": 5})
    with pytest.raises(TypeError, match="a Generator cannot be kept"):
        to_plain([torch.Generator()])


class Model(nn.Module):
    """Its loss is not finite for images of NaN, its gradient for images of 0; it counts what it sees."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch):
        image = torch.stack([sample["image"] for sample in batch]).mean()
        self.seen += image.detach()
        spread = (image * self.weight * (1 + torch.rand(1))).abs()
        return {"loss": torch.where(image == 0, spread.sqrt(), spread).sum()}


IMAGES = {"good": 1.0, "bad": math.nan, "steep": 0.0}


class Run:
    """A run on images that are named by what becomes of them, in a folder."""

    def __init__(self, folder, names: str, *, skip: int, period: int = 2, resume: bool = False):
        torch.manual_seed(1)
        batches = [[{"image": torch.full((2,), IMAGES[name]), "file_name": name}] for name in names.split()]
        self.model = Model()
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        self.averaged = EMAHook(self.model, 0.5)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.state = RunState(
            self.model, optimizer=optimizer, scheduler=scheduler, scaler=scaler, averaged=self.averaged
        )
        self.start, rng = resume_run(folder, self.state) if resume else (0, None)
        self.trainer = Trainer(
            self.model, batches[self.start :], optimizer, device=CPU, output_dir=folder, skip_nonfinite=skip,
            state=self.state,
        )  # fmt: skip
        self.trainer.register_hooks([self.averaged, PeriodicCheckpoint(self.state, folder, period, 1)])
        self.count = len(batches)
        if rng is not None:
            set_rng_state(rng)

    def train(self, until: int | None = None) -> "Run":
        self.trainer.train(self.start, until or self.count)
        return self

    def values(self) -> list:
        return [
            self.model.weight.tolist(), float(self.model.seen), self.averaged.average["weight"].tolist(),
            vars(self.state.skips), torch.get_rng_state().tolist(),
        ]  # fmt: skip


def test_steps_in_a_row_are_left_out_and_leave_no_trace(tmp_path, caplog):
    run = Run(tmp_path, "good bad steep good bad good", skip=2).train()
    assert vars(run.state.skips) == {"total": 3, "in_row": 0}
    assert float(run.model.seen) == 3
    assert run.model.weight.isfinite().all()
    assert float(run.trainer.storage.latest()["skipped_steps"][0]) == 3
    assert "loss, at iteration 1, with the files bad. The step is left out (1 in a row, of train.skip" in caplog.text
    assert "gradients of weight are not finite, at iteration 2, with the files steep. The step is left" in caplog.text
    assert [path.name for path in kept_files(tmp_path)] == [f"nonfinite_000000{n}.pth" for n in (1, 2, 4)]


def test_a_step_that_is_left_out_moves_neither_weights_nor_their_average(tmp_path):
    run = Run(tmp_path, "good bad bad", skip=2)
    before = []
    step = run.trainer.run_step

    def watched():
        step()
        before.append([run.model.weight.tolist(), run.averaged.average["weight"].tolist()])

    run.trainer.run_step = watched
    run.train()
    assert before[1] == before[2] != before[0]  # the average follows the weights one step later
    assert run.averaged.average["weight"].tolist() == before[1][1]


def test_more_in_a_row_end_the_run_at_the_weights_that_were_good(tmp_path):
    """Checkpoints were written after 2 and 4 iterations; the row began after 3."""
    with pytest.raises(NonFiniteError, match=r"loss, at iteration 5, with the files bad\. .*`focalnet-d2 replay"):
        Run(tmp_path, "good good good bad bad bad good", skip=2).train()
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000002.pth"
    assert (tmp_path / "model_0000004.suspect.pth").exists()
    assert len(kept_files(tmp_path)) == 3
    remove_run(tmp_path)
    assert kept_files(tmp_path) == []


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_resumed_run_counts_on(tmp_path, at):
    names = "good bad bad good bad good"
    whole = Run(tmp_path / "whole", names, skip=2).train().values()
    Run(tmp_path / "parts", names, skip=2, period=at).train(at)
    resumed = Run(tmp_path / "parts", names, skip=2, resume=True).train()
    assert resumed.values() == whole
    Run(tmp_path / "short", "bad bad bad", skip=2, period=1).train(2)
    with pytest.raises(NonFiniteError, match="at iteration 2"):
        Run(tmp_path / "short", "bad bad bad", skip=2, resume=True).train()


def test_what_is_kept_is_what_the_step_began_with(tmp_path):
    torch.manual_seed(1)
    with pytest.raises(NonFiniteError):
        Run(tmp_path, "good bad", skip=0).train()
    content = read_checkpoint(tmp_path / "nonfinite_0000001.pth")
    assert (content["iteration"], content["terms"], content["is_check"]) == (1, ["loss"], False)
    assert content["model"]["seen"] == 1
    (rank,) = content["ranks"]
    assert from_plain(rank["batch"])[0]["file_name"] == "bad"
    assert math.isnan(rank["losses"]["loss"])
    set_rng_state(rank["rng"])
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert drawn != torch.rand(1)  # that of the first step
    assert drawn == torch.rand(1)


def test_a_full_disk_does_not_hide_what_happened(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device", "nonfinite.pth")

    monkeypatch.setattr("focalnet_d2.engine.nonfinite.save_checkpoint", fail)
    with pytest.raises(NonFiniteError, match=r"iteration 0, with the files bad\..* could be kept: .*No space left"):
        Run(tmp_path, "bad", skip=0).train()
