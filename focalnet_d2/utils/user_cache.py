"""The folder of this user for what can be made or downloaded again."""

import os
from pathlib import Path


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/focalnet_d2`, with `~/.cache` where that is not set or, against its rules, relative."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "focalnet_d2")
