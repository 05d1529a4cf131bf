"""What boxes and masks get wrong: curves, confused classes, kinds of errors, sizes, single images."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_codec

from focalnet_d2.data.checks.tasks import LabelTask
from focalnet_d2.data.class_map import ClassMap, class_map
from focalnet_d2.evaluation.coco_files import Detections, ImageId, read_results_of
from focalnet_d2.evaluation.detection import SUBMISSION, DetectionEvaluator
from focalnet_d2.evaluation.detection_errors import DetectionErrors, can_analyze, detection_errors
from focalnet_d2.reports.label_pictures import draw_labels
from focalnet_d2.reports.line_chart import PALETTE, Line, line_chart
from focalnet_d2.reports.page import figure, meter_cell, number_cell, table, text_cell

from .calibration import calibration_figures
from .example_pictures import Example, example_sheets
from .matrices import confusion_table
from .run_files import RunFiles
from .scored_data import ScoredData

SHOWN = {"bbox": "Boxes", "segm": "Masks"}
MOST_CURVES = 8  # of single classes
MOST_IMAGES = 6  # best ones, and as many of the worst
NOT_INSTALLED = "PR curves, kinds of errors, confused classes and the calibration need hotcoco: pip install hotcoco."
KINDS = {
    "Cls": "right place, wrong class",
    "Loc": "right class, IoU from 0.1 to 0.5",
    "Both": "wrong class, IoU from 0.1 to 0.5",
    "Dupe": "a second one for an object that is found",
    "Bkg": "nothing is there",
    "Miss": "an object that nothing comes near",
}


def detection_sections(run: RunFiles, data: ScoredData) -> Iterator[tuple[str, str]]:
    """A section for boxes and one for masks, and one with images, from the predictions of the last evaluation."""
    evaluator = data.evaluator(DetectionEvaluator)
    file = run.folder / SUBMISSION
    if evaluator is None or not file.is_file() or evaluator.truth.annotations is None:
        return
    if not can_analyze():
        yield "Errors", f"<p class=note>{NOT_INSTALLED}</p>"
        return
    found = read_results_of(file, evaluator.truth, evaluator.tasks)
    errors = {
        task: detection_errors(evaluator.truth, detections, task, max_dets=evaluator.max_dets)
        for task, detections in found.items()
    }
    for task, one in errors.items():
        yield SHOWN[task], _section(one, run.results.get(task, {}))
    task = list(errors)[-1]  # masks, where there are both
    yield "Images", _images(evaluator, errors[task], found[task], data)


def _section(errors: DetectionErrors, results: dict[str, float | None]) -> str:
    point = errors.point
    note = (
        f"<p class=note>All at IoU 0.5. The best F1 is {point.f1:.3f}, at scores from {point.threshold:.3f} on "
        f"(precision {point.precision:.3f}, recall {point.recall:.3f}); the table of confused classes counts these.</p>"
    )
    charts = figure("Precision over recall", _precision_chart(errors))
    charts += calibration_figures(errors.bins, what="detections", score="score")
    k = len(errors.class_names)
    matrix = confusion_table(
        errors.confusion[:k, :k],
        errors.class_names,
        rest_columns={"missed": errors.confusion[:k, k]},
        rest_rows={"nothing there": errors.confusion[k, :k]},
    )
    below = f"<div><h3>Kinds of errors</h3>{_kinds(errors)}</div><div><h3>Sizes</h3>{_sizes(errors, results)}</div>"
    return f"{note}<div class=charts>{charts}</div><div class=columns>{below}</div><h3>Confused classes</h3>{matrix}"


def _precision_chart(errors: DetectionErrors) -> str:
    """The mean of all classes, and the classes, of many the worst."""
    by_area = sorted(errors.precisions.items(), key=lambda item: float(item[1].mean()))[:MOST_CURVES]
    lines = [Line("all", _points(errors.recalls, errors.mean_precision), PALETTE[0])]
    if len(errors.precisions) > 1:
        lines += [
            Line(name, _points(errors.recalls, values), PALETTE[1 + place % (len(PALETTE) - 1)])
            for place, (name, values) in enumerate(by_area)
        ]
    return line_chart(lines, x_title="recall", y_title="precision", x_range=(0, 1), y_range=(0, 1))


def _points(xs: np.ndarray, ys: np.ndarray) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(xs.tolist(), ys.tolist()) if y > -1]


def _kinds(errors: DetectionErrors) -> str:
    most = max(max(errors.counts.values(), default=0), 1)
    rows = [
        (
            text_cell(f"{name}: {KINDS[name]}"),
            number_cell(errors.counts[name]),
            number_cell(errors.gains[name]),
            meter_cell(errors.counts[name] / most),
        )
        for name in KINDS
    ]
    note = "<p class=note>As TIDE counts them: how many, and how much AP50 would gain without them.</p>"
    return table(("kind", "number", "AP50 gains", ""), rows, kind="share") + note


def _sizes(errors: DetectionErrors, results: dict[str, float | None]) -> str:
    rows = []
    for name, count in errors.objects_of_size.items():
        shares = [results.get(f"{metric}{name[0]}") for metric in ("AP", "AR")]
        found = 100 * errors.found_of_size[name] / count if count else None
        rows.append((text_cell(name), number_cell(count), number_cell(found), *map(number_cell, shares)))
    note = "<p class=note>Small objects have up to 32², large ones more than 96² pixels.</p>"
    return table(("objects", "number", "found, %", "AP", "AR"), rows) + note


def _images(evaluator: DetectionEvaluator, errors: DetectionErrors, found: Detections, data: ScoredData) -> str:
    """The images with the most and with the fewest errors, truth and prediction side by side."""
    classes = class_map(range(1, len(errors.class_names) + 1), errors.class_names)
    files = {record["image_id"]: record["file_name"] for record in data.records}
    drawer = _Drawer(evaluator, found, errors.point.threshold, files, classes)
    telling = {key: one for key, one in errors.images.items() if sum(one) and key in files}
    worst = sorted(telling, key=lambda key: (telling[key].f1, -telling[key].wrong - telling[key].missed))
    best = sorted(telling, key=lambda key: (-telling[key].f1, -telling[key].right))
    bad = [key for key in worst if telling[key].f1 < 1][:MOST_IMAGES]
    good = [key for key in best if telling[key].right and key not in bad][:MOST_IMAGES]
    words = {key: f"{one.right} right, {one.wrong} wrong, {one.missed} missed" for key, one in telling.items()}
    groups = {title: [drawer.pair(key, words[key]) for key in keys] for title, keys in (("Worst", bad), ("Best", good))}
    note = f"<p class=note>Predictions with scores from {errors.point.threshold:.3f} on are drawn.</p>"
    return note + example_sheets(groups) + _suspects(errors, files)


def _suspects(errors: DetectionErrors, files: dict[ImageId, str]) -> str:
    """Labels that may be wrong."""
    if not errors.label_errors:
        return ""
    rows = [
        (
            text_cell(Path(files.get(one.image_id, str(one.image_id))).name),
            text_cell(one.predicted),
            text_cell(one.annotated or "nothing"),
            number_cell(one.score, 3),
        )
        for one in errors.label_errors
    ]
    note = (
        "<p class=note>Detections of high scores that disagree with the truth: some of these labels may be wrong.</p>"
    )
    return f"<h3>Doubtful labels</h3>{note}{table(('image', 'predicted', 'annotated', 'score'), rows)}"


class _Drawer:
    """Makes pairs of pictures of images."""

    def __init__(
        self,
        evaluator: DetectionEvaluator,
        found: Detections,
        threshold: float,
        files: dict[ImageId, str],
        classes: ClassMap,
    ) -> None:
        self.truth, self.files = evaluator.truth, files
        self.found = found[found.scores >= threshold]
        self.classes = classes

    def pair(self, image_id: ImageId, words: str) -> Example:
        """The truth and the prediction of an image."""
        number = self.truth.image_ids.index(image_id) + 1
        file, image = self.files[image_id], next(image for image in self.truth.images if image["id"] == number)
        annotated = [entry for entry in self.truth.annotations or () if entry["image_id"] == number]
        found = self.found[self.found.images == number]
        pictures = {
            name: partial(draw_labels, LabelTask("instances", "", image_id, file, image, labels), self.classes)
            for name, labels in (("truth", annotated), ("prediction", list(_labels(found))))
        }
        return Example(file, words, pictures)


def _labels(found: Detections) -> Iterator[dict[str, Any]]:
    """Detections as annotations have them."""
    for place in range(len(found)):
        label: dict[str, Any] = {"category_id": int(found.categories[place])}
        if found.masks is not None:
            mask: Any = found.masks[place]
            label |= {"segmentation": mask, "bbox": mask_codec.toBbox(mask).tolist()}
        if found.boxes is not None:
            label["bbox"] = found.boxes[place].tolist()
        yield label
