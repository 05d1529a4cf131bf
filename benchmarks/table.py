"""Writes the measured tables into the pages that show them, from benchmarks/results/*.json.

    python benchmarks/table.py
    python benchmarks/table.py --check     (exit status 1 if a table is not that of the results)

A table stands between `<!-- speed: NAME -->` and `<!-- end of speed -->`: NAME is that of a file of results, `goals`
for one line a case that has a goal, from all files, or `summary` for the few of them that the README shows.
"""

import argparse
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", ROOT / "docs" / "evaluation.md")
BLOCK = re.compile(r"(<!-- speed: (?P<name>\w+) -->\n).*?(<!-- end of speed -->)", re.DOTALL)
HEAD = [
    "case",
    "precision",
    "reference",
    "implementation",
    "taken",
    "times as fast",
    "range",
    "goal",
    "difference",
    "GEMM share",
]
PRECISIONS = ("float32", "bfloat16")
GROUPS = {"dino_model": "dino"}  # of files that are not called as their group of cases
SUMMARY = (
    "FocalNet-T forward 512x512",
    "FocalNet-B forward + backward 512x512",
    "deformable attention, encoder 800x1333, forward + backward",
    "DINO FocalNet-T inference 800x1333",
    "DINO FocalNet-T training step 480x640",
    "Mask2Former FocalNet-T inference 800x1344",
    "Mask2Former FocalNet-T training step 512x512",
    "Mask2Former post-processing 800x1344",
)


def read_results(folder: Path = RESULTS) -> dict[str, dict]:
    """Content of each file of rows, by name."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    return {name: content for name, content in found.items() if all("forms" in row for row in content["rows"])}


def write_table(results: Mapping[str, dict], name: str) -> str:
    """The Markdown of one table.

    Raises:
        KeyError: there are no such results.
    """
    if name in ("goals", "summary"):
        return goals_table(results, only=SUMMARY if name == "summary" else None)
    content = results[name]
    measured = content["machine"]
    lines = [f"{commands(content['command'], name)}, {measured['date']}, {measured['cpu']}, "
             f"torch {measured['torch']}, threads: {measured['threads']}, "
             f"freed memory: {measured.get('freed_memory', 'kept by the library alone')}", ""]  # fmt: skip
    lines += [line(HEAD), line("---" for _ in HEAD)]
    lines += [line(cells) for row in content["rows"] if row["forms"] for cells in form_cells(row)]
    return "\n".join(lines) + "\n"


def commands(recorded: str, name: str) -> str:
    """The command that made results, and the one to give now where it was a script that is no more."""
    if recorded.startswith("python benchmarks/run.py"):
        return f"`{recorded}`"
    rounds = re.search(r" --rounds \d+", recorded)
    return f"`{recorded}` (now `python benchmarks/run.py {group(name)} --json{rounds[0] if rounds else ''}`)"


def group(name: str) -> str:
    """The group of cases whose results the file of this name has."""
    return GROUPS.get(name, name)


def form_cells(row: Mapping) -> Iterator[tuple[str, ...]]:
    """A line for every implementation but the first, which the others are compared with."""
    reference, *others = row["forms"]
    for form in others:
        measured = row["forms"][form]
        low, high = measured.get("ratio_range", (None, None))
        yield (
            row["case"],
            row.get("precision", ""),
            amount(row["forms"][reference]),
            form,
            amount(measured),
            number(measured.get("ratio", measured.get("share"))),
            f"{number(low)} to {number(high)}" if low else "",
            number(goal_of(row, form)),
            f"{measured['difference']:.0e}" if "difference" in measured else "",
            shares(row),
        )


def amount(measured: Mapping) -> str:
    """What is compared: seconds or bytes."""
    return f"{measured['seconds']:.3g} s" if "seconds" in measured else f"{measured['bytes'] / 1e9:.3g} GB"


def goals_table(results: Mapping[str, dict], only: Collection[str] | None = None) -> str:
    """A line a case (`only` these): how many times as fast each is in each precision, and the group of cases."""
    cells: dict[tuple[str, str], dict[str, list[str]]] = {}
    for file, content in results.items():
        for row in content["rows"]:
            texts = [gain(form, measured) for form, measured in row["forms"].items() if goal_of(row, form)]
            found = cells.setdefault((row["case"], file), {precision: [] for precision in PRECISIONS})
            found.setdefault(row.get("precision", PRECISIONS[0]), []).extend(filter(None, texts))
    lines = [line(("", *PRECISIONS, "group of `benchmarks/run.py`")), line("---" for _ in range(2 + len(PRECISIONS)))]
    for (case, file), found in cells.items():
        if any(found.values()) and (only is None or case in only):
            lines.append(line((case, *(", ".join(found[precision]) for precision in PRECISIONS), f"`{group(file)}`")))
    return "\n".join(lines) + "\n"


def gain(form: str, measured: Mapping) -> str:
    """What an implementation gains over the reference; the reference nothing."""
    name = "" if form == "library" else f" ({form.removeprefix('library, ').replace('_', ' ')})"
    if "share" in measured:
        return f"{measured['share']:.2f} of the memory{name}"
    return f"{number(measured['ratio'])}{name}" if "ratio" in measured else ""


def goal_of(row: Mapping, form: str) -> float | None:
    """`goal` is one number for all implementations, or one for some of them by name."""
    goal = row.get("goal")
    return goal.get(form) if isinstance(goal, Mapping) else goal


def shares(row: Mapping) -> str:
    """`share_of` as text: the rate by that of the machine's matrix products."""
    found = row.get("share_of")
    return ", ".join(f"{name} {value:.2f}" for name, value in found.items()) if isinstance(found, Mapping) else ""


def number(value: float | None) -> str:
    """Two or three digits."""
    return "" if value is None else f"{value:.3g}" if value < 10 else f"{value:.0f}"


def line(cells) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"


def fill(page: str, results: Mapping[str, dict]) -> str:
    """The page with all its tables new."""
    return BLOCK.sub(lambda block: block[1] + write_table(results, block["name"]) + block[3], page)


def main() -> int:
    """Writes, or checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    results, stale = read_results(), []
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        new = fill(page, results)
        if new != page:
            stale.append(str(path.relative_to(ROOT)))
            if not options.check:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'not current' if options.check else 'written'}: {', '.join(stale)}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
