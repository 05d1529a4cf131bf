"""Mask2Former: one network for panoptic, instance and semantic segmentation (arXiv:2112.01527, figure 2).

Shapes: B images, Q queries, K classes, C and E channels of pyramid and mask features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.modeling import Backbone
from torch import Tensor

from focalnet_d2.modeling.base import PIXEL_MEAN, PIXEL_STD, ImageBatch, ImageModel, ImageSizes, Task, training_targets
from focalnet_d2.set_prediction.targets import MaskTargets, checked_labels, note_targets, prepare_mask_targets

from .checkpoint import LAYOUTS
from .criterion import Mask2FormerCriterion
from .pixel_decoder import PixelDecoder
from .postprocessing import SegmentationInference
from .transformer_decoder import MaskedAttentionDecoder, MaskPredictions, predict_masks


class Mask2FormerOutputs(MaskPredictions):
    """Predictions of the last decoder layer, with those before it.

    Attributes:
        mask_features: (B, E, H/4, W/4); `predict_masks` makes masks of them.
        aux_outputs: of the queries before the first layer and after all layers but the last.
    """

    mask_features: Tensor
    aux_outputs: list[MaskPredictions]


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
        ValueError: more instances asked for than there are pairs of query and class, or a decoder that reads maps of
            another width than the pixel decoder makes.
    """

    layouts = LAYOUTS
    export_decoder = "query_masks"

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
        if decoder.in_dim != pixel_decoder.dim:
            raise ValueError(
                f"decoder.in_dim is {decoder.in_dim}, but pixel_decoder.dim is {pixel_decoder.dim}: set "
                "pixel_decoder.dim alone, to which the recipe's decoder.in_dim is linked."
            )
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.decoder = decoder
        self.criterion = criterion
        self.inference = inference
        self.size_divisibility = size_divisibility

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What `inference` is set to make."""
        return self.inference.tasks

    def preprocess(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageBatch:
        """Images, normalized and padded to a multiple of `size_divisibility`."""
        return self.normalize_and_pad(batched_inputs, self.size_divisibility)

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> list[MaskTargets]:
        """Classes and masks of the `instances` of each image.

        Raises:
            ValueError: a class index outside 0..num_classes - 1, or masks of another size than the image.
        """
        return prepare_mask_targets(training_targets(batched_inputs, "instances"), self.device, self.num_classes)

    def note_divisors(self, batched_inputs: Sequence[Mapping[str, Any]]) -> None:
        """Objects of the images and weights of the queries' classes.

        Both are known from the objects, unless an image has more of them than there are queries: which of them are
        matched is then seen by a whole pass.
        """
        instances = training_targets(batched_inputs, "instances")
        labels = [checked_labels(image, self.device, self.num_classes) for image in instances]
        if max(map(len, labels)) > self.decoder.num_queries:
            return super().note_divisors(batched_inputs)
        note_targets(labels)
        self.criterion.note_class_weights(labels, self.decoder.num_queries, 1 + len(self.decoder.layers))

    def predict(self, images: ImageBatch, targets: Sequence[MaskTargets] | None = None) -> Mask2FormerOutputs:
        """Predictions of all queries; the targets are not looked at."""
        mask_features, multi_scale_features = self.pixel_decoder(self.backbone(images.tensor))
        *earlier, last = self.decoder(mask_features, multi_scale_features)
        return {
            "pred_logits": last["pred_logits"],
            "mask_embed": last["mask_embed"],
            "mask_features": mask_features,
            "aux_outputs": earlier,
        }

    def losses(self, outputs: Mask2FormerOutputs, targets: Sequence[MaskTargets]) -> dict[str, Tensor]:
        """Weighted losses by name, scalars; see `Mask2FormerCriterion`."""
        last: MaskPredictions = {"pred_logits": outputs["pred_logits"], "mask_embed": outputs["mask_embed"]}
        return self.criterion([*outputs["aux_outputs"], last], outputs["mask_features"], targets)

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """`pred_logits` (B, Q, K + 1), no object last, and `pred_masks` (B, Q, H/4, W/4) logits."""
        outputs = self.predict(images)
        masks = predict_masks(outputs["mask_embed"], outputs["mask_features"])  # (B, Q, H/4, W/4)
        return {"pred_logits": outputs["pred_logits"], "pred_masks": masks}

    def export_settings(self) -> dict[str, Any]:
        """What `query_masks` decodes with."""
        return self.inference.settings()

    def postprocess(self, outputs: Mask2FormerOutputs, sizes: ImageSizes) -> list[dict[str, Any]]:
        """The results of each image that `inference` is set to make, at its output size."""
        results = []
        for image, (image_size, output_size) in enumerate(zip(sizes.images, sizes.outputs, strict=True)):
            mask_logits = predict_masks(outputs["mask_embed"][image], outputs["mask_features"][image])  # (Q, H/4, W/4)
            result = self.inference(
                outputs["pred_logits"][image], mask_logits,
                padded_size=sizes.padded, image_size=image_size, output_size=output_size,
            )  # fmt: skip
            results.append(result)
        return results
