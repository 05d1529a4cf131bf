"""The files of an explanation: a table of the queries as CSV and JSON, and pictures of the backbone's gates."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.reports.gate_pictures import gate_sheet, heat_picture
from focalnet_d2.structures.query_outcomes import QueryOutcome
from focalnet_d2.utils.atomic_write import atomic_open, write_atomically

from .explaining import Explanation
from .explaining_network import StageMaps
from .prediction_files import save_picture

COLUMNS: tuple[str, ...] = (
    "query",
    "class",
    "score",
    "outcome",
    "segment",
    "area",
    "owned",
    "inside",
    "share",
    "rival",
    "lost",
)


def save_explanation(explanation: Explanation, folder: Path, name: str) -> list[Path]:
    """Write the files of one image, each complete or not at all; returns their paths.

    `NAME.queries.csv` and `NAME.queries.json` have the table, `NAME.picture.png` the prediction, `NAME.gates.res2.png`
    gates and modulator of a stage side by side, and `NAME.gates.res2.3x3.png` one of them alone.
    """
    start = folder / name
    written = save_picture(explanation.prediction, start)
    table = [as_row(one, explanation.prediction.classes.names) for one in explanation.rows]
    stages = [summary(stage) for stage in explanation.stages]
    document = {"image": str(explanation.prediction.path), "queries": table, "stages": stages}
    for ending, text in (("csv", _csv(table)), ("json", json.dumps(document, indent=1) + "\n")):
        written.append(start.with_name(f"{name}.queries.{ending}"))
        write_atomically(written[-1], text)
    for stage in explanation.stages:
        maps = stage_maps(stage)
        pictures = {f"{name}.gates.{stage.name}.png": gate_sheet(_title(stage), explanation.picture, maps)}
        for level, values in zip((*stage.levels, "modulator"), maps.values(), strict=True):
            pictures[f"{name}.gates.{stage.name}.{level}.png"] = heat_picture(explanation.picture, values)
        for file, picture in pictures.items():
            written.append(start.with_name(file))
            with atomic_open(written[-1], sync=False) as target:
                Image.fromarray(picture).save(target, "PNG")
    return written


def as_row(outcome: QueryOutcome, names: list[str]) -> dict[str, Any]:
    """The values of `COLUMNS`; a class by its name."""
    values = outcome._asdict()
    label = values.pop("class_id")
    return {"query": values.pop("query"), "class": "" if label is None else names[label], **values}


def stage_maps(stage: StageMaps) -> dict[str, np.ndarray]:
    """(h, w) of each gate and of the modulator, by their titles."""
    titles = [f"gate {level}" for level in stage.levels]
    return {**dict(zip(titles, stage.gates, strict=True)), "modulator": stage.modulator}


def _title(stage: StageMaps) -> str:
    return f"{stage.name}: the last layer's gates, by what each lets through, and the L2 norm of its modulator"


def summary(stage: StageMaps) -> dict[str, Any]:
    """The lowest, mean and highest value of each map."""
    return {
        "name": stage.name,
        "maps": {
            title: {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
            for title, values in stage_maps(stage).items()
        },
    }


def _csv(table: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()
