"""What a case measures: implementations that take turns, processes of their own, or facts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .measuring import compare, cpu_seconds, in_new_process, matmul_rates, relative_difference, summary

Fields = dict[str, Any]  # of a row of results


class UnavailableError(Exception):
    """A case cannot be measured on this machine; the message says why."""


@dataclass
class Timed:
    """Implementations of one computation, the reference first; all but it are the library's.

    Attributes:
        implementations: each returns what it computed.
        seconds, difference: see `compare`.
        gflop: counts those of the computation, of which the row says the share of the machine's rate.
        rates: GFLOP/s of matrix products by route; those whose name holds the precision are compared with.
        details: of the row; about: of the file of results.
        finish: adds to the measured implementations, and returns what it has to say about the row.
    """

    implementations: Mapping[str, Callable[[], Any]]
    seconds: Callable[[Callable], float] = cpu_seconds
    difference: Callable[[Any, Any], float] = relative_difference
    gflop: Callable[[], float] | None = None
    rates: Callable[[], Mapping[str, float]] = matmul_rates
    details: Fields = field(default_factory=dict)
    about: Fields = field(default_factory=dict)
    finish: Callable[[dict[str, dict]], Fields] = lambda measured: {}

    def measure(self, rounds: int, precision: str | None = None) -> Iterator[Fields]:
        """The row."""
        gflop = None if self.gflop is None else self.gflop()
        measured = compare(self.implementations, rounds, seconds=self.seconds, difference=self.difference)
        shares = {} if gflop is None else self._shares(gflop, measured, precision or "")
        yield {**self.details, **shares, **self.finish(measured), "forms": measured}

    def _shares(self, gflop: float, measured: Mapping[str, dict], precision: str) -> Fields:
        """The rate of the fastest as shares of those of matrix products."""
        rates = self.rates()
        self.about.setdefault("gflops", rates)
        rate = gflop / min(found["seconds"] for found in measured.values())
        shares = {route: round(rate / most, 2) for route, most in rates.items() if precision in route}
        return {"gflop": round(gflop, 1), "share_of": shares}


@dataclass
class Processes:
    """Implementations that are measured in processes of their own, which take turns; the reference is the first.

    Attributes:
        calls: function of a module with its arguments; it returns numbers by name, such as `seconds` or `bytes`.
        repeat: whether it is done in every round.
        details, finish, about: as of `Timed`.
    """

    calls: Mapping[str, tuple]
    repeat: bool = True
    details: Fields = field(default_factory=dict)
    finish: Callable[[dict[str, dict]], Fields] = lambda measured: {}
    about: Fields = field(default_factory=dict)

    def measure(self, rounds: int, precision: str | None = None) -> Iterator[Fields]:
        """The row: seconds as in `compare`, of other numbers the largest, and shares of the reference's bytes."""
        runs: dict[str, list[dict]] = {name: [] for name in self.calls}
        for turn in range(rounds if self.repeat else 1):
            for name in sorted(runs, key=list(runs).index, reverse=turn % 2 == 1):
                runs[name].append(in_new_process(*self.calls[name]))
        forms = {name: {key: max(run[key] for run in found) for key in found[0]} for name, found in runs.items()}
        if all("seconds" in form for form in forms.values()):
            times = summary({name: [run["seconds"] for run in found] for name, found in runs.items()})
            forms = {name: form | times[name] for name, form in forms.items()}
        reference, *others = forms.values()
        for form in others if "bytes" in reference else ():
            form["share"] = round(form["bytes"] / reference["bytes"], 3)
        yield {**self.details, **self.finish(forms), "forms": forms}


@dataclass
class Facts:
    """What is found out once, without a reference.

    Attributes:
        find: yields the fields of rows, their own `case` among them where there are several.
        about: of the file of results.
    """

    find: Callable[[], Iterator[Fields]]
    about: Fields = field(default_factory=dict)

    def measure(self, rounds: int, precision: str | None = None) -> Iterator[Fields]:
        """The rows."""
        yield from self.find()


Work = Timed | Processes | Facts
