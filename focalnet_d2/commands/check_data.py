"""`focalnet-d2 check-data`: what is wrong with a data set, before a minute is spent on it.

    focalnet-d2 check-data path/to/data
    focalnet-d2 check-data path/to/data --recipe dino_focalnet_mini_balloon
    focalnet-d2 check-data path/to/data --json > faults.json
    focalnet-d2 check-data path/to/data --fix path/to/mended

Looks at every image and every label, and writes a page with all faults, numbers and samples. --fix writes a mended copy
as well, and in it changes.md and changes.json, which list every change; the data themselves stay as they are. The exit
status is 0 where nothing but notes was found, 1 where there are errors or warnings, and 2 for a command that cannot be
understood.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from focalnet_d2.data.annotations.faults import Fault, fault_of, joined
from focalnet_d2.data.folders.dataset import AUTO, LAYOUT_NAMES, PARTS, Split
from focalnet_d2.utils.text import plural
from focalnet_d2.utils.usable_cores import usable_cores

from .arguments import at_least_one
from .errors import DEBUG, end_with_one_line, processes_of

if TYPE_CHECKING:  # what needs torch is imported where it works: --help does without
    from focalnet_d2.data.checks.report import Findings  # needs torch, --help does not
    from focalnet_d2.data.checks.tasks import RecipeLimits  # needs torch, --help does not
    from focalnet_d2.data.folders.finding import FoundDatasets  # needs torch, --help does not

PAGE = "check.html"
FAULTY = 1  # exit status
_SHOWN = 5  # faults of a kind that are printed


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a data set; 0 where nothing but notes was found, else 1."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return end_with_one_line(lambda: _check(options), debug=options.debug, processes=processes_of(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 check-data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", metavar="DIR", help="folder of the data")
    parser.add_argument("--recipe", help="that the data are for: also finds what is too small or too much for it")
    parser.add_argument("--layout", choices=(AUTO, *LAYOUT_NAMES), default=AUTO, help="default: all that fit")
    for part in PARTS:
        parser.add_argument(f"--{part}", default="", metavar="PATH", help=f"sub-folder or annotation file of {part}")
    parser.add_argument("--val-share", type=float, default=Split.share, help="as data.val_share of the run to come")
    parser.add_argument("--split-seed", type=int, default=Split.seed, help="as data.split_seed")
    parser.add_argument("--split-groups", default=Split.groups, metavar="PATTERN", help="as data.split_groups")
    parser.add_argument(
        "--channels",
        type=_channels,
        metavar="N|[N,N]",
        help="as data.channels: number of channels, or those to learn from",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--fix", metavar="OUT", help="write a mended copy, and a list of its changes, to a new folder")
    parser.add_argument("--out", type=Path, default=Path("output/check-data"), help=f"folder of {PAGE}")
    parser.add_argument(
        "--workers",
        type=at_least_one,
        default=usable_cores(),
        metavar="N",
        help="processes (default: one for each core that may be used)",
    )
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of a mistake, not one line about it")
    return parser


def _channels(text: str) -> int | tuple[int, ...]:
    """5, or (3, 2, 1) of `[3,2,1]`; the message for others is argparse's to print."""
    from focalnet_d2.config.data_group import RecipeError, channel_numbers  # needs omegaconf, --help does not

    words = text.strip("[]").split(",") if text.strip("[]") else []
    given = [int(word) if word.strip().isdecimal() else word for word in words]
    channels = given if text.startswith("[") or len(given) != 1 else given[0]
    try:
        numbers = channel_numbers(channels, "the value")
    except RecipeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return channels if isinstance(channels, int) else tuple(numbers)


def _check(options: argparse.Namespace) -> int:
    from focalnet_d2.data.checks.run import check_datasets  # needs torch, --help does not
    from focalnet_d2.data.fixing.copy import place_of_copy, write_mended_copy  # needs torch, --help does not
    from focalnet_d2.reports.data_page import write_data_page  # needs torch, --help does not

    limits = replace(_limits(options.recipe), channels=options.channels)
    root = str(Path(options.dir).resolve())
    if not os.path.isdir(root):
        raise FileNotFoundError(f"There is no folder {options.dir}: name the folder of the data.")
    found, unusable = _find(root, options)
    if options.fix is not None:
        place_of_copy(found, options.fix)  # before the time of the check is spent
    options.out.mkdir(parents=True, exist_ok=True)
    with _Progress() as progress:
        findings = check_datasets(root, found, limits=limits, workers=options.workers, progress=progress)
    findings.add(unusable)
    page = write_data_page(findings, options.out / PAGE)
    if options.json:
        print(json.dumps(findings.to_plain(), indent=1))
    else:
        print("\n".join([*_report(findings), f"The page: {page}"]))
    if options.fix is not None:
        alike = {reading.dataset.layout: reading.alike for reading in findings.readings}
        changes = write_mended_copy(
            found, options.fix, alike, only_boxes=limits.masks is False, has_channels=limits.channels is not None
        ).changes
        sys.stderr.write(f"The mended copy: {options.fix} ({plural(len(changes), 'change')}, see changes.md there)\n")
    return 0 if findings.is_clean else FAULTY


def _limits(recipe: str | None) -> "RecipeLimits":
    """Those of a recipe, if there is one."""
    from focalnet_d2.config.lazy import load_recipe  # needs torch, --help does not
    from focalnet_d2.data.checks.tasks import RecipeLimits  # needs torch, --help does not
    from focalnet_d2.engine.recipe_limits import recipe_limits  # needs torch, --help does not

    return RecipeLimits() if recipe is None else recipe_limits(load_recipe(recipe))


def _find(root: str, options: argparse.Namespace) -> "tuple[FoundDatasets, list[Fault]]":
    """The readings of a folder, and a fault for each that it seems to have and that cannot be used."""
    from focalnet_d2.data.folders.finding import (  # needs torch, --help does not
        FoundDatasets,
        NothingUsableError,
        ambiguities,
        conflicting_layouts,
        find_datasets,
    )

    wanted = {part: getattr(options, part) for part in PARTS if getattr(options, part)}
    faults: list[Fault] = []
    try:
        split = Split(options.val_share, options.split_seed, options.split_groups)
        found = find_datasets(root, layout=options.layout, wanted=wanted, split=split, report=faults.append)
    except NothingUsableError as error:
        failures = list(error.failures.values()) or [error]
        return FoundDatasets([], {}), [fault_of(failure, "no-usable-data", root) for failure in failures]
    except ValueError as error:
        return FoundDatasets([], {}), [fault_of(error, "no-usable-data", root)]
    of_readings = [
        _of_reading(root, name, error, is_chosen=name in conflicting_layouts(found))
        for name, error in found.failures.items()
    ]
    return found, [*joined(faults), *of_readings, *ambiguities(found)]


def _of_reading(root: str, name: str, error: Exception, *, is_chosen: bool) -> Fault:
    """The fault of a layout that the folder seems to have beside another one that can be used; it stops a run that has
    to choose between the two."""
    fault = fault_of(error, "unusable-reading", root)
    severity, message = "error" if is_chosen else "warning", f"The folder also looks like {name}, but: {error}"
    return replace(fault, severity=severity, message=message)


def _report(findings: "Findings") -> Iterator[str]:
    """Lines for people: what was read, the faults by kind, and their number."""
    for reading in findings.readings:
        parts = ", ".join(f"{name}: {plural(numbers.images, 'image')}" for name, numbers in reading.parts.items())
        yield f"{findings.root} as {reading.dataset.layout} ({reading.dataset.kind}): {parts}"
    by_kind: dict[str, list[Fault]] = defaultdict(list)
    for fault in findings.faults:
        by_kind[fault.kind].append(fault)
    for kind, faults in by_kind.items():
        count = sum(fault.count for fault in faults) + findings.left_out[kind]
        yield f"\n{faults[0].severity} {kind} ({count})"
        shown = 1 if faults[0].severity == "note" else _SHOWN
        yield from (f"  {fault.message}" for fault in faults[:shown])
        if (more := len(faults) - shown) > 0:
            yield f"  and {plural(more, 'more file')}, which the page and --json list"
    numbers = findings.counts()
    yield "\n" + ", ".join(plural(count, name) for name, count in numbers.items())


class _Progress:
    """A bar on a terminal, else a line for each part; both to standard error, so that --json stays alone."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, what: str, images: int) -> None:
        """Told before each part."""
        self.__exit__()
        self._bar = tqdm(total=images, desc=what, unit=" images", disable=None, leave=False)
        if self._bar.disable:
            sys.stderr.write(f"{what}: {plural(images, 'image')}\n")

    def advance(self, images: int) -> None:
        """Told how many more images were looked at."""
        if self._bar is not None:
            self._bar.update(images)


if __name__ == "__main__":
    sys.exit(main())
