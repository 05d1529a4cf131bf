"""Results as a table and as a file."""

import json
import math
from pathlib import Path
from typing import Any

from tabulate import tabulate

from focalnet_d2.utils.atomic_write import write_atomically

RESULTS = "results.json"


def results_table(results: dict[str, Any]) -> str:
    """The main numbers of each task as a table; numbers of single classes are left out."""
    lines = []
    for task, numbers in results.items():
        main = {name: value for name, value in numbers.items() if "-" not in name}
        row = [task, *(f"{value:.3f}" for value in main.values())]
        lines.append(tabulate([row], headers=["task", *main], tablefmt="pipe", disable_numparse=True))
    return "\n\n".join(lines)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON; numbers that are not defined (nan) become null."""
    write_atomically(path, json.dumps(_without_nan(results), indent=1) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(child) for key, child in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
