"""Which queries take part in a panoptic map.

Shapes: Q queries, K classes.
"""

from typing import NamedTuple

from torch import Tensor


class BestClasses(NamedTuple):
    """The class of each query that has the highest probability.

    Attributes:
        scores: (Q,) its probability; labels: (Q,) the class, K for no object; is_object: (Q,) bool, not that.
    """

    scores: Tensor
    labels: Tensor
    is_object: Tensor

    @classmethod
    def of(cls, class_probs: Tensor) -> "BestClasses":
        """Of (Q, K + 1), no object last."""
        scores, labels = class_probs.max(-1)  # (Q,), (Q,)
        return cls(scores, labels, labels != class_probs.shape[1] - 1)

    def above(self, object_mask_threshold: float) -> Tensor:
        """The queries that take part: (G,) rising."""
        return (self.is_object & (self.scores > object_mask_threshold)).nonzero()[:, 0]
