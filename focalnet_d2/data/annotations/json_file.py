"""JSON files that hold lists of objects, as COCO's formats do: read, and looked at before they are used."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from focalnet_d2.utils.text import some_of

Entry = dict[str, Any]


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON; the message names the file.
    """
    try:
        return _parse(Path(path).read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"The annotation file {path} does not exist.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); it may be damaged or incomplete.") from error


def _parse(text: bytes) -> Any:
    """orjson is faster than the standard library, which also reads NaN, and says what is wrong with the rest."""
    with suppress(ImportError, ValueError):
        import orjson  # an optional extra

        return orjson.loads(text)
    return json.loads(text)


def entries_of(content: Any, keys: Sequence[str], path: str | Path, file_format: str) -> list[list[Entry]]:
    """The lists of objects under these keys.

    Args:
        path: the file, for messages.
        file_format: for messages, for example "COCO's instances format".

    Raises:
        ValueError: a key is missing, or holds anything but a list of objects.
    """
    if missing := [key for key in keys if not isinstance(content, dict) or key not in content]:
        raise ValueError(f"{path} has no {' and no '.join(missing)}, so it is not in {file_format}.")
    for key in keys:
        if not isinstance(content[key], list) or not all(isinstance(entry, dict) for entry in content[key]):
            raise ValueError(f"{path}: its {key} are not a list of objects, so it is not in {file_format}.")
    return [content[key] for key in keys]


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
        lacking = [number for number, entry in enumerate(entries) if key not in entry]
        raise ValueError(
            f"{where} without {key}: {len(lacking)} of {len(entries)}, entries {some_of(lacking, 5)} of their list, "
            f"counted from 0; every one needs its {key}."
        ) from None
