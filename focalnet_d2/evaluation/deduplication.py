"""Which images the processes of a run have scored: each counts once, however a loader shares them out."""

import logging
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from detectron2.utils import comm

Score, Key, Value = TypeVar("Score"), TypeVar("Key"), TypeVar("Value")

logger = logging.getLogger(__name__)


class ImageDeduplicator(Generic[Score]):
    """Ids of the images that this process has scored, and the scores of the last ones.

    Samplers that give every process the same number of images repeat some at the end. So the last scores wait to be
    added up until all processes know what the others have.

    Args:
        waiting: number of scores that wait.
    """

    def __init__(self, waiting: int = 16) -> None:
        self._ids: set[Hashable] = set()
        self._last: deque[tuple[Hashable, Score]] = deque()
        self._waiting = waiting

    def is_new(self, image_id: Hashable) -> bool:
        """Whether this process has not scored the image yet; the second prediction for one does not count."""
        if image_id in self._ids:
            logger.warning("Image %s came twice; the second prediction does not count.", image_id)
        return image_id not in self._ids

    def add(self, image_id: Hashable, score: Score) -> list[Score]:
        """Note the score of a new image; returns scores that need not wait any longer."""
        self._ids.add(image_id)
        self._last.append((image_id, score))
        return [self._last.popleft()[1] for _ in range(len(self._last) - self._waiting)]

    def settle(self) -> tuple[int, list[Score]]:
        """The number of images of all processes together, and the waiting scores of those that are this process's own.

        An image that several processes have scored is the first one's. Every process must call it.

        Raises:
            ValueError: processes have scored the same images, and not just at the end.
        """
        shares = comm.all_gather((self._ids, [image_id for image_id, _ in self._last]))
        count, repeated = find_repeated(shares)
        mine = repeated[comm.get_rank()]
        return count, [score for image_id, score in self._last if image_id not in mine]


def find_repeated(
    shares: Sequence[tuple[Collection[Hashable], Collection[Hashable]]],
) -> tuple[int, list[set[Hashable]]]:
    """Number of different images, and those of each process that an earlier one has as well.

    Args:
        shares: of each process, its images and the last of them.

    Raises:
        ValueError: a repeated image is not among the last ones.
    """
    seen: set[Hashable] = set()
    repeated = []
    for images, last in shares:
        repeated.append(seen.intersection(images))
        if counted := repeated[-1].difference(last):
            raise ValueError(
                f"{len(counted)} images were scored by more than one process, among them {min(counted, key=str)!r}: "
                "use a test loader that gives every process other images, as build_test_loader does."
            )
        seen.update(images)
    return len(seen), repeated


def merge_by_image(shares: Iterable[Mapping[Key, Value]]) -> dict[Key, Value]:
    """What all processes have, in the order of the processes; of what several have, the first one's."""
    joined = {}
    for share in shares:
        joined |= {key: value for key, value in share.items() if key not in joined}
    return joined
