"""In which numbers query-based detectors compare boxes; all of them write boxes as cxcywh over the image, in [0, 1]."""

from torch import Tensor

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy


class BoxMetric:
    """How two boxes are compared, when they are matched and when they are judged.

    Attributes:
        giou_eps: `eps` of the generalised IoU.
    """

    giou_eps: float

    def coordinates(self, boxes: Tensor) -> Tensor:
        """(..., 4) cxcywh over the image -> the (..., 4) numbers whose L1 distance counts."""
        raise NotImplementedError


class CxcywhBoxMetric(BoxMetric):
    """Centre and size; areas are shares of the image (arXiv:2005.12872, DETR; DINO)."""

    giou_eps = 1e-6

    def coordinates(self, boxes: Tensor) -> Tensor:
        """(..., 4) cxcywh, as they are."""
        return boxes


class XyxyBoxMetric(BoxMetric):
    """Corners; areas are pixels (arXiv:2011.12450, Sparse R-CNN).

    The generalised IoU knows no unit but for `eps`: 1e-6 pixels are this share of an image of 1000 x 1000.
    """

    giou_eps = 1e-12

    def coordinates(self, boxes: Tensor) -> Tensor:
        """(..., 4) corners over the image."""
        return box_cxcywh_to_xyxy(boxes)
