"""What the images of a data set hold beside 8-bit colors, as training counts it."""

from collections.abc import Iterable, Iterator

from ..annotations.faults import Fault
from ..channel_statistics import channel_statistics, chosen_channels
from ..folders.stored_texts import StoredTexts
from .tasks import LabelTask


def channel_faults(root: str, tasks: Iterable[LabelTask], channels: int | tuple[int, ...] | None) -> Iterator[Fault]:
    """A note with number, type, ranges, means and standard deviations of the channels.

    An error where the images have different channels, or others than a run is to learn from.

    Args:
        root: folder of the data.
        tasks: the images to learn from.
        channels: as `data.channels` says; None where it is not set, and some images are no 8-bit colors.
    """
    files = StoredTexts(task.image_file for task in tasks)
    try:
        statistics = channel_statistics(files)
        chosen_channels(len(statistics.mean) if channels is None else channels, statistics, root)
    except (OSError, ValueError) as error:
        if channels is not None:  # else each such image has a fault
            yield Fault("different-channels", "error", root, str(error))
        return
    count = len(statistics.mean)
    advice = "" if channels is not None else (
        f" Train on them with data.channels={count}, or on some by their numbers from 0, as with data.channels=[0], "
        f"and check them with --channels {count}."
    )  # fmt: skip
    message = f"The images of {root} have {statistics} ({statistics.images} of {len(files)} were read).{advice}"
    yield Fault("channels", "note", root, message)
