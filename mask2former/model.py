"""Mask2Former: one network for panoptic, instance and semantic segmentation (arXiv:2112.01527, figure 2).

Shapes: B images, Q queries, K classes, C and E channels of pyramid and mask features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.modeling import Backbone
from torch import Tensor

from focalnet_d2.modeling.base import PIXEL_MEAN, PIXEL_STD, ImageModel, output_sizes
from focalnet_d2.set_prediction.targets import prepare_mask_targets

from .checkpoint import LAYOUTS
from .criterion import Mask2FormerCriterion
from .pixel_decoder import PixelDecoder
from .postprocessing import SegmentationInference
from .transformer_decoder import MaskedAttentionDecoder, predict_masks


class Mask2Former(ImageModel):
    """Universal segmenter.

    Args:
        backbone: maps of strides 4 to 32.
        pixel_decoder, decoder: the head.
        criterion: used in training only.
        inference: which results are made, and from what threshold on.
        num_classes: classes K, without the no-object class.
        size_divisibility: images are padded to a multiple of it.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Raises:
        ValueError: more instances asked for than there are pairs of query and class.
    """

    layouts = LAYOUTS

    def __init__(
        self,
        backbone: Backbone,
        *,
        pixel_decoder: PixelDecoder,
        decoder: MaskedAttentionDecoder,
        criterion: Mask2FormerCriterion,
        inference: SegmentationInference,
        num_classes: int = 133,
        size_divisibility: int = 32,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        inference.check(decoder.num_queries, num_classes)
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.decoder = decoder
        self.criterion = criterion
        self.inference = inference
        self.size_divisibility = size_divisibility

    def forward(self, batched_inputs: Sequence[Mapping]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Detectron2's interface: mapper dicts -> weighted losses in training, results in evaluation.

        Args:
            batched_inputs: per image `image` (3, h, w) RGB in 0..255, and in training `instances` with `gt_classes`
                and `gt_masks`; in evaluation `height` and `width` of the wanted result (default: the image's own).
        """
        images, image_sizes = self.batch(batched_inputs, self.size_divisibility)
        predictions, mask_features = self.predict(images)
        if self.training:
            instances = [image["instances"] for image in batched_inputs]
            targets = prepare_mask_targets(instances, self.device, self.num_classes)
            return self.criterion(predictions, mask_features, targets)
        sizes = output_sizes(batched_inputs, image_sizes)
        return self.postprocess(predictions[-1], mask_features, tuple(images.shape[-2:]), image_sizes, sizes)

    def predict(self, images: Tensor) -> tuple[list[dict[str, Tensor]], Tensor]:
        """The network between normalised images and predictions: (B, 3, H, W) -> predictions, mask features.

        Returns:
            For the queries before the first and after every decoder layer `pred_logits` (B, Q, K + 1) and
            `mask_embed` (B, Q, E), the last one last; and (B, E, H/4, W/4). `predict_masks` makes masks of them.
        """
        mask_features, multi_scale_features = self.pixel_decoder(self.backbone(images))
        return self.decoder(mask_features, multi_scale_features), mask_features

    def postprocess(
        self,
        prediction: Mapping[str, Tensor],
        mask_features: Tensor,
        padded_size: tuple[int, int],
        image_sizes: Sequence[tuple[int, int]],
        output_sizes: Sequence[tuple[int, int]],
    ) -> list[dict[str, Any]]:
        """The results of each image that `inference` is set to make, at its output size (height, width)."""
        results = []
        for image, (image_size, output_size) in enumerate(zip(image_sizes, output_sizes, strict=True)):
            mask_logits = predict_masks(prediction["mask_embed"][image], mask_features[image])  # (Q, H/4, W/4)
            result = self.inference(
                prediction["pred_logits"][image], mask_logits,
                padded_size=padded_size, image_size=image_size, output_size=output_size,
            )  # fmt: skip
            results.append(result)
        return results
