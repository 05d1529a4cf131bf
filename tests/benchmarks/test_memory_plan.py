"""The count of living bytes against autograd's own list and against values, and the plan that is made of it."""

import pytest
import torch

from benchmarks.builders.memory_plan import LiveBytes, account
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.kernels.recomputing import keeping_everything
from focalnet_d2.modeling.flops import shapes_only


def small(**options):
    return FocalNet(16, depths=(2, 2, 2, 2), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 3, 3), **options).train()


def test_views_and_freed_tensors_do_not_count():
    given = torch.zeros(100)
    with LiveBytes() as counted:
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


def test_a_network_leaves_what_autograd_saves():
    """And its outputs; parameters and the image are nobody's doing."""
    network, image = small(), torch.randn(1, 3, 64, 64)
    given = {value.untyped_storage().data_ptr() for value in (image, *network.parameters())}
    found = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with keeping_everything(), LiveBytes() as counted, hooks:
        features = network(image)
        kept = counted.live
    for feature in features.values():
        note(feature)
    assert kept == sum(size for place, size in found.items() if place not in given)


@pytest.mark.parametrize("recompute", [False, True])
def test_shapes_alone_give_the_count_of_values(recompute):
    def peak(network, image):
        with LiveBytes() as counted:
            sum(value.sum() for value in network(image).values()).backward()
        return counted.peak, counted.live

    expected = peak(small(use_checkpoint=recompute), torch.randn(1, 3, 64, 64))
    with shapes_only():
        found = peak(small(use_checkpoint=recompute), torch.randn(1, 3, 64, 64))
    assert found == expected


def test_plan_of_a_small_detector():
    def total(**changes):
        settings = {"precision": "float32", "attention": "grid_sample", "recomputed": ()} | changes
        return account("dino_focalnet_mini_quickstart", (128, 160), **settings)

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
