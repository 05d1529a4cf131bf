"""What models that predict a set of objects put out.

Shapes: B images, Q queries, K classes.
"""

from typing import TypedDict

from torch import Tensor


class LayerOutputs(TypedDict):
    """Predictions of one layer.

    Attributes:
        pred_logits: (B, Q, K).
        pred_boxes: (B, Q, 4) cxcywh over the image without padding, in [0, 1] unless the model says otherwise.
    """

    pred_logits: Tensor
    pred_boxes: Tensor


class QueryOutputs(LayerOutputs):
    """Predictions of the last layer, with those of the layers before it.

    Attributes:
        aux_outputs: the first layer's first.
    """

    aux_outputs: list[LayerOutputs]
