"""Counts pyright's errors in every folder; none may have more than tools/type_errors.json says.

python tools/check_types.py           # exit status 1 if a count rose, with the errors of that folder
python tools/check_types.py --lower   # write the counts that fell, so that they cannot rise again
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = Path(__file__).with_name("type_errors.json")


def find_errors() -> list[tuple[str, str]]:
    """File, relative to the repository, and line with message of each error.

    Raises:
        RuntimeError: basedpyright gave no report.
    """
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = done.stdout.strip()  # on a busy machine an empty line comes first
    if not report.startswith("{"):
        raise RuntimeError(f"basedpyright failed: {report}{done.stderr}")
    found = (one for one in json.loads(report)["generalDiagnostics"] if one["severity"] == "error")
    return [
        (Path(one["file"]).relative_to(ROOT).as_posix(), f"{one['range']['start']['line'] + 1}: {one['message']}")
        for one in found
    ]


def by_place(errors: Sequence[tuple[str, str]], places: Sequence[str]) -> dict[str, list[str]]:
    """The errors of each place, a folder or a file: the longest that holds a file counts it, else the file itself."""
    grouped: dict[str, list[str]] = {place: [] for place in places}
    for file, text in errors:
        holding = [place for place in places if file == place or file.startswith(f"{place}/")]
        grouped.setdefault(max(holding, key=len, default=file), []).append(f"{file}:{text}")
    return grouped


def compare(grouped: Mapping[str, Sequence[str]], allowed: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """The places that have more errors than allowed, and those that have fewer."""
    rose = [place for place, errors in grouped.items() if len(errors) > allowed.get(place, 0)]
    fell = [place for place, errors in grouped.items() if len(errors) < allowed.get(place, 0)]
    return rose, fell


def lowered(grouped: Mapping[str, Sequence[str]], allowed: Mapping[str, int]) -> dict[str, int]:
    """What is allowed from now on: a place's count if it fell, else what it was."""
    return {place: min(count, len(grouped[place])) for place, count in allowed.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lower", action="store_true", help="write the counts that fell")
    options = parser.parse_args(arguments)
    allowed = json.loads(ALLOWED.read_text(encoding="utf-8"))
    grouped = by_place(find_errors(), list(allowed))
    rose, fell = compare(grouped, allowed)
    for place in rose:
        print(*grouped[place], f"{place}: {len(grouped[place])} type errors, {allowed.get(place, 0)} before.", sep="\n")
    for place in fell:
        print(f"{place}: {len(grouped[place])} type errors, {allowed[place]} before.")
    if fell and options.lower:
        ALLOWED.write_text(json.dumps(lowered(grouped, allowed), indent=4) + "\n", encoding="utf-8")
    elif fell:
        print("Keep it so: python tools/check_types.py --lower")
    print(f"Types: {sum(map(len, grouped.values()))} errors.")
    return 1 if rose else 0


if __name__ == "__main__":
    sys.exit(main())
