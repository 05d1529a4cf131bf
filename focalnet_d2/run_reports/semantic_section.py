"""Which classes of pixels are taken for which, and the best and worst images of a semantic evaluation."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from focalnet_d2.data.class_map import ClassEntry
from focalnet_d2.data.class_metadata import metadata_classes
from focalnet_d2.evaluation.examples import map_from_text
from focalnet_d2.evaluation.metadata import loaded_metadata
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.evaluation.semantic import COUNTS, SemanticEvaluator
from focalnet_d2.reports.label_pictures import LabelPicture, draw_map

from .example_files import example_groups
from .example_pictures import Example, example_sheets
from .matrices import confusion_table
from .run_files import RunFiles
from .scored_data import ScoredData


def pixels(run: RunFiles) -> str:
    """The confusion matrix of pixels; "" where there is no semantic evaluation."""
    if (content := run.written(COUNTS)) is None:
        return ""
    counts = np.array(content["confusion"], np.int64)[:-1, :-1].T  # (K, K), rows = true classes
    note = "<p class=note>Shares of the pixels of each true class.</p>"
    return note + confusion_table(counts, content["classes"], rest_columns={}, rest_rows={}, in_percent=True)


def semantic_images(run: RunFiles, data: ScoredData) -> Iterator[tuple[str, str]]:
    """A section with the best and worst images."""
    evaluator = data.evaluator(SemanticEvaluator)
    if evaluator is None or data.evaluator(PanopticEvaluator) is not None:
        return  # panoptic images show the same regions
    records = {record["file_name"]: record for record in data.records}
    groups = example_groups(run, SemanticEvaluator.examples_task, partial(_example, evaluator, records))
    if groups:
        note = "<p class=note>By the mean IoU of the classes of the image.</p>"
        yield "Semantic images", note + example_sheets(groups)


def _example(evaluator: SemanticEvaluator, records: dict[str, dict], entry: dict[str, Any]) -> Example:
    record = records[entry["file_name"]]
    classes = metadata_classes(loaded_metadata(evaluator.dataset_name))
    assert classes is not None  # the evaluator has found names

    def drawn(labels: np.ndarray) -> LabelPicture:
        present: dict[int, ClassEntry] = {
            index: classes.classes[index] for index in np.unique(labels).tolist() if 0 <= index < len(classes)
        }
        return draw_map(record["file_name"], labels, present)

    return Example(
        record["file_name"],
        f"mean IoU {100 * entry['value']:.1f}",
        {
            "truth": lambda: drawn(evaluator.read_truth(record)[0]),
            "prediction": lambda: drawn(map_from_text(entry["map"])),
        },
    )
