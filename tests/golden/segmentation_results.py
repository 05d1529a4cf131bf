"""Results of an image against what the official code returned for it."""

from typing import Any

import numpy as np
import torch

from tests.golden.cases import assert_within, relative_error

TASKS = {"all": "semantic panoptic instance", "inst_only": "instance", "sem_only": "semantic"}  # by the tag of a result


def assert_results_equal(
    result: dict[str, Any], found: dict[str, np.ndarray], place: str, about: dict, tolerance: float, exact: bool
) -> None:
    """Compares what is stored below `place` ("all0", ...): scores within the tolerance, maps and masks equal.

    Args:
        about: the entry of `results` in `cases.json`, with the panoptic segments and the number of instances.
        exact: also pixels that are stored as ambiguous must be equal.
    """
    if "sem_seg" in result:
        scores = result["sem_seg"]
        assert_within(relative_error, {"sem_seg": (scores[:, ::4, ::4], found[f"{place}/sem_seg_every4"])}, tolerance)
        best = scores.argmax(0).cpu().numpy()
        assert (best != found[f"{place}/sem_seg_argmax"]).mean() <= (0 if exact else 1e-3)
    if "panoptic_seg" in result:
        assert_panoptic_equal(*result["panoptic_seg"], found, place, about["segments_info"], exact)
    if "instances" in result:
        assert_instances_equal(result["instances"], found, place, about["instances"], tolerance, exact)


def assert_panoptic_equal(ids, segments: list[dict], found: dict, place: str, golden: list[dict], exact: bool) -> None:
    assert [{key: one[key] for key in one if key != "score"} for one in segments] == golden  # ours alone has scores
    different = ids.cpu().numpy() != found[f"{place}/panoptic_seg"]
    if not exact:
        ambiguous = np.unpackbits(found[f"{place}/panoptic_ambiguous_packed"])[: different.size]
        assert ambiguous.mean() <= 1e-3
        different &= ~ambiguous.astype(bool).reshape(different.shape)
    assert not different.any()


def assert_instances_equal(instances, found: dict, place: str, count: int, tolerance: float, exact: bool) -> None:
    """Instances with an empty mask have score 0 and are left out; the rest is compared in the stored order."""
    scores, classes = instances.scores.cpu().double(), instances.pred_classes.cpu()
    order = np.lexsort((classes.numpy(), -scores.numpy()))
    golden = found[f"{place}/inst_scores"]
    alive = golden > 0
    assert len(instances) == len(golden) == count
    assert_within(relative_error, {"scores": (scores[order], golden)}, tolerance)
    np.testing.assert_array_equal(classes[order][alive], found[f"{place}/inst_classes"][alive])
    masks = instances.pred_masks.cpu()[torch.as_tensor(order)].flatten(1).numpy()
    bits = np.unpackbits(found[f"{place}/inst_masks_packed"], axis=1)[:, : masks.shape[1]].astype(bool)
    assert (masks != bits)[alive].mean() <= (0 if exact else 1e-3)
    if exact:
        np.testing.assert_array_equal(masks.sum(1)[alive], found[f"{place}/inst_mask_areas"][alive])
