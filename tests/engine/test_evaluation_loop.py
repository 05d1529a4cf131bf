"""Evaluation leaves no trace in the model and in the random generators."""

import json
import math

import pytest
import torch
from detectron2.evaluation import DatasetEvaluator
from torch import nn

from focalnet_d2.engine.evaluation_loop import evaluation_mode, run_evaluation
from focalnet_d2.evaluation.report import results_table, write_results


class Counting(DatasetEvaluator):
    def reset(self):
        self.outputs = []

    def process(self, inputs, outputs):
        self.outputs += outputs

    def evaluate(self):
        return {"bbox": {"AP": float(sum(self.outputs)), "APs": math.nan, "AP-cat": 1.0}}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.frozen = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).eval()
        self.trained = nn.Dropout(0.5)

    def forward(self, batch):
        assert not any(module.training for module in self.modules())
        assert not torch.is_grad_enabled()
        torch.rand(3)
        return [float(sample["image"].sum()) for sample in batch]


def test_modes_and_random_numbers_are_as_before(tmp_path):
    model = Model().train()
    model.frozen.eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    results = run_evaluation(model, [[{"image": torch.ones(2)}], [{"image": torch.ones(3)}]], Counting(), tmp_path)
    assert results["bbox"]["AP"] == 5.0
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written == {"bbox": {"AP": 5.0, "APs": None, "AP-cat": 1.0}}


def test_modes_come_back_after_an_error():
    model = Model().train()
    with pytest.raises(RuntimeError), evaluation_mode(model):
        raise RuntimeError
    assert model.trained.training


def test_table_leaves_single_classes_out():
    table = results_table({"bbox": {"AP": 12.3456, "AP-cat": 1.0}})
    assert "12.346" in table
    assert "cat" not in table


def test_results_are_valid_json(tmp_path):
    write_results(tmp_path / "a" / "r.json", {"x": {"y": math.inf, "z": 1}})
    assert json.loads((tmp_path / "a" / "r.json").read_text()) == {"x": {"y": None, "z": 1}}
