"""The flags of COCO's annotations: `iscrowd`, and `ignore`, which makes a crowd of an object."""

from collections.abc import Sequence
from typing import Any

from .boxes import described
from .findings import Findings
from .json_file import Entry

_MEANT = {"1": 1, "true": 1, "yes": 1}  # text that some tools write for a flag; any other means 0


def set_flags(annotations: Sequence[Entry], findings: Findings) -> None:
    """Makes `iscrowd` 0 or 1 where it stands, and 1 for what is to be ignored."""
    for key in ("iscrowd", "ignore"):
        if set(map(type, flags := [entry.get(key, 0) for entry in annotations])) == {int} and not any(flags):
            continue
        flagged = [entry for entry in annotations if key in entry]
        _check_values(flagged, key, findings)
        empty = [entry for entry in flagged if entry[key] is None]
        findings.odd("flag-null", f"have {key} null, which counts as 0", empty, "note")
        for entry in empty:
            entry[key] = 0
        if key == "ignore":
            _ignore_as_crowds(flagged, findings)


def _check_values(flagged: Sequence[Entry], key: str, findings: Findings) -> None:
    bad = [entry for entry in flagged if entry[key] not in (0, 1, None)]
    if bad:
        message = f"{findings.path}: annotations: {described(bad[0])} has {key} {bad[0][key]!r}, which must be 0 or 1."
        findings.error("flag-value", message, bad)
        for entry in bad:
            entry[key] = meant_flag(entry[key])


def meant_flag(value: Any) -> int:
    """0 or 1 of text that stands where a flag should."""
    return _MEANT.get(str(value).strip().lower(), 0)


def _ignore_as_crowds(flagged: Sequence[Entry], findings: Findings) -> None:
    ignored = [entry for entry in flagged if entry["ignore"]]
    findings.odd("ignored-as-crowd", "have ignore: 1 and count as crowds", ignored, "note")
    for entry in ignored:
        entry["iscrowd"] = 1
