"""UPerNet: shapes and hand-made values of its parts, the loss, both modes of the whole model."""

import math

import pytest
import torch
from detectron2.data import transforms as T
from detectron2.layers import ShapeSpec
from torch import nn

from focalnet_d2.inference.tta import SemanticTTA
from focalnet_d2.modeling.upernet.model import FCNHead, UPerHead, pixel_cross_entropy
from focalnet_d2.modeling.upernet.sliding_window import WindowInference, resize
from tests.modeling.upernet.building import build_upernet


def sample(height: int = 40, width: int = 56, classes: int = 4, **more) -> dict:
    draws = torch.Generator().manual_seed(height + width)
    image = torch.randint(256, (3, height, width), generator=draws, dtype=torch.uint8)
    labels = torch.randint(classes, (height, width), generator=draws)
    labels[:3] = 255
    return {"image": image, "sem_seg": labels, **more}


@pytest.fixture
def model():
    return build_upernet()


@pytest.fixture
def features(model) -> dict:
    """Of an image of 72 x 104 pixels."""
    return {name: torch.randn(2, s.channels, -(-72 // s.stride), -(-104 // s.stride)) for name, s in shapes_of(model)}


def shapes_of(model):
    return model.backbone.output_shape().items()


# Heads


def make_shapes(channels: int) -> dict[str, ShapeSpec]:
    return {f"res{level}": ShapeSpec(channels=channels, stride=2**level) for level in range(2, 6)}


def test_maps_at_every_step_of_the_head(model, features):
    head = model.decode_head.eval()
    *finer, coarsest = features.values()
    context = head.pool(coarsest)
    assert context.shape == (2, 8, 3, 4)
    levels = head.top_down(finer, context)
    assert [tuple(level.shape) for level in levels] == [(2, 8, 18, 26), (2, 8, 9, 13), (2, 8, 5, 7), (2, 8, 3, 4)]
    assert levels[-1] is context
    assert head.fuse(levels).shape == (2, 8, 18, 26)
    assert head(features).shape == (2, 4, 18, 26)
    assert model.auxiliary_head(features).shape == (2, 4, 5, 7)


def first_channels(module: nn.Module) -> None:
    """Convolutions give the sum over input channels in every output channel, at the middle of the kernel."""
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d):
            nn.init.zeros_(convolution.weight)
            middle = convolution.kernel_size[0] // 2
            convolution.weight.data[:, :, middle, middle] = 1


def test_pooled_context_by_hand():
    """With all weights 1, one channel and no normalisation the context is the map plus the means of its parts."""
    head = UPerHead(make_shapes(1), num_classes=2, dim=1, pool_sizes=(1, 2)).eval()
    first_channels(head)
    scale = 1 / math.sqrt(1 + head.bottleneck.bn.eps)  # batch norm of variance 1
    coarsest = torch.arange(16.0).view(1, 1, 4, 4)
    quarters = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
    expected = coarsest + scale * (7.5 + resize(quarters[None, None], (4, 4)))
    torch.testing.assert_close(head.pool(coarsest), scale * expected)


def test_pyramid_by_hand():
    """Every level is its own map plus all coarser ones, each resized from the level above it."""
    head = UPerHead(make_shapes(1), num_classes=2, dim=1).eval()
    first_channels(head)
    scale = 1 / math.sqrt(1 + head.bottleneck.bn.eps)
    finer = [torch.rand(1, 1, 8, 8), torch.rand(1, 1, 4, 4), torch.rand(1, 1, 2, 2)]
    context = torch.full((1, 1, 1, 1), 3.0)
    third = scale * finer[2] + 3
    second = scale * finer[1] + resize(third, (4, 4))
    first = scale * finer[0] + resize(second, (8, 8))
    levels = head.top_down(finer, context)
    for level, expected in zip(levels, (scale * first, scale * second, scale * third, context), strict=True):
        torch.testing.assert_close(level, expected)
    fused = sum(resize(level, (8, 8)) for level in levels)
    torch.testing.assert_close(head.fuse(levels), scale * fused)


def test_convolutions_before_a_norm_have_no_bias_and_classifiers_do(model):
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and "_head." in name:
            assert (module.bias is not None) == name.endswith("conv_seg"), name
    norms = [module for name, module in model.named_modules() if name.endswith(".bn")]
    assert len(norms) == 4 + 1 + 3 + 3 + 1 + 1
    assert all(type(norm) is nn.SyncBatchNorm for norm in norms)


def test_dropout_takes_whole_channels_in_training(model, features):
    head = model.decode_head
    dropped = head.dropout.train()(torch.ones(50, 8, 4, 4))
    assert set(dropped.flatten(2).std(-1).unique().tolist()) == {0.0}
    assert 0.03 < (dropped[:, :, 0, 0] == 0).float().mean() < 0.2
    assert torch.equal(model.eval().decode_head(features), head(features))


@pytest.mark.parametrize("kind", ["UperNetHead", "UperNetFCNHead"])
def test_heads_of_transformers_give_the_same(kind):
    """transformers' UPerNet was compared with mmsegmentation's weights and outputs by its authors."""
    upernet = pytest.importorskip("transformers.models.upernet.modeling_upernet")
    configuration = pytest.importorskip("transformers").UperNetConfig(
        hidden_size=8, num_labels=4, auxiliary_channels=6, auxiliary_in_channels=32
    )
    torch.manual_seed(0)
    if kind == "UperNetHead":
        ours, theirs = UPerHead(make_shapes(32), num_classes=4, dim=8), upernet.UperNetHead(configuration, [32] * 4)
    else:
        ours, theirs = FCNHead(make_shapes(32), num_classes=4, dim=6), upernet.UperNetFCNHead(configuration, [32] * 4)
    for name, value in ours.state_dict().items():
        if value.is_floating_point():
            value.copy_(
                torch.rand(value.shape) + 0.1 if name.endswith(("bn.weight", "var")) else torch.randn(value.shape)
            )
    renamed = {
        name.replace("bn.", "batch_norm.").replace("conv_seg", "classifier"): value
        for name, value in ours.state_dict().items()
    }
    theirs.load_state_dict(renamed)
    maps = [torch.randn(2, 32, -(-50 // stride), -(-70 // stride)) for stride in (4, 8, 16, 32)]
    expected = theirs.eval()(maps)
    torch.testing.assert_close(ours.eval()(dict(zip(make_shapes(32), maps, strict=True))), expected)


# Loss


def test_loss_by_hand():
    """Two classes with logits 0 and log 3: probabilities 1/4 and 3/4; the ignored pixel counts as a pixel."""
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    labels = torch.tensor([[[0, 1, 1, 255]]])
    expected = (math.log(4) + 2 * math.log(4 / 3)) / 4
    assert pixel_cross_entropy(logits, labels, 255).item() == pytest.approx(expected)


def test_logits_are_resized_to_the_labels():
    logits = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]]]])  # (1, 2, 1, 2) -> columns 0, 1/4, 3/4, 1
    labels = torch.zeros(1, 2, 4, dtype=torch.int64)
    expected = sum(math.log(1 + math.exp(-x)) for x in (0, 0.25, 0.75, 1)) / 4
    assert pixel_cross_entropy(logits, labels, 255).item() == pytest.approx(expected)


def test_loss_of_half_precision_logits_is_float32():
    loss = pixel_cross_entropy(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16), torch.zeros(1, 4, 4, dtype=torch.long), 9)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(3))


# Training


def test_gradient_reaches_every_parameter(model):
    losses = model.train()([sample(), sample(33, 70)])
    assert list(losses) == ["loss_seg", "loss_seg_aux"]
    sum(losses.values()).backward()
    without = [
        name for name, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()
    ]
    assert without == []
    assert all(value.grad.abs().sum() > 0 for name, value in model.named_parameters() if "conv_seg" in name)


def test_the_auxiliary_loss_has_its_weight(model):
    for head in (model.decode_head, model.auxiliary_head):
        nn.init.zeros_(head.conv_seg.weight)
    losses = model.train()([sample(), sample()])
    counted = 37 / 40  # rows that are not ignored
    assert losses["loss_seg"].item() == pytest.approx(counted * math.log(4), rel=1e-5)
    assert losses["loss_seg_aux"].item() == pytest.approx(0.4 * counted * math.log(4), rel=1e-5)


def test_images_without_labels_train_with_a_loss_of_zero(model):
    empty = torch.full((40, 56), 255)
    losses = model.train()([sample(sem_seg=empty), sample(sem_seg=empty)])
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)


def test_small_batches_are_padded_to_the_training_size():
    """Images with zeros after they are normalised, labels with the ignored one."""
    model = build_upernet(train_size=64)
    batch = [sample(40, 56), sample(33, 70)]
    padded = model.preprocess(batch)
    images, labels = padded.tensor, model.prepare_targets(batch, padded)
    assert images.shape == (2, 3, 64, 70)
    assert labels.shape == (2, 64, 70)
    assert (images[0, :, 40:] == 0).all()
    assert (images[0, :, :, 56:] == 0).all()
    assert (labels[0, 40:] == 255).all()
    assert (labels[1, :, 70:] == 255).all()
    assert torch.equal(labels[1, :33, :70], sample(33, 70)["sem_seg"])
    pixel = (sample(33, 70)["image"][0, 7, 9] - 123.675) / 58.395
    assert images[1, 0, 7, 9].item() == pytest.approx(pixel.item(), rel=1e-5)


def test_mixed_precision_trains_with_finite_losses(model):
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.train()([sample(), sample()])
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_one_image_cannot_train(model):
    with pytest.raises(ValueError, match=r"cannot train on one image.*total_batch_size.*accumulation"):
        model.train()([sample()])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((40, 56), 4), r"the labels 4; the model has the classes 0\.\.3 and ignores 255"),
        (torch.full((40, 56), -1), "the labels -1"),
        (None, "no sem_seg: UPerNet needs label maps, as SemanticSegMapper"),
        (torch.zeros(40, 55, dtype=torch.int64), r"shape \(40, 55\), its image \(40, 56\)"),
    ],
)
def test_labels_that_do_not_fit_are_named(model, labels, message):
    with pytest.raises(ValueError, match=message):
        model.train()([sample(), sample(sem_seg=labels)])


# Evaluation


def test_results_are_probabilities_at_the_wanted_size(model):
    results = model.eval()([sample(), {**sample(33, 70), "height": 20, "width": 90}])
    assert [list(result) for result in results] == [["sem_seg"], ["sem_seg"]]
    assert [tuple(result["sem_seg"].shape) for result in results] == [(4, 40, 56), (4, 20, 90)]
    for result in results:
        torch.testing.assert_close(result["sem_seg"].sum(0), torch.ones(result["sem_seg"].shape[1:]))
        assert not result["sem_seg"].requires_grad


def test_images_do_not_depend_on_each_other(model):
    model.eval()
    inputs = [sample(), sample(33, 70)]
    for alone, together in zip(inputs, model(inputs), strict=True):
        assert torch.equal(model([alone])[0]["sem_seg"], together["sem_seg"])


def test_one_window_over_the_image_is_the_whole_image(model):
    model.eval()
    (whole,) = model([sample()])
    model.inference = WindowInference(window=56, stride=30)
    assert torch.equal(model([sample()])[0]["sem_seg"], whole["sem_seg"])
    model.inference = WindowInference(window=32, stride=24)
    assert not torch.allclose(model([sample()])[0]["sem_seg"], whole["sem_seg"])


def test_each_window_goes_through_the_network_by_itself(model):
    seen = []
    model.eval().backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.inference = WindowInference(window=32, stride=24)
    model([sample()])
    image = (sample()["image"] - model.pixel_mean) / model.pixel_std
    starts = [(top, left) for top in (0, 8) for left in (0, 24)]
    for (top, left), given in zip(starts, seen, strict=True):
        torch.testing.assert_close(given[0], image[:, top : top + 32, left : left + 32])


def test_several_scales_are_means_of_probabilities(model):
    """Published for mmsegmentation: class probabilities of every copy at the size of the image, then their mean."""
    image = sample()["image"]
    (found,) = SemanticTTA(model.eval(), short_sides=(40, 60), max_size=200)([{"image": image}])
    copies = []
    for height, width in ((40, 56), (60, 84)):
        resized = T.ResizeTransform(40, 56, height, width).apply_image(image.permute(1, 2, 0).numpy())
        copy = torch.from_numpy(resized.copy()).permute(2, 0, 1)
        for mirrored in (False, True):
            normalized = ((copy.flip(2) if mirrored else copy) - model.pixel_mean) / model.pixel_std
            with torch.no_grad():
                logits = model.decode_head(model.backbone(normalized[None]))
            scores = resize(resize(logits, (height, width)), (40, 56))[0].softmax(0)
            copies.append(scores.flip(2) if mirrored else scores)
    torch.testing.assert_close(found["sem_seg"], torch.stack(copies).mean(0))


def test_the_model_on_the_meta_device():
    with torch.device("meta"):
        model = build_upernet()
    assert all(value.is_meta for value in model.state_dict().values())
