"""What a predictor and an exported model are asked for alike; no torch."""

from typing import Any

from focalnet_d2.data.image_sources import check_channel_order


def check_threshold(threshold: Any) -> None:
    """Raises ValueError unless it is None or a number from 0 to 1."""
    if threshold is not None and not (_is_number(threshold) and 0 <= threshold <= 1):
        raise ValueError(f"threshold={threshold} must be from 0 to 1.")


def check_options(threshold: Any, batch_size: Any, channel_order: str) -> None:
    """Raises ValueError, which names it, for a value that cannot be meant; see `Predictor`."""
    check_threshold(threshold)
    if not (_is_number(batch_size) and float(batch_size).is_integer() and batch_size >= 1):
        raise ValueError(f"batch_size={batch_size} must be a whole number from 1 on.")
    check_channel_order(channel_order)


def _is_number(value: Any) -> bool:
    try:
        return float(value) == value  # NaN is not itself
    except (TypeError, ValueError):
        return False
