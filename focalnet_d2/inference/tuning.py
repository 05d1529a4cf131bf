"""Thresholds of a trained model, tuned on one part of annotated images and reported on the other.

The network sees every image once. What is tuned are the two panoptic thresholds of Mask2Former and, of all models with
boxes or masks, the lowest score of each class. The values that a checkpoint has are among the candidates and win ties.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from focalnet_d2.config.data_group import is_of_data
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.precision import predict_in
from focalnet_d2.evaluation.coco_backends import ClassMatches
from focalnet_d2.evaluation.detection import DetectionEvaluator
from focalnet_d2.evaluation.panoptic import PanopticEvaluator

from .thresholds import DEFAULT
from .trained import Trained, load_trained
from .tuning_data import PARTS, TuningData, read_tuning_data
from .tuning_panoptic import PanopticTally, PanopticThresholds, has_panoptic, sweeping, thresholds_of
from .tuning_scores import best_score, f1_at


class Comparison(NamedTuple):
    """A number, in percent, with the thresholds before and with the tuned ones."""

    before: float
    after: float


@dataclass(frozen=True)
class PanopticTuning:
    """Panoptic thresholds before and after, and their PQ on each of `PARTS`."""

    before: PanopticThresholds
    after: PanopticThresholds
    quality: dict[str, Comparison]


@dataclass(frozen=True)
class ClassTuning:
    """The lowest score of a class before and after, how many objects each of `PARTS` has, and the F1 there."""

    name: str
    before: float
    after: float
    objects: dict[str, int]
    f1: dict[str, Comparison]


@dataclass(frozen=True)
class Tuning:
    """What was found.

    Attributes:
        images: how many there are, of each of `PARTS`.
        panoptic: None of models without panoptic thresholds.
        classes: in the order of the checkpoint's; empty for models without boxes.
        shape: what F1 compares, "bbox" or "segm".
    """

    images: dict[str, int]
    panoptic: PanopticTuning | None = None
    classes: tuple[ClassTuning, ...] = ()
    shape: str = ""

    def mean_f1(self, part: str) -> Comparison:
        """Mean over the classes that have objects in a part; nan where none has."""
        values = np.array([one.f1[part] for one in self.classes if one.objects[part]]).reshape(-1, 2)
        return Comparison(*(values.mean(0).tolist() if len(values) else (np.nan, np.nan)))


def tune(
    checkpoint: str | os.PathLike,
    data: str | os.PathLike,
    recipe: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    holdout: float = 0.5,
    seed: int = 0,
    device: str = "auto",
    trust: bool = False,
) -> Tuning:
    """Find the thresholds of a checkpoint; nothing is written.

    Args:
        checkpoint, recipe, device, trust: see `Predictor`.
        data: a folder, of which the validation part is taken, or the name of a registered data set.
        overrides: `key=value` settings of the recipe, those of the group `data` among them.
        holdout: share of the images that the result is reported on and not tuned on.
        seed: of the split.

    Raises:
        FileNotFoundError, ValueError: the checkpoint or the data cannot be used, or the model has no thresholds.
    """
    path, overrides = os.fspath(checkpoint), list(overrides)
    target = resolve_device(device)
    trained = load_trained(path, recipe, overrides=[one for one in overrides if not is_of_data(one)], trust=trust)
    model = predict_in(trained.model.to(target).eval(), trained.recipe.train.amp)
    tasks: Sequence[str] = getattr(model, "tasks", ())
    if not has_panoptic(model) and not {"bbox", "segm"}.intersection(tasks):
        raise ValueError(f"The model of {path} predicts {', '.join(tasks)}, for which there is no threshold to tune.")
    with TemporaryDirectory() as folder:
        trained.recipe.train.output_dir = folder  # where evaluators keep what they make
        found = read_tuning_data(
            trained.recipe, data, trained.classes, checkpoint=path, settings=filter(is_of_data, overrides),
            holdout=holdout, seed=seed, trust=trust,
        )  # fmt: skip
        return _Tuner(trained, model, found, path).run()


class _Tuner:
    """One pass of the network, and what is made of its outputs."""

    def __init__(self, trained: Trained, model: nn.Module, data: TuningData, path: str):
        self.trained, self.model, self.data = trained, model, data
        by_class = {type(one): one for one in data.evaluators}
        self.detection: Any = by_class.get(DetectionEvaluator)
        self.panoptic: Any = by_class.get(PanopticEvaluator) if has_panoptic(model) else None
        if self.detection is None and self.panoptic is None:
            raise ValueError(f"The recipe of {path} scores neither objects nor panoptic maps, which tuning needs.")
        self.tallies = {}
        if self.panoptic is not None:
            default = thresholds_of(model)
            self.tallies = {part: PanopticTally(default, data.class_of, data.classes) for part in PARTS}

    def run(self) -> Tuning:
        tally = self.tallies.get(PARTS[0])
        with torch.no_grad(), nullcontext() if tally is None else sweeping(self.model, tally.objects):
            for batch in self.data.loader:
                for sample, output in zip(batch, self.model(batch), strict=True):
                    self._add(sample, output)
        parts = list(self.data.part_of.values())
        images = {part: parts.count(part) for part in PARTS}
        return Tuning(images, self._panoptic_tuning(), self._class_tunings(), self._shape())

    def _add(self, sample: dict[str, Any], output: dict[str, Any]) -> None:
        if self.panoptic is not None:
            where = f"the prediction for image {sample['image_id']}"
            tally = self.tallies[self.data.part_of[sample["image_id"]]]
            tally.add(output["panoptic_seg"], self.panoptic.read_truth(sample), where)
        if self.detection is not None:
            instances = output["instances"]
            class_of = torch.tensor(list(self.data.class_of.values()), device=instances.pred_classes.device)
            instances.pred_classes = class_of[instances.pred_classes.long()]
            self.detection.process([sample], [{"instances": instances}])

    def _panoptic_tuning(self) -> PanopticTuning | None:
        if self.panoptic is None:
            return None
        before, after = self.tallies[PARTS[0]].default, self.tallies[PARTS[0]].best()
        quality = {
            part: Comparison(tally.quality(before)["PQ"], tally.quality(after)["PQ"])
            for part, tally in self.tallies.items()
        }
        return PanopticTuning(before, after, quality)

    def _shape(self) -> str:
        return "" if self.detection is None else max(self.detection.tasks)  # "segm" where masks are scored, too

    def _class_tunings(self) -> tuple[ClassTuning, ...]:
        if self.detection is None:
            return ()
        ids = {part: {key for key, own in self.data.part_of.items() if own == part} for part in PARTS}
        matches = {part: self.detection.class_matches(self._shape(), ids[part]) for part in PARTS}
        kept = self.trained.score_thresholds or (DEFAULT,) * len(self.trained.classes)
        return tuple(
            _class_tuning(name, kept[index], {part: matches[part][self.data.class_of[index]] for part in PARTS})
            for index, name in enumerate(self.trained.classes.names)
            if self.data.class_of[index] in matches[PARTS[0]]  # things alone, of a panoptic data set
        )


def _class_tuning(name: str, before: float, matches: dict[str, ClassMatches]) -> ClassTuning:
    after = best_score(matches[PARTS[0]], before).threshold
    f1 = {part: Comparison(100 * f1_at(one, before), 100 * f1_at(one, after)) for part, one in matches.items()}
    return ClassTuning(name, before, after, {part: one.objects for part, one in matches.items()}, f1)
