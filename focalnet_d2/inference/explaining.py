"""Why an image is predicted as it is: what became of every query, and what the backbone looked at.

The rows come from the code that makes the result: a panoptic map says itself what it decided
(`mask2former/panoptic_trace.py`), and objects say of which query they are.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances
from PIL import Image
from torch import Tensor, nn

from focalnet_d2.structures.query_outcomes import QueryOutcome

from .explaining_network import StageMaps, watched_network
from .prediction import Prediction, kept_objects
from .predictor import Predictor

_LONGEST_SIDE, _SHORTEST_SIDE = 800, 320  # of the pictures of gates, pixels


@dataclass(frozen=True)
class Explanation:
    """Why one image is predicted as it is.

    Attributes:
        prediction: as `Predictor` gives it.
        rows: what became of the queries, in their order; of a model without queries, of its detections.
        stages: of the backbone; none where it sees the image in windows, or is no FocalNet.
        picture: (h, w, 3) uint8, the image at the size of the maps of the stages.
    """

    prediction: Prediction
    rows: tuple[QueryOutcome, ...]
    stages: tuple[StageMaps, ...]
    picture: np.ndarray


@dataclass
class _Run:
    """What a call of a model was given and what it made of it."""

    images: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


def explain(predictor: Predictor, image: str | os.PathLike) -> Explanation:
    """Predict an image file and watch.

    Raises:
        FileNotFoundError, ValueError: the image cannot be read; the message names it.
    """
    model: Any = predictor.model
    with ExitStack() as stack:
        run = stack.enter_context(_watched_model(model))
        network = stack.enter_context(watched_network(model))
        traced = stack.enter_context(_traced_panoptic(model))
        prediction = next(predictor.stream([Path(image)]))
    if traced is not None:
        rows = traced.images[0].outcomes()
    elif "instances" in run.results[0]:
        rows = detection_rows(run.results[0]["instances"], run.outputs[0], predictor.threshold, model.num_classes)
    else:
        rows = []
    picture = _picture(prediction.image)
    is_whole = network.calls == 1
    size = (picture.shape[0], picture.shape[1])
    stages = network.stages(run.images[0].sizes.images[0], size) if is_whole else []
    return Explanation(prediction, tuple(rows), tuple(stages), picture)


def detection_rows(instances: Instances, outputs: Any, threshold: Any, num_classes: int) -> list[QueryOutcome]:
    """What became of the queries of a model whose result are objects.

    Args:
        instances: the result before the threshold of scores.
        outputs: of the model; its `pred_logits` say the class of queries that are not in the result.
        threshold: see `read_result`.

    Returns:
        A row for each object that stays, and one for each query of which none does.
    """
    place_of = {index: place for place, index in enumerate(kept_objects(instances, threshold).tolist(), 1)}
    scores, classes = instances.scores.float().tolist(), instances.pred_classes.tolist()
    queries = instances.query_indices.tolist() if instances.has("query_indices") else range(len(scores))
    own: dict[int, list[int]] = {}
    for index, query in enumerate(queries):
        own.setdefault(query, []).append(index)
    rows = []
    for query, best in _candidates(own, outputs, num_classes):
        found = sorted(own.get(query, []), key=lambda index: -scores[index])
        kept = [index for index in found if index in place_of]
        rows += [QueryOutcome(query, classes[i], scores[i], "detection", place_of[i]) for i in kept]
        if not kept and found:
            rows.append(QueryOutcome(query, classes[found[0]], scores[found[0]], "low score"))
        elif not kept:
            rows.append(best)
    return rows


def _candidates(own: dict[int, list[int]], outputs: Any, num_classes: int) -> Iterator[tuple[int, QueryOutcome]]:
    """Every query, and its row where nothing of it is in the result."""
    logits: Tensor | None = outputs.get("pred_logits") if isinstance(outputs, dict) else None
    if logits is None or logits.ndim != 3:
        yield from ((query, QueryOutcome(query, None, 0.0, "not selected")) for query in own)
        return
    has_no_object = logits.shape[-1] == num_classes + 1  # it is the last class, and classes exclude each other
    probs = logits[0].float().softmax(-1) if has_no_object else logits[0].float().sigmoid()  # (Q, K) or (Q, K + 1)
    for query, (score, label) in enumerate(zip(*(values.tolist() for values in probs.max(-1)), strict=True)):
        is_object = label < num_classes
        outcome = "not selected" if is_object else "no object"
        yield query, QueryOutcome(query, label if is_object else None, score, outcome)


@contextmanager
def _watched_model(model: Any) -> Iterator[_Run]:
    """Inside, notes what goes through `infer` and `postprocess` of an `ImageModel`."""
    run, infer, postprocess = _Run(), model.infer, model.postprocess

    def noting_infer(images: Any) -> Any:
        run.images.append(images)
        run.outputs.append(infer(images))
        return run.outputs[-1]

    def noting_postprocess(outputs: Any, sizes: Any) -> Any:
        results = postprocess(outputs, sizes)
        run.results += results
        return results

    model.infer, model.postprocess = noting_infer, noting_postprocess
    try:
        yield run
    finally:
        del model.infer, model.postprocess  # the methods of the class are there again


@contextmanager
def _traced_panoptic(model: nn.Module) -> Iterator[Any]:
    """Inside, a model with a panoptic map keeps what it decides; None where it has none."""
    inference: Any = getattr(model, "inference", None)
    own: Any = getattr(inference, "panoptic", None)
    if not hasattr(own, "traced"):
        yield None
        return
    inference.panoptic = own.traced()
    try:
        yield inference.panoptic
    finally:
        inference.panoptic = own


def _picture(image: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) at a size that shows well: small ones are enlarged, large ones made smaller."""
    height, width = image.shape[:2]
    scale = max(min(1.0, _LONGEST_SIDE / max(height, width)), _SHORTEST_SIDE / min(height, width))
    scale = min(scale, 2 * _LONGEST_SIDE / max(height, width))  # of very long ones
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
