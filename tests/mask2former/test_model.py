"""The whole model on tiny images: both modes, empty images, batches, settings that cannot work."""

import pytest
import torch
from detectron2.structures import BitMasks, Instances

from tests.mask2former.building import build_inference, build_mask2former


def mapper_dict(height: int = 40, width: int = 56, labels: tuple[int, ...] = (0, 3), **more) -> dict:
    draws = torch.Generator().manual_seed(height + width)
    instances = Instances((height, width))
    instances.gt_classes = torch.tensor(labels, dtype=torch.int64)
    if labels:  # an image without objects has no masks, as from Detectron2's own mapper
        instances.gt_masks = BitMasks(torch.rand(len(labels), height, width, generator=draws) > 0.7)
    image = torch.randint(256, (3, height, width), generator=draws, dtype=torch.uint8)
    return {"image": image, "instances": instances, **more}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_mask2former()


def test_training_gives_losses_whose_gradient_reaches_every_parameter(model):
    losses = model.train()([mapper_dict(), mapper_dict(33, 70, (1,))])
    assert len(losses) == 3 * 4
    assert all(loss.isfinite() and loss.requires_grad for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("labels", [[(), (2,)], [(), ()]])
def test_images_without_objects_train(model, labels):
    losses = model.train()([mapper_dict(40, 56 + i, image) for i, image in enumerate(labels)])
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_mixed_precision_trains_with_finite_losses(model):
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.train()([mapper_dict()])
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_evaluation_gives_results_of_the_wanted_size(model):
    results = model.eval()([mapper_dict(height=40, width=56), {**mapper_dict(48, 64), "height": 24, "width": 90}])
    for result, (height, width) in zip(results, [(40, 56), (24, 90)], strict=True):
        assert result["sem_seg"].shape == (5, height, width)
        assert result["panoptic_seg"][0].shape == (height, width)
        assert result["instances"].pred_masks.shape[1:] == (height, width)
        assert result["instances"].image_size == (height, width)
    assert not results[0]["sem_seg"].requires_grad


def test_only_the_tasks_that_are_on():
    model = build_mask2former(inference=build_inference("instance", top_k=7)).eval()
    (result,) = model([mapper_dict()])
    assert set(result) == {"instances"}
    assert len(result["instances"]) == 7


def test_images_are_padded_to_a_multiple_of_32(model):
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    model.eval()([mapper_dict(33, 64), mapper_dict(20, 65)])
    assert seen == [(2, 3, 64, 96)]


def test_images_of_one_size_do_not_depend_on_each_other(model):
    model.double().eval()
    inputs = [mapper_dict(64, 96), {**mapper_dict(64, 96), "image": torch.zeros(3, 64, 96, dtype=torch.uint8)}]
    together, alone = model(inputs), [model([one])[0] for one in inputs]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a["sem_seg"], b["sem_seg"])
        assert torch.equal(a["panoptic_seg"][0], b["panoptic_seg"][0])


def test_recomputation_gives_the_same_gradients(model):
    gradients = []
    for recompute in (False, True):
        model.pixel_decoder.encoder.use_checkpoint = model.decoder.use_checkpoint = recompute
        model.criterion.pairs_at_once = int(recompute)
        torch.manual_seed(3)
        model.zero_grad()
        sum(model.train()([mapper_dict()]).values()).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_a_class_outside_the_model_is_named(model):
    with pytest.raises(ValueError, match=r"gt_classes are \[0, 5\], outside the model's 0\.\.4"):
        model.train()([mapper_dict(labels=(0, 5))])


def test_masks_of_another_size_are_named(model):
    sample = mapper_dict()
    sample["instances"]._image_size = (40, 60)
    with pytest.raises(ValueError, match=r"gt_masks have the shape \(2, 40, 56\), expected \(2, 40, 60\)"):
        model.train()([sample])


def test_too_few_queries_for_the_instances_asked_for():
    with pytest.raises(ValueError, match=r"top_k 100 .* 12 queries times 5 classes.*num_queries"):
        build_mask2former(inference=build_inference("instance", top_k=100))
