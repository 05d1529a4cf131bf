"""What becomes of panoptic segments, from the counts of an evaluation, and its best and worst images."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from focalnet_d2.evaluation.examples import map_from_text
from focalnet_d2.evaluation.object_sizes import SIZES
from focalnet_d2.evaluation.panoptic import CONFUSION, PanopticEvaluator
from focalnet_d2.evaluation.panoptic_confusion import CONFUSED, MATCHED, PanopticConfusion
from focalnet_d2.reports.label_pictures import LabelPicture, draw_map
from focalnet_d2.reports.page import meter_cell, number_cell, table, text_cell

from .example_files import example_groups
from .example_pictures import Example, example_sheets
from .matrices import confusion_table
from .run_files import RunFiles
from .scored_data import ScoredData

MEANINGS = {
    MATCHED: "IoU above 0.5 with a prediction of its class",
    CONFUSED: "IoU above 0.5 with a prediction of another class",
    "split": "several predictions of its class inside it, which cover more than half",
    "merged": "one prediction covers it and another segment of its class",
    "void": "more than half has no prediction",
    "missed": "covered by others, or too little by its class",
    "part": "one of the predictions inside a split segment",
    "merging": "covers several segments of its class",
    "hallucinated": "fits no segment",
}
_ON_VOID = "more than half lies where nothing is annotated: it does not count"


def segments(run: RunFiles) -> str:
    """Tables of the fates of segments; "" where there is no panoptic evaluation."""
    if (content := run.written(CONFUSION)) is None:
        return ""
    confusion, names = PanopticConfusion.from_plain(content), content["classes"]
    matched = int(confusion.pairs.diagonal().sum())
    pairs = {MATCHED: matched, CONFUSED: int(confusion.pairs.sum()) - matched}
    true = pairs | {fate: int(count.sum()) for fate, count in confusion.true_counts.items()}
    predicted = pairs | {fate: int(count.sum()) for fate, count in confusion.predicted_counts.items()}
    matrix = confusion_table(
        confusion.pairs,
        names,
        rest_columns=confusion.true_counts,
        rest_rows=confusion.predicted_counts,
    )
    return (
        f"<div class=columns><div><h3>Annotated segments</h3>{_fates(true, MEANINGS)}</div>"
        f"<div><h3>Predicted segments</h3>{_fates(predicted, {**MEANINGS, 'void': _ON_VOID})}</div>"
        f"<div><h3>Sizes of annotated segments</h3>{_sizes(confusion)}</div></div>"
        f"<h3>Confused classes</h3>{matrix}"
    )


def _fates(counts: dict[str, int], meanings: dict[str, str]) -> str:
    total = max(1, sum(counts.values()))
    rows = [
        (
            text_cell(f"{fate}: {meanings[fate]}"),
            number_cell(count),
            number_cell(100 * count / total, 1),
            meter_cell(count / total),
        )
        for fate, count in counts.items()
    ]
    return table(("fate", "number", "%", ""), rows, kind="share")


def _sizes(confusion: PanopticConfusion) -> str:
    rows = [
        (text_cell(name), number_cell(total), number_cell(100 * matched / total if total else None))
        for name, (total, matched) in zip(SIZES, confusion.sizes.tolist())
    ]
    return table(("size", "number", "matched, %"), rows)


def panoptic_images(run: RunFiles, data: ScoredData) -> Iterator[tuple[str, str]]:
    """A section with the best and worst images."""
    evaluator = data.evaluator(PanopticEvaluator)
    if evaluator is None:
        return
    records = {record["image_id"]: record for record in data.records}
    groups = example_groups(run, PanopticEvaluator.examples_task, partial(_example, evaluator, records))
    if groups:
        yield "Panoptic images", f"<p class=note>By the PQ of the image alone.</p>{example_sheets(groups)}"


def _example(evaluator: PanopticEvaluator, records: dict[Any, dict], entry: dict[str, Any]) -> Example:
    record, classes = records[entry["image_id"]], evaluator.classes.classes
    matched, false, missed = entry["counts"]

    def truth() -> LabelPicture:
        read = evaluator.read_truth(record)
        pairs = zip(read.segments.ids.tolist(), read.segments.classes.tolist())
        return draw_map(record["file_name"], read.map, {number: classes[index] for number, index in pairs})

    def prediction() -> LabelPicture:
        entries = {number: classes[index] for number, index in entry["segments"]}
        return draw_map(record["file_name"], map_from_text(entry["map"]), entries)

    words = f"PQ {100 * entry['value']:.1f}: {matched} matched, {false} false, {missed} missed"
    return Example(record["file_name"], words, {"truth": truth, "prediction": prediction})
