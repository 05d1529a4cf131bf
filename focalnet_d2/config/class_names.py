"""Lists and tables of class names as they are typed: `{old:new}`, `{new:[old,old]}`, `[name,name]`.

A name is any text; with brackets, commas, colons or blanks at its ends it stands in quotes.
"""

import json
import re
import shlex
from typing import Any

from .recipe_files import RecipeError

FORMS = {"data.rename": "{old:new}", "data.merge": "{new:[old,old]}", "data.drop": "[name,name]"}
_TOKEN = re.compile(r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<mark>[]{}[,:])|(?P<bare>[^]{}[,:]+))\s*""")


def read_class_names(key: str, text: str) -> Any:
    """The dict or list of texts that somebody typed as the value of `key`, one of `FORMS`.

    Raises:
        RecipeError: it is no such text.
    """
    try:
        return json.loads("".join(_as_json(text)), object_pairs_hook=_without_repeats)
    except ValueError as error:
        shown = shlex.quote(f"{key}={FORMS[key]}")
        raise RecipeError(
            f"Cannot read the value of '{key}={text}': write it as {shown}, and names with brackets, commas or colons "
            "in quotes."
        ) from error


def _as_json(text: str) -> list[str]:
    """The text in JSON's words."""
    words, place = [], 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(text[place:])
        place = token.end()
        name = token.lastgroup or "mark"
        word = token[name].rstrip() if name == "bare" else token[name]
        words.append(word if name == "mark" else json.dumps(word))
    return words


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("A name stands twice.")
    return dict(pairs)
