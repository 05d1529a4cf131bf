"""What a folder holds, found by looking: every layout is asked, and all readings that fit are returned."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault, FaultError, Report, strict
from ..class_map import ClassMap
from ..shards.files import exists, note_root
from .dataset import AUTO, KINDS, PARTS, FolderDataset, Split
from .layout import Found, Layout, WantedParts
from .layouts import LAYOUTS
from .listing import Listing

DERIVED = {"instances": "panoptic", "semantic": "panoptic"}  # kind -> another that it can be made from


class NothingUsableError(ValueError):
    """No layout fits, or none that fits can be used.

    Attributes:
        failures: why those that the folder seems to have cannot be used, by their name.
    """

    def __init__(self, message: str, failures: Mapping[str, Exception]) -> None:
        super().__init__(message)
        self.failures = dict(failures)


class FoundDatasets(list[FolderDataset]):
    """All readings of a folder that fit.

    Attributes:
        failures: why layouts that the folder seems to have cannot be used, by their name.
    """

    def __init__(self, datasets: Sequence[FolderDataset], failures: dict[str, Exception]) -> None:
        super().__init__(datasets)
        self.failures = failures


def find_datasets(
    root: str | os.PathLike,
    *,
    layout: str = AUTO,
    wanted: WantedParts | None = None,
    split: Split = Split(),  # noqa: B008  frozen
    report: Report = strict,
) -> FoundDatasets:
    """All data sets that a folder holds.

    Args:
        root: the folder.
        layout: a key of `LAYOUTS`, or "auto" for all.
        wanted: parts ("train", "val", "test") as sub-folders or annotation files; those not named are looked for.
        split: how validation images are split off the training part where there is no other; both parts then are the
            same until `write_lists` has written who is in which.
        report: gets the faults of class lists; where it goes on, they are mended in what is found.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: nothing is found, or nothing that is found can be used; unknown layouts and parts, or nothing where
            a part is wanted.
    """
    if layout not in (AUTO, *LAYOUTS):
        raise ValueError(f"data.layout={layout!r} is unknown: choose {AUTO} or one of {', '.join(LAYOUTS)}.")
    if unknown := set(wanted or ()) - set(PARTS):
        raise ValueError(f"A data set has the parts {', '.join(PARTS)}, not {', '.join(sorted(unknown))}.")
    listing = Listing(root)
    note_root(str(listing.root))
    for part, place in (wanted or {}).items():
        _check_place(listing, part, place)
    datasets, failures = [], {}
    for one in LAYOUTS.values() if layout == AUTO else [LAYOUTS[layout]]:
        try:
            found = one.find(listing, wanted or {})
            for fault in () if found is None else found.faults:
                report(fault)
        except (ValueError, OSError) as error:
            failures[one.name] = error
            continue
        if found is not None:
            datasets.append(_dataset(listing, one, found, split))
    if not datasets:
        raise _nothing(listing, layout, failures)
    return FoundDatasets(datasets, failures)


def _check_place(listing: Listing, part: str, place: str) -> None:
    """Raise `ValueError` if a user named a part by a path that the folder lacks; its end alone will do."""
    written = os.path.expanduser(place)
    if not written or exists(listing.root / written) or any(name.endswith(written) for name in listing.files):
        return
    names = [*listing.folders, *listing.with_suffix(".json", ".txt", ".xml", ".yaml", ".yml")]
    near = difflib.get_close_matches(place, names, n=1, cutoff=0.5)
    hint = f"did you mean data.{part}={near[0]}?" if near else f"its sub-folders are {some_of(listing.folders, 8)}."
    path = os.path.normpath(listing.root / written)
    raise ValueError(f"data.{part}={place}: {path} does not exist; write a path relative to {listing.root}: {hint}")


def _dataset(listing: Listing, layout: Layout, found: Found, split: Split) -> FolderDataset:
    parts = dict(found.parts)
    needs_split = "train" in parts and "val" not in parts
    if needs_split:
        parts["val"] = parts["train"]
    return FolderDataset(
        root=str(listing.root),
        layout=layout.name,
        kind=layout.kind,
        parts={part: parts[part] for part in PARTS if part in parts},
        classes=found.classes,
        reason=found.reason,
        split=split if needs_split else None,
        has_masks=found.has_masks,
        image_files=len(listing.images),
    )


def _nothing(listing: Listing, layout: str, failures: dict[str, Exception]) -> Exception:
    if len(set(map(str, failures.values()))) == 1:
        return next(iter(failures.values()))
    if failures:
        reasons = " ".join(f"As {name}: {error}" for name, error in failures.items())
        message = f"{listing.root} can be read in several ways, and none works; choose by data.layout. {reasons}"
        return NothingUsableError(message, failures)
    looked_for = LAYOUTS.values() if layout == AUTO else [LAYOUTS[layout]]
    layouts = "; ".join(f"{one.name} ({one.summary})" for one in looked_for)
    message = (
        f"{listing.root} holds no data set that is known. Looked for: {layouts}. There are: {listing.counts()} "
        "(docs/own_data.md shows the layouts)."
    )
    return NothingUsableError(message, {})


def choose_dataset(found: FoundDatasets, kinds: Sequence[str]) -> FolderDataset:
    """The data set of the first kind that the folder holds.

    Args:
        kinds: of `dataset.KINDS`, the recipe's preference first. "instances" and "semantic" are also made from a
            panoptic set where there is no other; then `kind` of the result says how it is served, and `classes` are
            those of that kind.

    Raises:
        ValueError: nothing of these kinds, two readings of the chosen one, or one that cannot be used, though another
            can.
    """
    for kind in kinds:
        for source in filter(None, (kind, DERIVED.get(kind))):
            of_kind = [dataset for dataset in found if dataset.kind == source]
            failures = {name: error for name, error in found.failures.items() if LAYOUTS[name].kind == source}
            if len(of_kind) > 1:
                raise FaultError(_ambiguous(of_kind))
            if of_kind:
                if failures:
                    raise _half_readable(of_kind[0], failures)
                return served_as(of_kind[0], kind)
            if failures:
                raise next(iter(failures.values()))
    reasons = "; ".join(f"{dataset.kind} ({dataset.reason})" for dataset in found)
    needed = " or ".join(kinds)
    raise ValueError(f"The recipe needs {needed}, but {found[0].root} holds {reasons}: take another recipe or data.")


def ambiguities(found: FoundDatasets) -> list[Fault]:
    """An error for each kind of which a folder has several readings, so that a run has to be told which is meant."""
    of_kinds = [[dataset for dataset in found if dataset.kind == kind] for kind in KINDS]
    return [_ambiguous(datasets) for datasets in of_kinds if len(datasets) > 1]


def conflicting_layouts(found: FoundDatasets) -> set[str]:
    """Layouts that cannot be used and are of a kind that another one has, so that `choose_dataset` stops."""
    kinds = {dataset.kind for dataset in found}
    return {name for name in found.failures if LAYOUTS[name].kind in kinds}


def _ambiguous(datasets: Sequence[FolderDataset]) -> Fault:
    readings = "; ".join(f"{dataset.layout}: {dataset.reason}" for dataset in datasets)
    choices = " or ".join(f"data.layout={dataset.layout}" for dataset in datasets)
    message = f"{datasets[0].root} can be read in {len(datasets)} ways ({readings}): choose by {choices}."
    return Fault("several-readings", "error", datasets[0].root, message, tuple(one.layout for one in datasets))


def _half_readable(dataset: FolderDataset, failures: Mapping[str, Exception]) -> ValueError:
    """The error for a folder of which one reading works and others of the same kind do not."""
    others = " ".join(f"As {name}: {error}" for name, error in failures.items())
    return ValueError(
        f"{dataset.root} can be read as {dataset.layout} ({dataset.reason}), but it also looks like "
        f"{' and '.join(failures)}, which cannot be used: choose by data.layout={dataset.layout} what can be, or name "
        f"the sub-folder that you mean. {others}"
    )


def served_as(dataset: FolderDataset, kind: str) -> FolderDataset:
    """The same data set with another kind of truth, which is made from its own.

    Args:
        kind: its own, or of a panoptic set "instances" (its things) or "semantic" (all its classes).

    Raises:
        ValueError: that kind cannot be made from it, or a panoptic set without things has no instances.
    """
    if kind == dataset.kind:
        return dataset
    if DERIVED.get(kind) != dataset.kind:
        raise ValueError(f"{dataset.root} holds {dataset.kind}, of which no {kind} can be made.")
    entries = dataset.classes.classes
    if kind == "semantic":
        classes = ClassMap(tuple(replace(entry, is_thing=False) for entry in entries))
    elif not (things := tuple(entry for entry in entries if entry.is_thing)):
        raise ValueError(f"{dataset.root} has no class that is a thing (isthing: 1), so there are no objects to find.")
    else:
        classes = ClassMap(things)
    return replace(dataset, kind=kind, classes=classes)
