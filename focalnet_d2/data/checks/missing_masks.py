"""Objects without a mask in a file that has masks, counted over parts of the file."""

from collections.abc import Iterator, Sequence

from ..annotations.faults import SHOWN_IDS, Fault
from ..annotations.findings import shown_ids
from ..annotations.json_file import Entry


class MissingMasks:
    """How many objects there are, and how many of them have no mask.

    Attributes:
        objects: how many there are.
    """

    def __init__(self) -> None:
        self.objects = 0
        self._lacking = 0
        self._first: list[Entry] = []  # of those without a mask

    def add(self, annotations: Sequence[Entry]) -> None:
        """Adds the next objects of the file."""
        lacking = [entry for entry in annotations if not entry.get("segmentation")]
        self._first += lacking[: SHOWN_IDS - len(self._first)]
        self._lacking += len(lacking)
        self.objects += len(annotations)

    def faults(self, source: str) -> Iterator[Fault]:
        """What is wrong with a file with masks for some objects and none for others; one of boxes has none at all."""
        if 0 < self._lacking < self.objects:
            message = (
                f"{source}: {self._lacking} of {self.objects} objects have no mask, the first one with the id "
                f"{self._first[0].get('id')!r}: models with masks do not learn them, and mask AP refuses the file; "
                "draw them."
            )
            yield Fault("mask-missing", "warning", source, message, shown_ids(self._first), self._lacking)
