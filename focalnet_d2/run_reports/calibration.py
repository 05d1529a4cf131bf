"""How sure predictions are, and how often they are right."""

import numpy as np

from focalnet_d2.reports.charts import bar_chart
from focalnet_d2.reports.line_chart import PALETTE, Line, line_chart
from focalnet_d2.reports.page import figure


def calibration_figures(bins: np.ndarray, *, what: str, score: str) -> str:
    """The share that is right over the score, with the expected calibration error, and how many have each score.

    Args:
        bins: (B, 3) mean score, share that is right and number, by equal parts of the scores from 0 to 1.
        what: the predictions; score: what they have.
    """
    filled = bins[bins[:, 2] > 0]
    means, shares, numbers = filled.T
    error = float((np.abs(means - shares) * numbers).sum() / max(1.0, numbers.sum()))
    line = Line("share that is right", filled[:, :2].tolist(), PALETTE[0])
    chart = line_chart(
        [line], x_title=f"mean {score}", y_title="share right", x_range=(0, 1), y_range=(0, 1), diagonal=True
    )
    labels = [f"{place / len(bins):.1f}" for place in range(len(bins))]
    series = {what: bins[:, 2].astype(int).tolist()}
    return figure("Reliability", chart, f"Expected calibration error {error:.3f}") + figure(
        f"{what.capitalize()} by {score}", bar_chart(labels, series, x_title=f"{score} from", y_title=what)
    )
