"""What a case of the benchmarks is, and the rows that it has."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .work import Work

Size = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """What is measured, for every size and precision.

    Attributes:
        group: by which the command line finds it; its results stand in one file.
        title: of its rows; {size} and other settings are filled in.
        build: what makes the work, of `settings`, `size` and `precision`.
        sizes, precisions: one row each; none where the case has none.
        goals: how many times as fast as the reference it shall be, by precision ("" without): one number, or one by
            implementation; of rows of memory the share.
        settings: further arguments of `build`; `--set` changes them.
        small: what takes the place of settings and of `size` in a small run.
        rounds: A B B A turns.
        file: of the results, without suffix; the group's name where it is empty; {recipe} and so on are filled in.
        section: of that file.
    """

    group: str
    title: str
    build: Callable[..., Work]
    sizes: Sequence[Size] = ()
    precisions: Sequence[str] = ()
    goals: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 2
    file: str = ""
    section: str = "rows"


@dataclass(frozen=True)
class Row:
    """A case in one size and precision."""

    case: Case
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What the results call it."""
        texts = {"size": "{}x{}".format(*self.settings["size"])} if "size" in self.settings else {}
        return self.case.title.format(**{**self.settings, **texts})

    @property
    def precision(self) -> str | None:
        """Of the library."""
        return self.settings.get("precision")

    def build(self) -> Work:
        """The work."""
        return self.case.build(**self.settings)


def expand(case: Case, *, small: bool, changes: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of a case.

    Args:
        small: settings are those of a small run.
        changes: of settings; of those that the case does not have nothing is taken.
    """
    settings = {**case.settings, **(case.small if small else {})}
    sizes = [settings.pop("size")] if "size" in settings else case.sizes
    choices: dict[str, Sequence] = {"size": sizes, "precision": case.precisions}
    settings |= {key: value for key, value in changes.items() if key in settings}
    choices |= {key: [changes[key]] for key, found in choices.items() if found and key in changes}
    for size in choices["size"] or [None]:
        for precision in choices["precision"] or [None]:
            own = {"size": size, "precision": precision}
            yield Row(case, settings | {key: value for key, value in own.items() if value is not None})
