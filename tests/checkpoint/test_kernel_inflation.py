"""Kernels and focal levels that differ between a classifier and the dense model."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.checkpoint import load_checkpoint
from focalnet_d2.checkpoint.kernel_inflation import fit_gates, fit_kernel
from tests.checkpoint.building import classifier_state, tiny_focalnet

odd = st.sampled_from([1, 3, 5, 7, 9, 11])


@given(old=odd, new=odd)
def test_growing_a_kernel_and_shrinking_it_again_changes_nothing(old, new):
    kernel = torch.randn(3, 1, old, old)
    resized = fit_kernel(kernel, new)
    assert resized.shape == (3, 1, new, new)
    assert resized[:, 0, new // 2, new // 2].equal(kernel[:, 0, old // 2, old // 2])
    if new >= old:
        assert fit_kernel(resized, old).equal(kernel)
        assert resized.abs().sum().isclose(kernel.abs().sum())


def test_shrinking_keeps_the_center():
    kernel = torch.arange(25.0).reshape(1, 1, 5, 5)
    assert fit_kernel(kernel, 3)[0, 0].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]


@given(dim=st.integers(1, 6), old=st.integers(1, 4), added=st.integers(0, 3), bias=st.booleans())
def test_gates_keep_their_places_and_the_global_one_stays_last(dim, old, added, bias):
    rows = torch.randn(2 * dim + old + 1) if bias else torch.randn(2 * dim + old + 1, dim)
    grown = fit_gates(rows, dim, old + added)
    assert grown.shape[0] == 2 * dim + old + added + 1
    assert grown[: 2 * dim + old].equal(rows[:-1])
    assert grown[-1].equal(rows[-1])
    assert not grown[2 * dim + old : -1].any()


@pytest.mark.parametrize("windows", [(5, 5, 5, 5), (9, 9, 9, 9), (11, 9, 9, 7)])
def test_larger_windows_leave_the_outputs_as_they_were(windows):
    small = tiny_focalnet(seed=1)
    large = tiny_focalnet(seed=2, focal_windows=windows)
    load_checkpoint(large, small.state_dict())
    image = torch.randn(1, 3, 45, 38)
    for name, expected in small(image).items():
        torch.testing.assert_close(large(image)[name], expected, rtol=1e-5, atol=1e-5)


def test_an_added_level_starts_with_a_closed_gate():
    small = tiny_focalnet(seed=1)
    large = tiny_focalnet(seed=2, focal_levels=(3, 3, 3, 3))
    fresh = large.layers[0].blocks[0].modulation.focal_layers[2][0].weight.detach().clone()
    report = load_checkpoint(large, {"model": classifier_state(small)})
    modulation = large.layers[0].blocks[0].modulation
    assert modulation.focal_layers[2][0].weight.equal(fresh)
    assert modulation.f.weight[2 * 8 + 2].eq(0).all()
    assert modulation.f.bias[2 * 8 + 2] == 0
    assert modulation.f.bias[-1] == small.layers[0].blocks[0].modulation.f.bias[-1]
    assert "layers.0.blocks.0.modulation.focal_layers.2.0.weight" in report.missing
    assert report.resized["layers.0.blocks.0.modulation.f.bias"] == "(19,) -> (20,)"


def test_an_added_level_is_noted_where_the_modulator_is_normalized():
    state = tiny_focalnet(normalize_modulator=True).state_dict()
    report = load_checkpoint(tiny_focalnet(normalize_modulator=True, focal_levels=(3, 3, 3, 3)), state)
    assert any("divide the modulator" in note for note in report.notes)


def test_fewer_levels_than_the_file_are_refused():
    with pytest.raises(ValueError, match="it holds 2 focal levels; the model has 2,1,2,2 focal levels"):
        load_checkpoint(tiny_focalnet(focal_levels=(2, 1, 2, 2)), tiny_focalnet().state_dict())


@pytest.mark.parametrize("levels", [2, 3])
def test_a_kernel_that_the_file_has_a_gate_for_may_not_be_missing(levels):
    state = classifier_state(tiny_focalnet())
    del state["layers.2.blocks.1.modulation.focal_layers.1.0.weight"]
    with pytest.raises(ValueError, match=r"missing in the file: 1 \(layers\.2\.blocks\.1\S*focal_layers\.1\.0"):
        load_checkpoint(tiny_focalnet(focal_levels=(levels,) * 4), state)
