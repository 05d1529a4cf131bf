"""Measures parts of the library beside reference implementations of them.

    python benchmarks/run.py --list                          (groups and their cases)
    python benchmarks/run.py backbone dino --json            (two groups; writes benchmarks/results/)
    python benchmarks/run.py "DINO * 480x640"                (cases by name: a part of it, or a pattern)
    python benchmarks/run.py all --small --rounds 1          (everything once, with tiny sizes)
    python benchmarks/run.py training_step --set recipe=dino_focalnet_large size=800x1333 amp=bf16
    python benchmarks/run.py backbone dino --against ../other    (the library of two checkouts, side by side)

`all` is every group but gpu. Exit status: 2 if nothing could be measured.
"""

import argparse
import fnmatch
import json
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's packages, and the reference implementations of its tests

import torch  # noqa: E402

from benchmarks.against import compare_checkouts, find_program  # noqa: E402
from benchmarks.case import Row, expand  # noqa: E402
from benchmarks.cases import CASES  # noqa: E402
from benchmarks.measuring import machine  # noqa: E402
from benchmarks.work import UnavailableError  # noqa: E402
from focalnet_d2.utils.text import some_of  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="a group, a part of a case's name, a pattern, or all")
    parser.add_argument("--list", action="store_true", help="print the cases and measure nothing")
    parser.add_argument("--small", action="store_true", help="tiny sizes, on the CPU: the times mean nothing")
    parser.add_argument("--rounds", type=int, help="A B B A turns of every row, by default the case's own number")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", const=str(RESULTS), metavar="FOLDER", help="write the results of each "
                        "group into FOLDER, by default where they are committed (benchmarks/results/)")  # fmt: skip
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="settings of the cases: see cases.py")
    parser.add_argument("--against", metavar="CHECKOUT", help="time the library of another checkout instead of the "
                        "reference implementations")  # fmt: skip
    return parser


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """ "key=value" -> value: a size such as 320x480, JSON, or a text.

    Raises:
        ValueError: there is no "=".
    """
    changes = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text} has no value: write key=value.")
        changes[key] = parse_value(value)
    return changes


def parse_value(text: str) -> Any:
    """See `parse_changes`."""
    if re.fullmatch(r"\d+x\d+", text):
        height, width = map(int, text.split("x"))
        return height, width
    try:
        return json.loads(text)
    except ValueError:
        return text


def all_rows(small: bool, changes: Mapping[str, Any]) -> list[Row]:
    """The rows of all cases; those that a small run makes equal stand once."""
    rows = [row for case in CASES for row in expand(case, small=small, changes=changes)]
    return list({(row.case.group, row.title, row.precision): row for row in rows}.values())


def select(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """Those that some word means.

    Raises:
        ValueError: a word means none.
    """
    chosen = {word: [row for row in rows if means(word, row)] for word in words}
    if unknown := [word for word, found in chosen.items() if not found]:
        groups = ", ".join(dict.fromkeys(row.case.group for row in rows))
        raise ValueError(f"No case is called {unknown[0]!r}: see --list. The groups are {groups}.")
    return [row for row in rows if any(row in found for found in chosen.values())]


def means(word: str, row: Row) -> bool:
    """Whether a word of the command line is about a row."""
    if word in {one.group for one in CASES} | {"all"}:
        return word == row.case.group or (word == "all" and row.case.group != "gpu")
    name = f"{row.title} {row.precision or ''}".strip().lower()
    return fnmatch.fnmatch(name, f"*{word.lower()}*")


def check_changes(rows: Sequence[Row], changes: Mapping[str, Any]) -> None:
    """Refuses a setting that no row has.

    Raises:
        ValueError: it names the setting and those that there are.
    """
    known = {key for row in rows for key in row.settings}
    if unknown := [key for key in changes if key not in known]:
        raise ValueError(f"These cases have no setting {unknown[0]!r}: they have {', '.join(sorted(known))}.")


def check_whole(rows: Sequence[Row], everything: Sequence[Row], options: argparse.Namespace) -> None:
    """Refuses to put a part of a group in the place of its committed results.

    Raises:
        ValueError: it is a part, a small run, or a comparison of checkouts.
    """
    groups = {row.case.group for row in rows}
    missing = {row.case.group for row in everything if row not in rows} & groups
    reasons = [f"a part of {', '.join(sorted(missing))}"] if missing else []
    reasons += [text for text, given in (("a small run", options.small), ("a comparison", options.against)) if given]
    if options.json and Path(options.json) == RESULTS and reasons:
        what = " and ".join(reasons)
        raise ValueError(f"The committed results are those of whole groups, this is {what}: give --json FOLDER.")


def measure(row: Row, rounds: int | None) -> Iterator[tuple[dict, dict]]:
    """The finished rows of results, each with what the file says about all of them."""
    work = row.build()
    for fields in work.measure(rounds or row.case.rounds, row.precision):
        own = {"precision": row.precision} if row.precision else {}
        found = {"case": row.title, **own, **fields}
        if goal := row.case.goals.get(found.get("precision", "")):
            found["goal"] = goal
        yield found, work.about


def report(row: Mapping[str, Any]) -> None:
    """Prints a row as soon as it is there."""
    print(", ".join(str(row[name]) for name in ("case", "precision") if name in row))
    for name, form in row.get("forms", {}).items():
        print(f"  {name:<16} {describe(form)}")
    others = {key: value for key, value in row.items() if key not in ("case", "precision", "forms", "goal")}
    print(f"  {json.dumps(others)}" if others else "", flush=True)


def describe(form: Mapping[str, Any]) -> str:
    """What was measured of one implementation, in one line."""
    parts, form = [], dict(form)
    if "seconds" in form:
        low, high = form.pop("range_s")
        parts.append(f"{form.pop('seconds'):9.4f} s  ({low:.4f} to {high:.4f})")
    if "ratio" in form:
        parts.append(f"{form.pop('ratio'):6.2f}x")
        form.pop("ratio_range")
    if "difference" in form:
        parts.append(f"difference {form.pop('difference'):.0e}")
    parts += [
        f"{key} {value / 1e9:.3f} GB" if key.endswith("bytes") else f"{key} {value}" for key, value in form.items()
    ]
    return "  ".join(parts)


class Files:
    """The files of results, written anew with every row: a run may be cut short.

    Args:
        folder: None writes nothing.
        command: that measures.
    """

    def __init__(self, folder: str | None, command: str):
        self.folder = None if folder is None else Path(folder)
        self.command = command
        self.contents: dict[str, dict] = {}

    def add(self, row: Row, found: dict, about: dict) -> None:
        """Puts a finished row into its file."""
        if self.folder is None:
            return
        card = re.sub("[^A-Za-z0-9]+", "_", str(about.get("card", "")))
        name = row.case.file.format(**{**row.settings, "card": card}) or row.case.group
        content = self.contents.setdefault(name, {"machine": machine(), "command": self.command, "rows": []})
        content |= about | {"rows": content.pop("rows")}  # the rows last
        content.setdefault(row.case.section, []).append(found)
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1) + "\n"
        (self.folder / f"{name}.json").write_text(text, encoding="utf-8")


def measure_all(rows: Sequence[Row], options: argparse.Namespace, command: str) -> int:
    """Measures, prints, saves; the number of finished rows."""
    files, count, left_out = Files(options.json, command), 0, {}
    for row in rows:
        try:
            for found, about in measure(row, options.rounds):
                report(found)
                files.add(row, found, about)
                count += 1
        except (UnavailableError, ModuleNotFoundError) as error:
            left_out.setdefault(str(error), []).append(row.title)
    for reason, titles in left_out.items():
        print(f"Left out are {some_of(titles)}: {reason}.", file=sys.stderr)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Lists or measures what the command line asks for; the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        changes = parse_changes(options.set)
        everything = all_rows(options.small, changes)
        rows = select(everything, options.cases or (["all", "gpu"] if options.list else []))
        check_changes(rows, changes)
        check_whole(rows, everything, options)
        if options.against:
            find_program(Path(options.against))
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{row.case.group:<22} {row.title}, {row.precision or ''}".rstrip(", ") for row in rows))
        return 0
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores
    torch.set_num_threads(options.threads)
    if options.against:
        return compare_checkouts(rows, Path(options.against), options)
    return 0 if measure_all(rows, options, shlex.join(["python", "benchmarks/run.py", *arguments])) else 2


if __name__ == "__main__":
    sys.exit(main())
