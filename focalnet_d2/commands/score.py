"""`focalnet-d2 score`: scores result files against ground-truth files, both in the official formats.

focalnet-d2 score panoptic panoptic_val2017.json panoptic_predictions.json --workers 4
focalnet-d2 score semantic annotations/validation predictions --categories panoptic_val2017.json
focalnet-d2 score boxes instances_val2017.json coco_instances_results.json --iou-type bbox segm
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from focalnet_d2.data.annotations.ids import check_unique
from focalnet_d2.data.annotations.json_file import column, entries_of, read_json
from focalnet_d2.evaluation.report import results_table, write_results

from .arguments import at_least_one, file_to_write
from .errors import run_command

Results = dict[str, dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), _score, arguments)


def _score(options: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    _check_outputs(options)
    results = options.score(options)
    print(results_table(results))
    if options.output is not None:
        write_results(options.output, results)


def _check_outputs(options: argparse.Namespace) -> None:
    """Raises ValueError if a file to write is one to read, or another one to write."""
    inputs = ("truth", "predictions", "categories")
    taken = {Path(path).resolve(): name for name in inputs if (path := getattr(options, name, None)) is not None}
    for name in ("counts", "output"):
        path = getattr(options, name, None)
        if path is not None and (other := taken.setdefault(path.resolve(), name)) != name:
            raise ValueError(f"--{name} {path} is the file of {other}, too, and would overwrite it: name another.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(required=True, metavar="{panoptic,semantic,boxes}")
    _add_panoptic(kinds.add_parser("panoptic", help="PQ, SQ and RQ of a panoptic JSON and its PNGs"))
    _add_semantic(kinds.add_parser("semantic", help="IoU and accuracy of a folder of label files"))
    _add_boxes(kinds.add_parser("boxes", help="AP and AR of a COCO result file, by boxes or masks"))
    return parser


def _add_panoptic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("truth", help="panoptic JSON with the ground truth")
    parser.add_argument("predictions", help="panoptic JSON with the predictions")
    parser.add_argument("--truth-folder", help="its PNGs (default: the path of the JSON without .json)")
    parser.add_argument("--predictions-folder", help="its PNGs (default: as above)")
    parser.add_argument("--counts", type=file_to_write, metavar="FILE", help="write IoU sum, tp, fp, fn of each class")
    _add_rules_and_workers(parser)
    _add_output(parser, _score_panoptic)


def _add_semantic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("truth", help="folder with the ground truth; every file of it is scored")
    parser.add_argument("predictions", help="folder with predictions under the same names")
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument("--categories", type=Path, metavar="JSON", help="file whose `categories` are the classes")
    classes.add_argument("--num-classes", type=at_least_one, metavar="K", help="number of classes without names")
    parser.add_argument(
        "--ignore-label",
        type=int,
        help="of pixels in the ground truth that do not count (default: 255); if it is one of the K labels, as 0 of "
        "ADE20K's raw files, the others are the classes, and predicting it is wrong wherever there is a class",
    )
    _add_rules_and_workers(parser)
    _add_output(parser, _score_semantic)


def _add_boxes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("truth", help="instances JSON with the ground truth")
    parser.add_argument("predictions", help="JSON list of detections")
    parser.add_argument("--iou-type", nargs="+", choices=("bbox", "segm"), default=("bbox",), help="default: bbox")
    parser.add_argument("--backend", default="pycocotools", help="tool that scores (default: %(default)s)")
    parser.add_argument("--max-dets", type=at_least_one, default=100, help="per image and class (default: %(default)s)")
    _add_output(parser, _score_boxes)


def _add_rules_and_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corrected", action="store_true", help="only the corrected numbers, not the official ones")
    parser.add_argument("--workers", type=at_least_one, default=1, help="processes (default: %(default)s)")


def _add_output(parser: argparse.ArgumentParser, score: Callable[[argparse.Namespace], Results]) -> None:
    parser.add_argument("--output", type=file_to_write, metavar="FILE", help="write all results there, as JSON")
    parser.set_defaults(score=score)


def _score_panoptic(options: argparse.Namespace) -> Results:
    from focalnet_d2.evaluation import panoptic_files, panoptic_stats  # not at the top: --help does without torch
    from focalnet_d2.evaluation.coco_files import write_json  # not at the top: --help does without torch

    classes, truth = panoptic_files.read_classes_and_files(options.truth, options.truth_folder)
    predictions = panoptic_files.index_predicted_files(options.predictions, options.predictions_folder)
    tally = panoptic_files.score_panoptic_files(
        truth, predictions, classes.contiguous, workers=options.workers, source=options.predictions
    )
    official = not options.corrected
    if options.counts is not None:
        counts = tally.counts(official=official)
        write_json(options.counts, {task: counted.to_dict(classes.names) for task, counted in counts.items()})
    return panoptic_stats.summarize(tally, classes, official=official)


def _score_semantic(options: argparse.Namespace) -> Results:
    from focalnet_d2.data.class_metadata import IGNORE_LABEL  # not at the top: --help does without torch
    from focalnet_d2.evaluation import confusion, semantic  # not at the top: --help does without torch

    if options.categories is None:
        names = [str(index) for index in range(options.num_classes)]
    else:
        names = _names_of(options.categories)
    classes_from = "--num-classes" if options.categories is None else f"--categories {options.categories}"
    ignored = IGNORE_LABEL if options.ignore_label is None else options.ignore_label
    is_no_class = options.ignore_label is not None and 0 <= ignored < len(names)
    if is_no_class:
        confusion.check_class_count(len(names) - 1, f"{classes_from} without --ignore-label {ignored}")
    else:
        confusion.check_classes(len(names), ignored, classes_from, "--ignore-label")
    counts = semantic.score_semantic_files(
        options.truth, options.predictions, len(names), ignore_label=ignored, workers=options.workers
    )
    if is_no_class:
        counts = confusion.without_label(counts, ignored)
        del names[ignored]
    return semantic.summarize(counts, names, official=not options.corrected)


def _names_of(path: Path) -> list[str]:
    """Names of the classes in the order of a file's `categories`; raises ValueError unless each has its own."""
    where = f"{path}: categories"
    (categories,) = entries_of(read_json(path), ("categories",), path, "COCO's formats")
    names = column(categories, "name", where)
    if strange := [name for name in names if not isinstance(name, str) or not name.strip()]:
        raise ValueError(f"{where} have the name {strange[0]!r}: write some text.")
    check_unique(names, where, "name")
    return names


def _score_boxes(options: argparse.Namespace) -> Results:
    from focalnet_d2.evaluation.average_precision import score_results_file  # not at the top: --help does without torch

    return score_results_file(
        options.truth, options.predictions, options.iou_type, backend=options.backend, max_dets=options.max_dets
    )


if __name__ == "__main__":
    sys.exit(main())
