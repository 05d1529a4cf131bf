"""The count of living bytes against autograd's own list, against values, and against the memory of a process."""

from importlib import import_module

import pytest
import torch

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.modeling.flops import shapes_only


@pytest.fixture
def memory(run_benchmark):
    """The benchmark, whose folder `run_benchmark` has put on the path."""
    return import_module("memory")


def small(**options):
    return FocalNet(16, depths=(2, 2, 2, 2), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 3, 3), **options).train()


def test_views_and_freed_tensors_do_not_count(memory):
    given = torch.zeros(100)
    with memory.LiveBytes() as counted:
        first = given + 1
        view = first.view(10, 10).t()
        assert counted.live == 400
        second = given[:50] * view.sum()
        assert counted.live == 400 + 200
        del first
        assert counted.live == 400 + 200  # the view keeps it
        del view, second
    assert counted.live == 0
    assert counted.peak == 400 + 200 + 4


def test_a_network_leaves_what_autograd_saves(memory):
    """And its outputs; parameters and the image are nobody's doing."""
    network, image = small(), torch.randn(1, 3, 64, 64)
    given = {value.untyped_storage().data_ptr() for value in (image, *network.parameters())}
    found = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with memory.LiveBytes() as counted, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        features = network(image)
        kept = counted.live
    for feature in features.values():
        note(feature)
    assert kept == sum(size for place, size in found.items() if place not in given)


@pytest.mark.parametrize("recompute", [False, True])
def test_shapes_alone_give_the_count_of_values(memory, recompute):
    def peak(network, image):
        with memory.LiveBytes() as counted:
            sum(value.sum() for value in network(image).values()).backward()
        return counted.peak, counted.live

    expected = peak(small(use_checkpoint=recompute), torch.randn(1, 3, 64, 64))
    with shapes_only():
        found = peak(small(use_checkpoint=recompute), torch.randn(1, 3, 64, 64))
    assert found == expected


def test_a_process_grows_by_what_was_counted(run_benchmark):
    """Within a quarter, at a size where what libraries take for themselves is small."""
    [row] = run_benchmark("memory", "--cases", "tiny_lrf@256x256", "--plan", "--rounds", "1")["rows"]
    kept, recomputed = row["forms"]["kept"], row["forms"]["recomputed"]
    assert kept["counted_bytes"] > 1.2 * recomputed["counted_bytes"]
    assert kept["grown_bytes"] == pytest.approx(kept["counted_bytes"], rel=0.25)
    assert recomputed["seconds"] > 0


def test_plan_of_a_small_detector(memory):
    def total(**changes):
        settings = {"precision": "float32", "attention": "grid_sample", "recomputed": ()} | changes
        return memory.account("dino_focalnet_mini_quickstart", (128, 160), **settings)

    plain = total()
    less = total(recomputed=("backbone.bottom_up", "encoder"))
    kernel = total(attention="one kernel", precision="bfloat16")
    for found in (plain, less, kernel):
        assert found["total"] == 3 * found["parameters"] + found["step_peak"]
        assert sum(found["kept"].values()) <= found["step_peak"]
        assert min(found["kept"].values()) > 0
    for part in ("FocalNet", "encoder"):
        assert less["kept"][part] < 0.3 * plain["kept"][part]
    assert kernel["kept"]["encoder"] < 0.5 * plain["kept"]["encoder"]
    assert plain["blocks"]["stage 1"] > plain["blocks"]["stage 4"] > 0
    assert less["blocks"] == {}
