"""Semantic segmentation averaged over scales and mirror images ("multi-scale" numbers of papers)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from detectron2.data import transforms as T
from torch import Tensor, nn

from .data.image_reading import read_image


class SemanticTTA(nn.Module):
    """Means of a model's class scores over resized and mirrored copies of each image.

    One copy is run at a time, and its scores are added up: memory does not grow with the number of copies.

    Args:
        model: returns `sem_seg` scores (K, H, W) at the `height` and `width` of its input dicts.
        short_sides: shorter side of each copy, in pixels.
        max_size: limit of the longer side, which takes precedence.
        flip: every copy is run mirrored as well.
        image_format: "RGB" or "BGR", whichever the model normalises; for images that are read here.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        short_sides: Sequence[int],
        max_size: int,
        flip: bool = True,
        image_format: str = "RGB",
    ):
        super().__init__()
        self.model = model
        self.short_sides = tuple(short_sides)
        self.max_size = max_size
        self.flip = flip
        self.image_format = image_format

    @torch.no_grad()
    def forward(self, batched_inputs: Sequence[Mapping]) -> list[dict[str, Tensor]]:
        """Detectron2's interface: mapper dicts -> per image `sem_seg` (K, height, width), mean scores.

        Args:
            batched_inputs: per image `image` (3, h, w) uint8, of which all copies are made and which should thus
                have the resolution of the file, or without it `file_name`; `height` and `width` of the wanted
                result (default: the image's own).

        Raises:
            ValueError: the model returns no `sem_seg`, or classes instead of scores.
        """
        return [{"sem_seg": self._mean_scores(image)} for image in batched_inputs]

    def _mean_scores(self, image_dict: Mapping) -> Tensor:
        """(K, height, width)."""
        image = self._image(image_dict)
        given = {key: value for key, value in image_dict.items() if key != "image"}
        size = {"height": given.get("height", image.shape[0]), "width": given.get("width", image.shape[1])}
        total, count = None, 0
        for copy, mirrored in self._copies(image):
            scores = _scores(self.model([{**given, **size, "image": copy}])[0])
            scores = scores.flip(-1) if mirrored else scores
            total = scores.clone() if total is None else total.add_(scores)
            count += 1
        return total.div_(count)

    def _image(self, image_dict: Mapping) -> np.ndarray:
        """(h, w, 3) uint8."""
        if "image" in image_dict:
            return image_dict["image"].permute(1, 2, 0).cpu().numpy()
        return read_image(image_dict["file_name"], self.image_format)

    def _copies(self, image: np.ndarray) -> Iterator[tuple[Tensor, bool]]:
        """(3, h', w') uint8 and whether it is mirrored."""
        height, width = image.shape[:2]
        for short_side in self.short_sides:
            size = T.ResizeShortestEdge.get_output_shape(height, width, short_side, self.max_size)
            resized = T.ResizeTransform(height, width, *size).apply_image(image)
            copy = torch.from_numpy(np.array(resized.transpose(2, 0, 1), order="C"))
            yield copy, False
            if self.flip:
                yield copy.flip(-1), True


def _scores(result: Mapping) -> Tensor:
    """`sem_seg` of a model's result: (K, H, W)."""
    scores = result.get("sem_seg")
    if scores is None:
        raise ValueError(
            f"The model returns {', '.join(result) or 'nothing'} but no sem_seg, whose mean is to be taken: switch its "
            "semantic inference on."
        )
    if scores.dim() != 3 or not scores.is_floating_point():
        raise ValueError(
            f"sem_seg of shape {tuple(scores.shape)}, {scores.dtype}, holds classes, and classes have no mean: let the "
            "model return scores, whatever memory they take (dense_bytes of its semantic inference)."
        )
    return scores
