"""Values that a model cannot hold as they are: refused before the first one is copied, or taken when asked for."""

import pytest
import torch
from torch import nn

from focalnet_d2.checkpoint import check_checkpoint, load_checkpoint, save_checkpoint
from tests.checkpoint.building import assert_same_state, snapshot, tiny_focalnet


def quantized(tensor):
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


ODD = {
    "int64": (torch.Tensor.long, "holds values that the model's types would cut.*int64 for float32"),
    "uint8": (lambda tensor: tensor.to(torch.uint8), "uint8 for float32"),
    "bool": (torch.Tensor.bool, "bool for float32"),
    "complex64": (lambda tensor: tensor.to(torch.complex64), "complex64 for float32"),
    "sparse": (lambda tensor: tensor.reshape(1, -1).to_sparse(), r"no model here can take.*\(sparse\)"),
    "quantized": (quantized, r"no model here can take.*\(quantized\)"),
    "meta": (lambda tensor: tensor.to("meta"), "without values"),
    "nan": (lambda tensor: torch.full_like(tensor, torch.nan), "NaN or infinite weights.*train.allow_nonfinite=True"),
    "inf": (lambda tensor: tensor / 0, "NaN or infinite weights"),
    "too large": (lambda tensor: tensor.double() * 1e300, "NaN or infinite weights"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # that parts of torch are experimental
@pytest.mark.parametrize("kind", ODD)
def test_a_single_odd_tensor_is_named_and_nothing_is_copied(tmp_path, kind):
    change, message = ODD[kind]
    model, path = tiny_focalnet(1), tmp_path / "m.pth"
    before = snapshot(model)
    state = snapshot(tiny_focalnet(2))
    last = list(state)[-1]
    state[last] = change(state[last])
    torch.save({"model": state}, path)
    with pytest.raises(ValueError, match=message) as error:
        load_checkpoint(model, path)
    assert "m.pth" in str(error.value)
    assert last in str(error.value)
    assert_same_state(model.state_dict(), before)


def test_what_is_not_finite_loads_when_asked_for_and_is_noted(tmp_path):
    model, state = tiny_focalnet(1), snapshot(tiny_focalnet(2))
    state["norm3.bias"][2], state["norm3.weight"][0] = torch.nan, -torch.inf
    save_checkpoint(tmp_path / "m.pth", {"model": state, "metadata": {}})
    report = load_checkpoint(model, tmp_path / "m.pth", allow_nonfinite=True)
    assert report.notes[-1] == "NaN or infinite are 2 (norm3.weight, norm3.bias)"
    assert model.norm3.bias[2].isnan()
    assert model.norm3.weight[0] == -torch.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        check_checkpoint(model, tmp_path / "m.pth")
    assert check_checkpoint(model, tmp_path / "m.pth", allow_nonfinite=True).loaded == report.loaded


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_floating_point_types_are_rounded_as_torch_does(dtype):
    model, state = tiny_focalnet(1), snapshot(tiny_focalnet(2))
    stored = {name: value.to(dtype) for name, value in state.items()}
    load_checkpoint(model, {"model": stored})
    assert_same_state(model.state_dict(), {name: value.float() for name, value in stored.items()})


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.flags = nn.BatchNorm1d(2), nn.Buffer(torch.tensor([True, False]))


@pytest.mark.parametrize(
    ("steps", "flags", "fits"),
    [
        (torch.tensor(7.0).half(), torch.tensor([False, True]), True),  # as programs that halve everything write it
        (torch.tensor(7, dtype=torch.int32), torch.tensor([False, True]), True),
        (torch.tensor(7.5), torch.tensor([False, True]), False),
        (torch.tensor(torch.inf), torch.tensor([False, True]), False),
        (torch.tensor(7), torch.tensor([0, 1]), False),
    ],
)
def test_counts_stay_whole_and_flags_stay_flags(steps, flags, fits):
    model = Counting()
    state = {**snapshot(model), "norm.num_batches_tracked": steps, "flags": flags}
    if fits:
        load_checkpoint(model, state)
        assert model.norm.num_batches_tracked == 7
        assert model.flags.tolist() == [False, True]
    else:
        with pytest.raises(ValueError, match=r"would cut: 1 \((norm\.num_batches_tracked|flags)"):
            load_checkpoint(model, state)
        assert model.norm.num_batches_tracked == 0
        assert model.flags.tolist() == [True, False]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["sparse", "quantized"])
def test_our_own_files_hold_no_odd_tensors(tmp_path, kind):
    with pytest.raises(TypeError, match=r"cannot hold data\['model'\]\['a'\]"):
        save_checkpoint(tmp_path / "m.pth", {"model": {"a": ODD[kind][0](torch.ones(3))}})
    assert not (tmp_path / "m.pth").exists()
