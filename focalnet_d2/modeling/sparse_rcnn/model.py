"""Sparse R-CNN: a fixed set of learned proposals, refined stage by stage (arXiv:2011.12450).

Written so that weights of mmdetection give mmdetection's detections: images padded to a multiple of 32, regions by
the FPN paper's level rule with 2 x 2 samples a position, box changes bounded either way, boxes not clipped.

Shapes: B images, Q proposals, K classes.
"""

from collections.abc import Mapping, Sequence

from detectron2.modeling import Backbone
from detectron2.structures import Instances
from torch import Tensor

from focalnet_d2.set_prediction.criterion import SetCriterion
from focalnet_d2.set_prediction.postprocessing import select_detections
from focalnet_d2.set_prediction.targets import prepare_targets

from ..base import MM_DIVISOR, PIXEL_MEAN, PIXEL_STD, ImageModel, output_sizes
from .checkpoint import LAYOUTS
from .dynamic_head import DynamicHead


class SparseRCNN(ImageModel):
    """Detector without anchors and without suppression.

    Args:
        backbone: feature pyramid, all levels of one width.
        head: learned proposals and their stages.
        criterion: used in training only.
        num_classes: classes K.
        num_select: detections an image.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Raises:
        ValueError: num_select above Q * K.
    """

    layouts = LAYOUTS

    def __init__(
        self,
        backbone: Backbone,
        *,
        head: DynamicHead,
        criterion: SetCriterion,
        num_classes: int = 80,
        num_select: int = 300,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        if num_select > head.num_proposals * num_classes:
            raise ValueError(
                f"num_select {num_select} is more than {head.num_proposals} proposals times {num_classes} classes: "
                "raise head.num_proposals or lower num_select"
            )
        self.backbone = backbone
        self.head = head
        self.criterion = criterion
        self.num_select = num_select

    def forward(self, batched_inputs: Sequence[Mapping]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Detectron2's interface: mapper dicts -> weighted losses in training, detections in evaluation.

        Args:
            batched_inputs: per image `image` (3, h, w) RGB in 0..255, and in training `instances`; in evaluation
                `height` and `width` of the wanted result (default: the image's own).
        """
        images, image_sizes = self.batch(batched_inputs, MM_DIVISOR)
        features = list(self.backbone(images).values())  # (B, C, H_l, W_l) each, fine to coarse
        *earlier, last = self.head(features, image_sizes)
        if self.training:
            instances = [image["instances"] for image in batched_inputs]
            targets = prepare_targets(instances, self.device, self.num_classes)
            return self.criterion({**last, "aux_outputs": earlier}, targets)
        results = select_detections(
            last["pred_logits"].float(),
            last["pred_boxes"].float(),
            output_sizes(batched_inputs, image_sizes),
            num_select=self.num_select,
        )
        return [{"instances": result} for result in results]
