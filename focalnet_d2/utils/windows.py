"""Where the windows lie that an image is looked at through."""

import math


def window_spans(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """First and last + 1 of each window along a side of an image; the last ones are moved back to end with the side.

    Args:
        length: of the side, pixels.
        window: length of a window; 0, or one that the side does not fill: the whole side.
        stride: pixels from one window to the next.
    """
    if not window or length <= window:
        return [(0, length)]
    steps = math.ceil((length - window) / stride)
    starts = [min(step * stride, length - window) for step in range(steps + 1)]
    return [(start, start + window) for start in starts]
