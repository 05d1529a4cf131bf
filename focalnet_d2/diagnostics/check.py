"""One finding of the doctor, and how a group of checks is run in an installation that may be broken.

Modules of this package import only the standard library and `packaging` at the top. What is under examination, torch
and Detectron2 before all, is imported by the check that needs it; a check that raises is reported as one that fails.
"""

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

OK, FALLBACK, FAILS = "ok", "falls back", "fails"


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: "ok"; "falls back" when it works, but slower or without something optional; "fails".
        detail: what was found, and what a fallback means.
        fix: what to type or change; empty when there is nothing to do.
    """

    name: str
    status: str
    detail: str
    fix: str = ""


def guarded(group: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks of a group; one that fails in their place when the group raises."""
    try:
        return list(group())
    except Exception as error:
        name = group.__name__.removeprefix("check_").replace("_", " ")
        return [Check(name, FAILS, f"{type(error).__name__}: {error}", "mend the other failing checks, run it again")]


def installed_version(*distributions: str) -> str | None:
    """Version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def import_problem(module: str) -> str:
    """Why a module cannot be imported, in one line; empty when it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a mismatched binary raises more than ImportError
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""
