"""`focalnet-d2 explain`: shows why an image is predicted as it is.

    focalnet-d2 explain output/mine/model_best.pth street.jpg --out explanation
    focalnet-d2 explain model.safetensors street.jpg --recipe mask2former_focalnet_tiny_lrf_coco_panoptic

The table says of each query what it became, or why it became nothing: its score, the pixels of its mask that it owns,
and the query that owns most of the others. Beside it, as CSV and JSON, pictures of FocalNet's gates and modulator are
written for each stage: what lets near and far surroundings through, and where their sum is strong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from focalnet_d2.utils.text import plural

from .errors import run_command

if TYPE_CHECKING:  # --help does without torch
    from focalnet_d2.inference.explaining import Explanation

_PRINTED = 40  # rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), _explain, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 explain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file of a run; any other with --recipe")
    parser.add_argument("image", metavar="IMAGE", help="image file")
    parser.add_argument("--out", type=Path, default=Path("explanation"), metavar="DIR", help="(default: explanation)")
    parser.add_argument("--recipe", help="name or path, for a file that holds no recipe")
    parser.add_argument("--threshold", type=float, help="lowest score of an object (default: the checkpoint's, or 0.5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--trust", action="store_true", help="the recipe may build anything, as a program may")
    return parser


def _explain(options: argparse.Namespace) -> None:
    from focalnet_d2.inference.explaining import explain  # not at the top: --help does without torch
    from focalnet_d2.inference.explaining_files import save_explanation  # not at the top: --help does without torch
    from focalnet_d2.inference.image_files import check_results_folder, file_path  # not at the top: as above
    from focalnet_d2.inference.predictor import Predictor  # not at the top: --help does without torch

    image = file_path(options.image)
    check_results_folder(options.out)
    predictor = Predictor(
        options.checkpoint, options.recipe, device=options.device, threshold=options.threshold, trust=options.trust
    )
    found = explain(predictor, image)
    written = save_explanation(found, options.out, image.name)
    if found.rows:
        print(table(found))
    if not found.stages:
        print("The backbone is no FocalNet, or sees the image in windows: there are no pictures of gates.")
    print(f"{plural(len(written), 'file')} of {options.image} are in {options.out}")


def table(found: "Explanation") -> str:
    """The queries that became something, then those that came nearest to it; the rest is counted."""
    from focalnet_d2.inference.explaining_files import COLUMNS, as_row  # not at the top: --help does without torch

    rows = sorted(found.rows, key=lambda row: (row.segment == 0, row.segment or -row.score, row.query))
    shown = [row for row in rows if row.outcome not in ("no object", "not selected")][:_PRINTED]
    cells = [_cells(as_row(row, found.prediction.classes.names)) for row in shown]
    columns = [name for name in COLUMNS if any(row[name] for row in cells)]
    lines = [[row[name] for name in columns] for row in cells]
    text = tabulate(lines, columns, disable_numparse=True) if lines else "No query came near to be anything."
    rest = len(rows) - len(shown)
    return text + (f"\nand {plural(rest, 'more row')}, which the CSV has" if rest else "")


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """The values as text; empty where there is nothing to say."""
    values = {**row, "segment": row["segment"] or None, "lost": row["lost"] or None}
    return {
        name: "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


if __name__ == "__main__":
    sys.exit(main())
