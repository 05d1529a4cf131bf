"""What is wrong with a data set, one `Fault` for each kind in a file: raised at once, or collected.

Reading for training or scoring stops at the first error (`strict`). `focalnet-d2 check-data` goes on and lists all.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

SEVERITIES = ("error", "warning", "note")  # stops a run; hurts a model or a score; worth knowing
SHOWN_IDS = 20  # that a fault names


@dataclass(frozen=True)
class Fault:
    """One kind of fault in one file.

    Attributes:
        kind: its stable name for programs, such as "duplicate-image-id".
        severity: of `SEVERITIES`.
        file: the file that has it.
        message: one sentence with the ids and what to do; where it is raised, it stands alone.
        ids: of the entries (images, annotations, categories, segments), or names of images; the first of many where
            comparison with the file shows the others.
        count: how many entries have it.
    """

    kind: str
    severity: str
    file: str
    message: str
    ids: tuple[str, ...] = ()
    count: int = 1


class FaultError(ValueError):
    """A fault that ends a reading; as text it is its message.

    Attributes:
        fault: kind, file and ids for whoever lists faults.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault

    def __reduce__(self) -> tuple[type["FaultError"], tuple[Fault]]:
        """What another process makes it of."""
        return FaultError, (self.fault,)


Report = Callable[[Fault], None]


def refusal(kind: str, file: str | os.PathLike, message: str, ids: Iterable[object] = ()) -> FaultError:
    """The error, to be raised, of a file of which nothing can be used; the arguments are those of `Fault`."""
    shown = tuple(dict.fromkeys(map(str, ids)))
    return FaultError(Fault(kind, "error", os.fspath(file), message, shown[:SHOWN_IDS], len(shown) or 1))


def fault_of(error: Exception, kind: str, file: str | os.PathLike, ids: Iterable[object] = ()) -> Fault:
    """The fault that an error carries; the other arguments are those of one for any other error, whose text it has."""
    return error.fault if isinstance(error, FaultError) else refusal(kind, file, str(error), ids).fault


def strict(fault: Fault) -> None:
    """The report of training and scoring: an error is raised, the rest is left to whoever counts it.

    Raises:
        FaultError: the fault is an error.
    """
    if fault.severity == "error":
        raise FaultError(fault)


def joined(faults: Iterable[Fault]) -> list[Fault]:
    """One fault for each kind, severity and file: counts added, the first ids kept, the message of the first.

    The worst come first, the others in their order.
    """
    merged: dict[tuple[str, str, str], Fault] = {}
    for fault in faults:
        key = (fault.kind, fault.severity, fault.file)
        if (first := merged.get(key)) is None:
            merged[key] = fault
        else:
            ids = first.ids
            if len(ids) < SHOWN_IDS:
                ids = tuple(dict.fromkeys((*ids, *fault.ids)))[:SHOWN_IDS]
            merged[key] = replace(first, ids=ids, count=first.count + fault.count)
    return sorted(merged.values(), key=lambda fault: SEVERITIES.index(fault.severity))
