"""Videos in and out, through PyAV.

Frames come upright, in the colors that the file says, and with their time stamps, which need not be evenly spaced and
which are kept in what is written.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from focalnet_d2.utils.atomic_write import atomic_open

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})

_WHOLE, _LAST = 0.95, 1.0  # share of a video, less the seconds that a last frame may stay, that is no early end
_TICK = Fraction(1, 90_000)  # second; frame rates from 1 to 120 are whole numbers of it
_BT709 = 1  # number of the color space in the standard, and of its primaries and transfer function


class Frame(NamedTuple):
    """One frame of a video.

    Attributes:
        index: of the frame in the file, from 0.
        time: in seconds, as the file says.
        pixels: (H, W, 3) uint8 RGB, upright.
    """

    index: int
    time: float
    pixels: np.ndarray


def is_video(path: str | os.PathLike) -> bool:
    """Whether a file is a video by its name."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_video(path: str | os.PathLike, every: int = 1) -> Iterator[Frame]:
    """The frames of a video, one after another.

    Args:
        every: 2 gives every second frame, and so on; the first one always comes.

    Raises:
        ImportError: PyAV is missing.
        FileNotFoundError: there is no such file.
        ValueError: `every` is not at least 1, or the file is no video, holds no frame or is damaged.
    """
    if every < 1:
        raise ValueError(f"every={every} must be at least 1: it counts frames.")
    count, end = 0, 0.0
    with _open_stream(Path(path)) as stream:
        stream.thread_type = "AUTO"  # frames are decoded on several cores
        rate = _rate(stream)
        for count, frame in enumerate(stream.container.decode(stream), 1):
            time = float((count - 1) / rate) if frame.time is None else frame.time
            end = max(end, time + float(1 / rate))
            if (count - 1) % every == 0:
                yield Frame(count - 1, time, _upright(frame))
        if not count:
            raise ValueError(f"{path} is a video without a frame.")
        _warn_of_early_end(Path(path), stream, end)


def count_frames(path: str | os.PathLike) -> int | None:
    """The number of frames that a video says it has; None where it does not say.

    Raises:
        ImportError, FileNotFoundError, ValueError: see `read_video`.
    """
    with _open_stream(Path(path)) as stream:
        return stream.frames or None


def frame_rate(path: str | os.PathLike) -> float:
    """Frames a second of a video.

    Raises:
        ImportError, FileNotFoundError, ValueError: see `read_video`.
    """
    with _open_stream(Path(path)) as stream:
        return float(_rate(stream))


def _warn_of_early_end(path: Path, stream: Any, end: float) -> None:
    """Say so where a video ends, at `end` seconds, well before its head says: it is cut off, or damaged from there."""
    wanted = stream.duration and float(stream.duration * stream.time_base)
    if wanted is None and len(stream.container.streams) == 1 and stream.container.duration:
        wanted = stream.container.duration / 1_000_000  # microseconds
    start = float((stream.start_time or 0) * stream.time_base)
    if wanted and end - start < _WHOLE * wanted - _LAST:
        logger.warning("%s ends after %.1f s of %.1f s: it is cut off, or damaged there.", path, end - start, wanted)


@contextmanager
def _open_stream(path: Path) -> Iterator[Any]:
    """The first stream of pictures of a file."""
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise FileNotFoundError(f"There is no video {path}.")
    with _errors_name(path), _import_av().open(str(path)) as container:
        if not container.streams.video:
            kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise ValueError(f"{path} holds no video, only {kinds}.")
        yield container.streams.video[0]


def _rate(stream: Any) -> Fraction:
    return stream.average_rate or stream.guessed_rate or Fraction(25)


class VideoWriter:
    """Writes H.264 video into an open file; use `open_video`."""

    def __init__(self, container: Any):
        self._container = container
        self._stream: Any = None
        self._last_tick = -1

    def write(self, pixels: np.ndarray, time: float) -> None:
        """Add a frame.

        Args:
            pixels: (H, W, 3) uint8 RGB, all frames of one size; an odd side is lengthened by a copy of its last line.
            time: of the frame in seconds; times must grow.

        Raises:
            ValueError: the size or the time does not fit the frames before.
        """
        av = _import_av()
        frame = av.VideoFrame.from_ndarray(_even(pixels), format="rgb24")
        if self._stream is None:
            self._stream = self._add_stream(frame.width, frame.height)
        if (frame.width, frame.height) != (self._stream.width, self._stream.height):
            raise ValueError(
                f"A frame of {pixels.shape[1]}x{pixels.shape[0]} pixels comes after frames of another size."
            )
        frame = frame.reformat(format="yuv420p", dst_colorspace=av.video.reformatter.Colorspace.ITU709)
        tick = round(time / _TICK)
        if tick <= self._last_tick:
            raise ValueError(
                f"A frame at {time} s comes after one at {float(self._last_tick * _TICK)} s: times must grow."
            )
        frame.pts, frame.time_base, self._last_tick = tick, _TICK, tick
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _add_stream(self, width: int, height: int) -> Any:
        stream = self._container.add_stream("libx264", rate=1 / _TICK, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = _TICK
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        return stream


@contextmanager
def open_video(path: str | os.PathLike) -> Iterator[VideoWriter]:
    """A writer of an MP4 file that appears complete or not at all.

    Raises:
        ImportError: PyAV is missing.
        OSError: the file cannot be written.
    """
    with atomic_open(path) as file, _import_av().open(file, "w", format="mp4") as container:
        writer = VideoWriter(container)
        yield writer
        writer.finish()


def _upright(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a decoded frame, turned as its file asks."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _even(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) with even sides, which 4:2:0 video has."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Errors of FFmpeg become one line that names the file."""
    av = _import_av()
    try:
        yield
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is no video that can be read to its end: {error.strerror}.") from error


def _import_av() -> Any:
    try:
        import av  # optional: the extra predict
    except ImportError as error:
        raise ImportError("Videos need PyAV: pip install 'focalnet-d2[predict]'") from error
    return av
