"""What loading a checkpoint did, for people and for tests."""

from dataclasses import dataclass, field
from itertools import groupby

from focalnet_d2.utils.text import counted


@dataclass
class LoadReport:
    """Every name of the file and of the model, and what became of it.

    Args:
        source: the file.
        layout: the code base whose names it has.
        content: what it holds, in words.
        taken: from which entry of the file, and without which prefixes, in words.
        loaded: names of the model that were filled.
        resized: those of them whose tensor was changed on the way -> how.
        skipped: names in the file that were left out -> why.
        missing: names of the model that the file does not have; they keep the values they had.
        notes: what else to know, such as settings that nobody can check.
    """

    source: str
    layout: str
    content: str = ""
    loaded: list[str] = field(default_factory=list)
    resized: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    taken: str = ""

    def __str__(self) -> str:
        content = f" ({self.content})" if self.content else ""
        lines = [
            f"{self.source}: {self.layout} layout{content}, {len(self.loaded)} tensors loaded {self.taken}".rstrip()
        ]
        if self.resized:
            lines.append(f"  resized {counted(self.resized)}")
        by_reason = sorted(self.skipped, key=lambda name: _kind(self.skipped[name]))
        for kind, names in groupby(by_reason, key=lambda name: _kind(self.skipped[name])):
            lines.append(f"  skipped {counted(names)}: {kind}")
        if self.missing:
            lines.append(f"  kept as the model had them, not in the file: {counted(self.missing)}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def _kind(reason: str) -> str:
    return "another name of the same tensor" if reason.startswith("the same tensor as") else reason
