"""The folder of this user for what can be made or downloaded again."""

import os
from pathlib import Path


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/focalnet_d2`, with `~/.cache` where that is not set or, against its rules, relative."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "focalnet_d2")


def make_user_cache() -> Path:
    """The folder of `user_cache`, made if need be so that nobody else may use it, whatever the umask is.

    Raises:
        OSError: it cannot be made, or `~` leads nowhere.
    """
    folder = user_cache()
    if not folder.is_absolute():
        raise OSError(f"{folder} is not an absolute path")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
