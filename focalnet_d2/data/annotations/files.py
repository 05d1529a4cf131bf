"""Whether what annotations say can be the name of a file."""

import os
from typing import Any


def can_be_file(name: Any) -> bool:
    """Whether a value of an annotation file is the name of a file: JSON can write zeros and halves of characters, too,
    which no system can look for."""
    try:
        return isinstance(name, str) and bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
