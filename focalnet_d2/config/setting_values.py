"""The value that a person meant who typed `key=text`: hydra's grammar, and plain text where a text stands."""

import os
import shlex
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from .recipe_files import RecipeError
from .settings import Setting, kind, replacing

_FLAGS = {**dict.fromkeys(("true", "on", "yes", "1"), True), **dict.fromkeys(("false", "off", "no", "0"), False)}
NONE = ("None", "null")
_BEGIN_GRAMMAR = ("'", '"', "[", "{")


def read_value(key: str, text: str, setting: Setting | None) -> Any:
    """The value of `key=text`: in hydra's grammar, or the text itself where one may stand and the grammar has none.

    Raises:
        RecipeError: the text is not in the grammar; the message shows how to quote it.
    """
    is_read, value = _parse(text)
    if is_read:
        return value
    may_be_text = setting is None or str in setting.kinds
    if may_be_text and not text.startswith(_BEGIN_GRAMMAR):
        return os.path.expanduser(text) if text.startswith("~/") else text
    raise RecipeError(f"Cannot read the value of '{key}={text}': {_advice(key, text, setting, may_be_text)}.")


def _advice(key: str, text: str, setting: Setting | None, may_be_text: bool) -> str:
    if text.startswith("[") and text.endswith("]"):
        quoted = shlex.quote(f'{key}=["a b","c"]')
        return f"within a list, put texts with blanks or special characters into quotes of their own, {quoted}"
    if may_be_text:
        quoted = f"'{text}'" if "'" not in text else '"{}"'.format(text.replace('"', '\\"'))
        return f"quote a text that begins with a quote or a bracket, {shlex.quote(f'{key}={quoted}')}"
    example = ""
    if setting is not None and list in setting.kinds:
        items = text.strip("()") if "," in text and not set(text) & set("[]{} ") else "1,2"
        example = f"; a list is written {key}=[{items}]"
    return f"it must be {setting}{example}"


def _parse(text: str) -> tuple[bool, Any]:
    """Whether a text is in hydra's grammar, and its value; what stands for several values is not."""
    try:
        override = OverridesParser.create().parse_override(f"key={text}")
    except HydraException:
        return False, None
    several = override.is_sweep_override()
    return not several, None if several else override.value()


def fit(value: Any, text: str, setting: Setting | None) -> Any:
    """`value` as the setting needs it: words for None and flags as these, `text` in place of what looks like a number.

    Args:
        value: as hydra reads the text.
        setting: what stands there; None where nothing tells.
    """
    if value is None or text in NONE or (text.lower() == "none" and not (setting and str in setting.kinds)):
        return None
    if setting is None or setting.has_type_of(value):
        return value
    if bool in setting.kinds and text.lower() in _FLAGS:
        return _FLAGS[text.lower()]
    if str in setting.kinds and kind(value) in (bool, int, float):
        return text
    if int in setting.kinds and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def fit_elements(values: list, present: Any, key: str) -> list:
    """The elements of a list as those need them that stood in its place, if these were of one type.

    Raises:
        RecipeError: an element of another type.
    """
    settings = {replacing(element) for element in present} if kind(present) is list else set()
    setting = next(iter(settings)) if len(settings) == 1 else None
    if setting is None or dict in setting.kinds or list in setting.kinds:
        return values
    fitted = [fit(value, str(value), setting) for value in values]
    for value in fitted:
        if not isinstance(value, str) or "${" not in value:
            check(f"An element of {key}", value, setting)
    return fitted


def check(who: str, value: Any, setting: Setting | None) -> None:
    """Raise `RecipeError` unless the setting takes the value."""
    if setting is not None and not setting.accepts(value):
        raise RecipeError(f"{who} is {'null' if value is None else repr(value)}: it must be {setting}.")
