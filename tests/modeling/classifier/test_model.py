"""The classifier: scores, losses with and without mixing, what it refuses."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.modeling.classifier.model import BatchMixing, ImageClassifier

TINY = dict(embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(1, 1, 1, 1), focal_windows=(3, 3, 3, 3))


def build(num_classes=4, *, mixing=None, label_smoothing=0.1, backbone=None, **changes) -> ImageClassifier:
    """A classifier whose every parameter is random."""
    backbone = backbone or FocalNet(**{**TINY, "out_features": ("res5",), **changes})
    model = ImageClassifier(backbone, num_classes=num_classes, mixing=mixing, label_smoothing=label_smoothing)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def inputs(*sizes, classes=None):
    classes = range(len(sizes)) if classes is None else classes
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    return [{"image": image, "class_id": class_id} for image, class_id in zip(images, classes)]


def test_scores_are_those_of_each_image_alone():
    model, batch = build().eval(), inputs((64, 32), (64, 32), (64, 32))
    with torch.no_grad():
        together = model(batch)
        alone = [model([image])[0] for image in batch]
    assert [sorted(result) for result in together] == [["scores"]] * 3
    for a, b in zip(together, alone):
        assert a["scores"].shape == (4,)
        torch.testing.assert_close(a["scores"], b["scores"], atol=1e-5, rtol=1e-5)


def test_scores_are_the_head_over_the_mean_of_the_last_stage():
    model, batch = build().eval(), inputs((64, 96))
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    image = ((batch[0]["image"].permute(1, 2, 0) - mean) / std).permute(2, 0, 1)
    with torch.no_grad():
        features = model.backbone(image[None])["res5"]
        expected = model.head.weight @ features[0].flatten(1).mean(1) + model.head.bias
        torch.testing.assert_close(model(batch)[0]["scores"], expected, atol=1e-5, rtol=1e-5)


def test_the_isotropic_network_has_one_stage_of_stride_16():
    backbone = FocalNet(
        8, depths=(2,), focal_levels=(1,), focal_windows=(3,), patch_size=16, out_features=("res2",)
    )  # fmt: skip
    model = build(backbone=backbone).eval()
    assert model.head.in_features == 8
    assert model(inputs((32, 48)))[0]["scores"].shape == (4,)


def test_loss_is_cross_entropy_with_smoothed_targets():
    model, batch = build(label_smoothing=0.2).train(), inputs((32, 32), (32, 32), classes=[3, 1])
    loss = model(batch)["loss_class"]
    with torch.no_grad():
        log_probabilities = model.run_network(model.preprocess(batch).tensor).log_softmax(1)
    targets = torch.full((2, 4), 0.05)
    targets[0, 3] = targets[1, 1] = 0.85
    torch.testing.assert_close(loss, -(targets * log_probabilities).sum() / 2)


@pytest.mark.parametrize("mixing", [None, BatchMixing()])
def test_gradient_reaches_every_parameter(mixing):
    model = build(mixing=mixing, use_conv_embed=True, use_layerscale=True, use_postln_in_modulation=True).train()
    model(inputs((64, 64), (64, 64), classes=[0, 2]))["loss_class"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_autocast_trains_and_gives_float_scores():
    model = build(mixing=BatchMixing())
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(inputs((64, 64), (64, 64), classes=[0, 2]))["loss_class"]
        scores = model.eval()(inputs((64, 64)))[0]["scores"]
    assert loss.isfinite()
    assert scores.dtype == torch.float32


# Mixing


def mixed(seed=0, **options):
    """Images of one colour each, mixed, with their targets."""
    np.random.seed(seed)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 16).clone()
    return BatchMixing(**options)(images, torch.tensor([0, 1, 2, 3]), 5, 0.1)


def test_mixup_adds_the_reversed_batch_with_the_shares_of_the_targets():
    images, targets = mixed(cutmix=0.0)
    off, on = 0.02, 0.92  # smoothing 0.1 over 5 classes
    share = (targets[0, 0] - off) / (on - off)
    assert 0 < share < 1
    torch.testing.assert_close(images[0], torch.full_like(images[0], float(3 * (1 - share))))
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    torch.testing.assert_close(targets[0], torch.tensor([off, off, off, off, off]) + (on - off) * torch.tensor(
        [share, 0, 0, 1 - share, 0]
    ))  # fmt: skip


def test_cutmix_pastes_the_reversed_batch_with_the_share_of_its_area():
    images, targets = mixed(mixup=0.0, seed=2)
    pasted = (images[0] == 3).float().mean()
    assert 0 < pasted < 1
    assert set(images[0].unique().tolist()) == {0.0, 3.0}
    torch.testing.assert_close(targets[0, 3], 0.02 + 0.9 * pasted)


def test_each_batch_is_mixed_in_one_of_the_two_ways():
    whole = [len(mixed(seed=seed)[0][0].unique()) == 1 for seed in range(20)]  # mixup leaves one colour
    assert 3 < sum(whole) < 17


def test_a_mixed_loss_goes_by_the_mixed_targets():
    model, batch = build(mixing=BatchMixing()).train(), inputs((32, 32), (32, 32))
    np.random.seed(3)
    loss = model(batch)["loss_class"]
    np.random.seed(3)
    images = model.preprocess(batch)
    mixed, targets = model.mixing(images.tensor, model.prepare_targets(batch, images), 4, 0.1)
    torch.testing.assert_close(loss, F.cross_entropy(model.run_network(mixed), targets))


def test_mixing_leaves_evaluation_alone():
    model, batch = build(mixing=BatchMixing()).eval(), inputs((32, 32))
    assert torch.equal(model(batch)[0]["scores"], model(batch)[0]["scores"])


def test_an_odd_batch_cannot_be_mixed():
    with pytest.raises(ValueError, match=r"batch of 3 images .*total_batch_size.*model\.mixing=null"):
        build(mixing=BatchMixing()).train()(inputs((32, 32), (32, 32), (32, 32)))


def test_mixing_without_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.data.mixup", None)
    with pytest.raises(ImportError, match=r"pip install focalnet-d2\[classification\]"):
        mixed()


def test_mixing_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"Mixup 0 and cutmix 0 mix nothing"):
        BatchMixing(mixup=0, cutmix=0)


# What is refused


def test_images_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"sizes \(height, width\) \(32, 32\), \(64, 32\): a classifier needs one"):
        build().eval()(inputs((64, 32), (32, 32)))


@pytest.mark.parametrize("class_id", [4, -1])
def test_a_class_that_the_model_does_not_have_is_refused(class_id):
    with pytest.raises(ValueError, match=rf"Class {class_id} is none of the model's 4"):
        build().train()(inputs((32, 32), classes=[class_id]))


@pytest.mark.parametrize("outputs", [("res4",), ("res4", "res5"), ("res2", "res3", "res4", "res5")])
def test_a_backbone_with_other_outputs_is_refused(outputs):
    with pytest.raises(ValueError, match=r"set model\.backbone\.out_features=\[res5\]"):
        build(out_features=outputs)


def test_the_model_is_built_without_values():
    with torch.device("meta"):
        model = ImageClassifier(FocalNet(**TINY, out_features=("res5",)), mixing=BatchMixing())
    assert model.head.weight.is_meta
    assert model.device.type == "meta"
