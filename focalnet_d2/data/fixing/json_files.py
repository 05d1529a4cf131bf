"""JSON files of a mended copy."""

import json
from pathlib import Path
from typing import Any

from focalnet_d2.utils.atomic_write import write_atomically

from ..annotations.boxes import NO_AREA


def write_json(content: dict[str, Any], path: Path) -> None:
    """Writes annotations, without the marks that reading has set."""
    for entry in content.get("annotations", ()):
        entry.pop(NO_AREA, None)
    write_atomically(path, json.dumps(content, ensure_ascii=False))
