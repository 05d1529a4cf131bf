"""Objects without a mask in a file that has masks, counted over parts of the file."""

from collections.abc import Iterator, Sequence

from ..annotations.faults import SHOWN_IDS, Fault
from ..annotations.findings import shown_ids
from ..annotations.json_file import Entry

_CONSEQUENCES = {  # by whether masks are needed
    True: ("error", "the recipe learns masks and stops; draw them, or take a recipe for boxes"),
    False: ("note", "the recipe learns boxes, and does not need it"),
    None: (
        "warning",
        "recipes for boxes learn all objects, those with masks stop at this file (check with --recipe to know); draw "
        "them, or remove these objects",
    ),
}


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

    def faults(self, source: str, *, needed: bool | None) -> Iterator[Fault]:
        """What is wrong with a file with masks for some objects and none for others; one of boxes has none at all.

        Args:
            needed: whether the recipe learns masks; None where none is known.
        """
        if not self._lacking or (self._lacking == self.objects and not needed):
            return
        severity, then = _CONSEQUENCES[needed]
        message = (
            f"{source}: {self._lacking} of {self.objects} objects have no mask, the first one with the id "
            f"{self._first[0].get('id')!r}: {then}."
        )
        yield Fault("mask-missing", severity, source, message, shown_ids(self._first), self._lacking)
