"""JSON files that hold lists of objects, as COCO's formats do: read, and looked at before they are used."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from focalnet_d2.utils.text import some_of

from .faults import Fault, Report, refusal, strict

Entry = dict[str, Any]


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        FaultError: it is not JSON; the message names the file.
    """
    try:
        return _parse(Path(path).read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"The annotation file {path} does not exist.") from None
    except (ValueError, RecursionError) as error:
        message = f"{path} is not valid JSON ({error}); it may be damaged or incomplete."
        raise refusal("json-damaged", path, message) from error


def _parse(text: bytes) -> Any:
    """orjson is faster than the standard library, which also reads NaN, and says what is wrong with the rest."""
    with suppress(ImportError, ValueError):
        import orjson  # an optional extra

        return orjson.loads(text)
    return json.loads(text)


def entries_of(
    content: Any, keys: Sequence[str], path: str | Path, file_format: str, report: Report = strict
) -> list[list[Entry]]:
    """The lists of objects under these keys; where the report goes on, without what are none.

    Args:
        path: the file, for messages.
        file_format: for messages, for example "COCO's instances format".

    Raises:
        ValueError: a key is missing, or holds anything but a list of objects.
    """
    if missing := [key for key in keys if not isinstance(content, dict) or key not in content]:
        message = f"{path} has no {' and no '.join(missing)}, so it is not in {file_format}."
        report(Fault("list-missing", "error", str(path), message, tuple(missing), len(missing)))
        content = {key: content.get(key, []) if isinstance(content, dict) else [] for key in keys}
    return [_objects(content[key], key, path, file_format, report) for key in keys]


def _objects(entries: Any, key: str, path: str | Path, file_format: str, report: Report) -> list[Entry]:
    if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
        return entries
    message = f"{path}: its {key} are not a list of objects, so it is not in {file_format}."
    report(Fault("not-a-list-of-objects", "error", str(path), message, (key,)))
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def column(entries: Sequence[Entry], key: str, where: str) -> list[Any]:
    """The value of a key in every entry.

    Args:
        where: the list of entries, for messages, for example "train.json: annotations".

    Raises:
        ValueError: an entry lacks the key.
    """
    try:
        return [entry[key] for entry in entries]
    except KeyError:
        raise ValueError(lacking_message(entries, key, where)) from None


def lacking_message(entries: Sequence[Entry], key: str, where: str) -> str:
    """What is wrong with a list of which some entries lack a key."""
    lacking = [number for number, entry in enumerate(entries) if key not in entry]
    return (
        f"{where} without {key}: {len(lacking)} of {len(entries)}, entries {some_of(lacking, 5)} of their list, "
        f"counted from 0; every one needs its {key}."
    )
