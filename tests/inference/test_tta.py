"""Means over scales and mirror images, of models whose answers are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.data import transforms as T
from PIL import Image
from torch import nn

from focalnet_d2.inference.tta import SemanticTTA


class PixelModel(nn.Module):
    """Scores that are linear in the pixels, and in the columns, so that mirror images matter."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, batched_inputs):
        (image,) = batched_inputs
        pixels = image["image"].float()
        self.seen.append(tuple(pixels.shape))
        columns = torch.linspace(0, 1, pixels.shape[-1]).expand(1, *pixels.shape[1:])
        scores = torch.cat([pixels / 255, columns])
        size = (image["height"], image["width"])
        return [{"sem_seg": F.interpolate(scores[None], size=size, mode="bilinear")[0], "instances": None}]


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(256, (3, 20, 30), dtype=torch.uint8)


def test_mean_made_by_hand(image):
    (found,) = SemanticTTA(PixelModel(), short_sides=(10, 20), max_size=100)([{"image": image}])
    model, parts = PixelModel(), []
    for height, width in ((10, 15), (20, 30)):
        array = T.ResizeTransform(20, 30, height, width).apply_image(image.permute(1, 2, 0).numpy())
        copy = torch.from_numpy(array.copy()).permute(2, 0, 1)
        for mirrored in (False, True):
            seen = copy.flip(2) if mirrored else copy
            scores = model([{"image": seen, "height": 20, "width": 30}])[0]["sem_seg"]
            parts.append(scores.flip(2) if mirrored else scores)
    torch.testing.assert_close(found["sem_seg"], torch.stack(parts).mean(0))
    assert list(found) == ["sem_seg"]


def test_mirroring_cancels_what_depends_on_the_side(image):
    """The last channel grows from left to right in the model's eyes; its mean over both directions is 1/2."""
    (with_flip,) = SemanticTTA(PixelModel(), short_sides=(20,), max_size=100)([{"image": image}])
    (without,) = SemanticTTA(PixelModel(), short_sides=(20,), max_size=100, flip=False)([{"image": image}])
    torch.testing.assert_close(with_flip["sem_seg"][3], torch.full((20, 30), 0.5))
    torch.testing.assert_close(without["sem_seg"][3, 0], torch.linspace(0, 1, 30))
    torch.testing.assert_close(with_flip["sem_seg"][:3], without["sem_seg"][:3])


def test_copies_and_result_have_their_sizes(image):
    model = PixelModel()
    (found,) = SemanticTTA(model, short_sides=(10, 40), max_size=45)([{"image": image, "height": 7, "width": 9}])
    assert model.seen == [(3, 10, 15), (3, 10, 15), (3, 30, 45), (3, 30, 45)]  # the longer side is held at 45
    assert found["sem_seg"].shape == (4, 7, 9)


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_without_an_image_the_file_is_read(image, tmp_path, image_format):
    path = tmp_path / "image.png"
    Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0))).save(path)
    wrapped = SemanticTTA(PixelModel(), short_sides=(20,), max_size=50, image_format=image_format)
    (found,) = wrapped([{"file_name": str(path)}])
    expected = image.float() / 255
    torch.testing.assert_close(found["sem_seg"][:3], expected if image_format == "RGB" else expected.flip(0))


def test_every_image_of_a_batch(image):
    wrapped = SemanticTTA(PixelModel(), short_sides=(10,), max_size=50)
    both = wrapped([{"image": image}, {"image": image.flip(1)}])
    torch.testing.assert_close(both[1]["sem_seg"], wrapped([{"image": image.flip(1)}])[0]["sem_seg"])
    assert not torch.equal(both[0]["sem_seg"], both[1]["sem_seg"])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"instances": None}, "returns instances but no sem_seg"),
        ({"sem_seg": torch.zeros(4, 5, dtype=torch.int16)}, "holds classes"),
    ],
)
def test_models_without_scores(image, result, message):
    class Other(nn.Module):
        def forward(self, batched_inputs):
            return [result]

    with pytest.raises(ValueError, match=message):
        SemanticTTA(Other(), short_sides=(10,), max_size=50)([{"image": image}])


def test_the_models_scores_stay_as_they_are(image):
    scores = torch.ones(2, 20, 30)

    class Same(nn.Module):
        def forward(self, batched_inputs):
            return [{"sem_seg": scores}]

    (found,) = SemanticTTA(Same(), short_sides=(10, 20), max_size=50)([{"image": image}])
    assert torch.equal(found["sem_seg"], torch.ones(2, 20, 30))
    assert torch.equal(scores, torch.ones(2, 20, 30))
