"""Classes weigh in the class losses what `train.class_weights` says, in every model."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from focalnet_d2.engine.class_weights import balanced_weights, class_frequencies, typed_weights, weigh_classes
from focalnet_d2.engine.preflight import RunData
from tests.engine.test_accumulation import MODELS, make_sample

CLASS_LOSSES = ("loss_class", "loss_cls", "loss_seg")
NAMES = ["cat", "dog", "traffic light"]


def class_loss(model, batch, weights):
    """The sum of the class losses, and its gradient."""
    model.weigh_classes(weights)
    torch.manual_seed(1)
    loss = sum(value for name, value in model(batch).items() if name.startswith(CLASS_LOSSES))
    gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


@pytest.mark.parametrize("name", ["dino", "sparse_rcnn", "atss", "mask_rcnn", "upernet", "classifier"])
def test_the_part_of_a_class_grows_with_its_weight(name):
    model = MODELS[name]().train()
    batch = [make_sample(seed, (64, 64), 2) for seed in (5, 10)]  # class 0 for a classifier
    for sample in batch:
        sample["instances"].gt_classes[:] = 0
        sample["sem_seg"][sample["sem_seg"] != 255] = 0
    (plain, gradient), (ones, same), (twice, of_twice), (thrice, of_thrice), (other, _) = (
        class_loss(model, batch, [weight, second, 1, 1, 1])
        for weight, second in ((1, 1), (1.0, 1.0), (2, 1), (3, 1), (1, 9))
    )
    assert torch.equal(plain, ones)
    assert torch.equal(gradient, same)
    assert twice > plain * 1.01
    torch.testing.assert_close(thrice - plain, 2 * (twice - plain), rtol=1e-4, atol=1e-5)
    of_class = of_twice - gradient
    assert (of_thrice - gradient - 2 * of_class).norm() <= 1e-3 * of_class.norm()
    torch.testing.assert_close(other, plain)  # nothing shows the second class


def test_mask2former_has_the_weights_beside_that_of_no_object():
    criterion = MODELS["mask2former"]().criterion
    criterion.weight_of_class = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.5])
    logits, labels = torch.randn(2, 4, 6), [torch.tensor([4, 0]), torch.tensor([], dtype=torch.int64)]
    nothing = torch.tensor([], dtype=torch.int64)
    pairs = [(torch.tensor([3, 1]), torch.tensor([0, 1])), (nothing, nothing)]
    target = torch.tensor([[5, 0, 5, 4], [5] * 4])
    expected = F.cross_entropy(logits.flatten(0, 1), target.flatten(), torch.tensor([2.0, 1, 1, 1, 0.5, 0.1]))
    torch.testing.assert_close(criterion.class_loss(logits, pairs, labels), expected)


def test_a_model_takes_one_weight_for_each_class():
    with pytest.raises(ValueError, match="2 weights of classes for 5 classes"):
        MODELS["classifier"]().weigh_classes([1, 2])


@settings(max_examples=25)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
def test_automatic_weights_keep_the_scale_and_go_with_the_square_root(counts):
    weights = balanced_weights(counts)
    assert all(weight == 1 for weight, count in zip(weights, counts) if count == 0)
    if sum(counts):
        assert sum(n * w for n, w in zip(counts, weights)) / sum(counts) == pytest.approx(1)
    products = [weight * count**0.5 for weight, count in zip(weights, counts) if count]
    assert products == pytest.approx([products[0]] * len(products) if products else [])


@pytest.mark.parametrize(
    ("setting", "expected"),
    [([1, 2, 0.5], [1, 2, 0.5]), ({"dog": 3}, [1, 3, 1]), ({"traffic light": 0, "cat": 2}, [2, 1, 0])],
)
def test_typed_weights(setting, expected):
    assert typed_weights(setting, NAMES) == typed_weights(OmegaConf.create(setting), NAMES) == expected


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ([1, 2], "2 weights for 3 classes"),
        ({"dgo": 2}, "'dgo', which is no class: near are dog"),
        ([1, -1, 1], "gives dog the weight -1"),
        ({"cat": "x"}, "gives cat the weight 'x'"),
        ([1, float("nan"), 1], "gives dog the weight nan"),
        ("equal", "'equal': it must be auto"),
    ],
)
def test_weights_that_fit_no_class_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        typed_weights(setting, NAMES)


def test_frequencies_are_those_of_the_training_data_and_are_printed(caplog, monkeypatch):
    recipe = OmegaConf.create({"train": {"class_weights": "auto"}, "dataloader": {"train": {"mapper": None}}})
    data = RunData([{"annotations": []}], [], None, None, {"train": {"classes": {"a": 4, "b": 1}}})
    monkeypatch.setattr("focalnet_d2.engine.class_weights.class_names", lambda *_, **__: list("abcde"))
    model = MODELS["classifier"]()
    caplog.set_level("INFO")
    weigh_classes(model, recipe, data)
    assert model.weight_of_class.tolist() == pytest.approx([5 / 6, 10 / 6, 1, 1, 1])
    assert "a           4  0.8333" in caplog.text
    with pytest.raises(ValueError, match="has no classes to count; type the weights"):
        class_frequencies(recipe, RunData([{"annotations": []}], [], None), ["a"])
