"""Options of a predictor and an exported model: numbers in their range, or one sentence."""

import numpy as np
import pytest

from focalnet_d2.inference.options import check_options, check_threshold


@pytest.mark.parametrize("threshold", [None, 0, 1, 0.5, True, np.float32(0.25)])
def test_thresholds_are_shares(threshold):
    check_threshold(threshold)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf"), "a", [0.5], np.array([0.1, 0.2])])
def test_other_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold=.* must be from 0 to 1"):
        check_threshold(threshold)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "a", None, float("nan"), float("inf")])
def test_batches_count_images(batch_size):
    with pytest.raises(ValueError, match=r"batch_size=.* must be a whole number from 1 on"):
        check_options(None, batch_size, "RGB")


def test_orders_of_colors_are_known():
    check_options(0.3, 8, "BGR")
    with pytest.raises(ValueError, match="channel_order='GBR' must be one of RGB, BGR"):
        check_options(None, 1, "GBR")
