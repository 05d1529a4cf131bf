"""The examples that evaluations have written into the folder of a run."""

from collections.abc import Callable
from typing import Any

from focalnet_d2.evaluation.examples import EXAMPLES

from .example_pictures import Example
from .run_files import RunFiles


def example_groups(run: RunFiles, task: str, make: Callable[[dict[str, Any]], Example]) -> dict[str, list[Example]]:
    """The worst and the best images of a task, none twice; nothing where an evaluation has written none.

    Args:
        make: of an entry of the file; KeyError for an image that is no longer there.
    """
    if (content := run.written(EXAMPLES.format(task))) is None:
        return {}
    seen: set[str] = set()
    groups: dict[str, list[Example]] = {}
    for title, name in (("Worst", "worst"), ("Best", "best")):
        entries = [entry for entry in content[name] if str(entry["image_id"]) not in seen]
        seen |= {str(entry["image_id"]) for entry in entries}
        groups[title] = [make(entry) for entry in entries]
    return groups
