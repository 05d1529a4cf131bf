"""What became of a query of a model, and why: one row of the table that `focalnet-d2 explain` writes."""

from typing import Literal, NamedTuple

Outcome = Literal[
    "segment",  # a segment of the panoptic map
    "merged",  # its pixels belong to an earlier segment of the same stuff class
    "no object",  # no class has a higher probability than no object
    "low score",  # its best class is not above the threshold
    "empty mask",  # no pixel of the image is in its mask
    "covered",  # others own all pixels of its mask
    "overlap",  # others own too many of them
    "detection",  # an object of the result
    "not selected",  # none of its pairs with a class is in the model's result
]


class QueryOutcome(NamedTuple):
    """One query.

    Attributes:
        query: its place among the queries.
        class_id: contiguous id of its best class; that of no object is None.
        score: probability of its best class, or the score of its detection.
        outcome: see `Outcome`.
        segment: id of its segment in the panoptic map, 0 for none; of a detection its place in the result, from 1.
        area: pixels of its mask, at the size of the result.
        owned: pixels whose owner it is, in or outside of its mask; inside: those in its mask.
        share: `owned` over `area`, which is compared with the overlap threshold.
        rival: the query that owns most of the pixels of its mask that it does not own; None where there is none.
        lost: how many of them the rival owns.
    """

    query: int
    class_id: int | None
    score: float
    outcome: Outcome
    segment: int = 0
    area: int | None = None
    owned: int | None = None
    inside: int | None = None
    share: float | None = None
    rival: int | None = None
    lost: int = 0
