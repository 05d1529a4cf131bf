"""How near two runs, two evaluations or two sets of gradients are to each other, and what differs most."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pycocotools.mask
import torch
from torch import Tensor

from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.config.nodes import leaves
from focalnet_d2.engine.metrics import METRICS, read_metrics
from focalnet_d2.evaluation.detection import SUBMISSION
from focalnet_d2.evaluation.report import RESULTS
from focalnet_d2.utils.text import plural, some_of

_SHOWN = 3
_OF_THE_RUN = ("recipe", "metadata")  # entries of a checkpoint that have its folder and its id
_COUNTS = "*_counts.json"


class Finding(NamedTuple):
    """What a comparison has shown, in a sentence or two without a full stop."""

    held: bool
    text: str


class Tolerance(NamedTuple):
    """How far two evaluations may be apart.

    Attributes:
        metric: of every number of `results.json`, in percent.
        score, box: of an object, the latter in pixels.
        overlap: least IoU of its masks, which then stand for its box.
        share: of the objects that may have no partner, and of what is counted (pixels, segments, images).
    """

    metric: float = 0.0
    score: float = 0.0
    box: float = 0.0
    overlap: float = 1.0
    share: float = 0.0


def compare_checkpoints(expected: Path, found: Path) -> Finding:
    """Whether weights, averages, optimizer, schedule, random states and counts are equal, bit for bit."""
    values = [_values(read_checkpoint(path)) for path in (expected, found)]
    names = list(values[0].keys() | values[1].keys())
    differing = {name: _apart(values[0].get(name), values[1].get(name)) for name in sorted(names)}
    differing = {name: how for name, how in differing.items() if how}
    if not differing:
        return Finding(True, f"all {len(names)} tensors and values are equal, bit for bit")
    shown = some_of((f"{name} {how}" for name, how in differing.items()), _SHOWN)
    return Finding(False, f"{len(differing)} of {len(names)} tensors and values differ: {shown}")


def _values(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors and plain values of a checkpoint by their names; those that the run itself has given it left out."""
    return dict(leaves({name: value for name, value in checkpoint.items() if name not in _OF_THE_RUN}))


def _apart(one: Any, other: Any) -> str:
    """How two values differ; nothing where they are equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor) and (one.dtype, one.shape) == (other.dtype, other.shape):
        same = torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
        return "" if same else f"(by up to {float((one.double() - other.double()).abs().max()):.2g})"
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return "(another shape, or missing)"
    return "" if one == other or repr(one) == repr(other) else f"({one}, {other})"  # NaN is not itself


def compare_evaluations(expected: Path, found: Path, tolerance: Tolerance) -> Finding:
    """The numbers of two evaluations, their objects and their counts, from the files in their folders."""
    parts = [_compare_metrics(expected, found, tolerance.metric)]
    if (expected / SUBMISSION).is_file():
        parts.append(_compare_objects(_read(expected / SUBMISSION), _read(found / SUBMISSION), tolerance))
    parts += [
        _compare_counts(path.name, _read(path), _read(found / path.name), tolerance.share)
        for path in sorted(expected.glob(_COUNTS))
    ]
    return joined(parts)


def joined(findings: Sequence[Finding]) -> Finding:
    """One finding of several: what does not hold, or all of it."""
    wrong = [one for one in findings if not one.held]
    return Finding(not wrong, "; ".join(one.text for one in wrong or findings if one.text))


def _compare_metrics(expected: Path, found: Path, tolerance: float) -> Finding:
    numbers = [dict(leaves(_read(folder / RESULTS))) for folder in (expected, found)]
    names = sorted(numbers[0].keys() | numbers[1].keys())
    apart = {name: _distance(*(one.get(name, math.nan) for one in numbers)) for name in names}
    worst = max(names, key=lambda name: apart[name])
    if not apart[worst]:
        return Finding(True, f"all {plural(len(names), 'metric')} equal")
    values = " and ".join(str(one.get(worst)) for one in numbers)
    text = f"of {plural(len(names), 'metric')} {worst} differs most, by {apart[worst]:.2g} ({values})"
    return Finding(apart[worst] <= tolerance, text)


def _distance(one: float | None, other: float | None) -> float:
    """Of two metrics; infinite where only one of them is defined."""
    if one is None and other is None:
        return 0.0
    apart = math.inf if one is None or other is None else abs(one - other)
    return math.inf if math.isnan(apart) else apart


def _compare_objects(expected: list[dict], found: list[dict], tolerance: Tolerance) -> Finding:
    """Every object needs a partner of its own: of its image and class, as sure and in the same place."""
    count = max(len(expected), len(found))
    if not count:
        return Finding(True, "no objects")
    places: dict[tuple, list[dict]] = {}
    for one in found:
        places.setdefault((one["image_id"], one["category_id"]), []).append(one)
    partners = 0
    for one in expected:
        candidates = places.get((one["image_id"], one["category_id"]), [])
        partner = next((index for index, other in enumerate(candidates) if _alike(one, other, tolerance)), None)
        if partner is not None:
            del candidates[partner]
            partners += 1
    alone = count - partners
    text = f"{alone} of {plural(count, 'object')} without a partner" if alone else f"{plural(count, 'object')} alike"
    return Finding(alone <= tolerance.share * count, text)


def _alike(one: dict, other: dict, tolerance: Tolerance) -> bool:
    if abs(one["score"] - other["score"]) > tolerance.score:
        return False
    if "segmentation" in one and "segmentation" in other:
        masks = [one["segmentation"], other["segmentation"]]
        if masks[0] == masks[1]:
            return True
        return float(np.max(pycocotools.mask.iou(masks[:1], masks[1:], [0]))) >= tolerance.overlap
    return max(abs(a - b) for a, b in zip(one["bbox"], other["bbox"], strict=True)) <= tolerance.box


def _compare_counts(name: str, expected: Any, found: Any, share: float) -> Finding:
    """Counts of an evaluator; the text is empty where they are within the tolerance."""
    numbers = [
        {key: value for key, value in leaves(one) if isinstance(value, int | float)} for one in (expected, found)
    ]
    apart = sum(abs(numbers[0].get(key, 0) - numbers[1].get(key, 0)) for key in numbers[0].keys() | numbers[1].keys())
    moved = apart / max(sum(map(abs, numbers[0].values())), 1)
    return Finding(moved <= share, f"{name} differs by {moved:.2g} of what it counts" if moved > share else "")


def compare_steps(expected: Path, found: Path, tolerance: float) -> Finding:
    """Losses and norms of the gradients of all steps of two runs, as shares of their size."""
    lines = [list(_losses(folder)) for folder in (expected, found)]
    if [name for name, _ in lines[0]] != [name for name, _ in lines[1]]:
        return Finding(False, "other losses, or another number of steps")
    pairs = [(name, one, other) for (name, one), (_, other) in zip(*lines, strict=True)]
    name, one, other = max(pairs, key=lambda pair: _share(pair[1], pair[2]))
    text = f"of {len(pairs)} losses and norms {name} differs most, by {_share(one, other):.1g} of its size"
    return Finding(_share(one, other) <= tolerance, text)


def _losses(folder: Path) -> Iterator[tuple[str, float]]:
    for line in read_metrics(folder / METRICS):
        for name, value in sorted(line.items()):
            if "loss" in name or name == "grad_norm":
                yield f"{name} of step {line['iteration'] + 1}", value


def _share(one: float, other: float) -> float:
    return _of_size(abs(one - other), max(abs(one), abs(other), 1e-3))


def _of_size(apart: float, size: float) -> float:
    """A distance as a share; infinite where one of the numbers is NaN or infinite, or where there is no size."""
    if not apart:
        return 0.0
    return apart / size if math.isfinite(apart) and 0 < size < math.inf else math.inf


def compare_gradients(expected: Path, found: Path, tolerance: float) -> Finding:
    """Tensors of two files by name, as shares of the largest value of each; what is tiny counts less."""
    one, other = (torch.load(path, weights_only=True) for path in (expected, found))
    if one.keys() != other.keys():
        return Finding(False, f"only one has gradients of {some_of(sorted(one.keys() ^ other.keys()), _SHOWN)}")
    sizes = {name: float(value.abs().max()) for name, value in one.items()}
    floor = 1e-3 * max(filter(math.isfinite, sizes.values()), default=0.0)
    apart = {
        name: _of_size(float((value - other[name]).abs().max()), max(sizes[name], floor)) for name, value in one.items()
    }
    worst = sorted(apart, key=lambda name: -apart[name])
    shown = some_of((f"{name} by {apart[name]:.1g}" for name in worst if apart[name] > tolerance), _SHOWN)
    if shown:
        return Finding(False, f"gradients differ, as shares of their size: {shown}")
    return Finding(
        True, f"of {len(apart)} gradients that of {worst[0]} differs most, by {apart[worst[0]]:.1g} of its size"
    )


def compare_samples(expected: Path, found: Path) -> Finding:
    """Digests of the samples of all steps."""
    one, other = (_read(path) for path in (expected, found))
    wrong = [number for number, (a, b) in enumerate(zip(one, other, strict=True), 1) if a != b]
    if wrong:
        return Finding(False, f"other images, or other augmentations of them, in step {some_of(wrong, _SHOWN)}")
    return Finding(True, f"the {sum(map(len, one))} images of {len(one)} steps are equal, bit for bit")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
