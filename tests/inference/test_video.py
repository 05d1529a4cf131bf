"""Videos in and out: pixels, turning, time stamps, odd sizes, and files that are none."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from focalnet_d2.inference.video import count_frames, is_video, open_video, read_video

TIMES = (0.0, 0.04, 0.1, 0.5)  # not evenly spaced
COLORS = ((200, 40, 60), (20, 180, 90), (30, 60, 220), (240, 240, 240))


def write_video(path: Path, size=(64, 96)) -> Path:
    """Frames of one color each, with a white left upper quarter."""
    with open_video(path) as writer:
        for time, color in zip(TIMES, COLORS):
            pixels = np.full((*size, 3), color, np.uint8)
            pixels[: size[0] // 2, : size[1] // 2] = 255
            writer.write(pixels, time)
    return path


def write_frames(path: Path, *frames: tuple[tuple[int, int], float]) -> None:
    """Black frames of these sizes at these times."""
    with open_video(path) as writer:
        for size, time in frames:
            writer.write(np.zeros((*size, 3), np.uint8), time)


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Ask players to turn a video, in the matrix of its track (ISO/IEC 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # behind version, times, ids, layer, group and volume
    values = [entry << 16 for entry in (matrix[0], matrix[1], 0, matrix[2], matrix[3], 0, 0, 0)]
    content[start : start + 32] = struct.pack(">8i", *values)
    path.write_bytes(content)


def test_frames_come_back_with_their_colors_and_times(tmp_path: Path):
    frames = list(read_video(write_video(tmp_path / "a.mp4")))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time for frame in frames] == pytest.approx(TIMES, abs=1e-4)
    for frame, color in zip(frames, COLORS):
        assert frame.pixels.shape == (64, 96, 3)
        assert frame.pixels.dtype == np.uint8
        assert np.abs(frame.pixels[48, 72].astype(int) - color).max() <= 8
        assert frame.pixels[8, 8].min() >= 247


def test_every_third_frame(tmp_path: Path):
    assert [frame.index for frame in read_video(write_video(tmp_path / "a.mp4"), every=3)] == [0, 3]


def test_a_video_says_how_many_frames_it_has(tmp_path: Path):
    assert count_frames(write_video(tmp_path / "a.mp4")) == 4


def test_an_odd_side_is_lengthened(tmp_path: Path):
    assert next(read_video(write_video(tmp_path / "a.mp4", size=(63, 95)))).pixels.shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [((0, 1, -1, 0), (0, -1)), ((0, -1, 1, 0), (-1, 0)), ((-1, 0, 0, -1), (-1, -1))],
    ids=["clockwise", "counterclockwise", "upside down"],
)
def test_frames_are_turned_as_the_file_asks(tmp_path: Path, matrix, corner):
    path = write_video(tmp_path / "a.mp4")
    turn(path, matrix)
    pixels = next(read_video(path)).pixels
    assert pixels.shape[:2] == ((96, 64) if matrix[0] == 0 else (64, 96))
    corners = {
        (y, x): int(pixels[y * 8 + (-1 if y else 4), x * 8 + (-1 if x else 4)].min()) for y in (0, -1) for x in (0, -1)
    }
    assert [place for place, value in corners.items() if value > 240] == [corner]


def test_a_text_file_is_no_video(tmp_path: Path):
    path = tmp_path / "notes.mp4"
    path.write_text("no frames here " * 100)
    with pytest.raises(ValueError, match=r"notes\.mp4 is no video"):
        list(read_video(path))


def test_sound_alone_is_no_video(tmp_path: Path):
    av = pytest.importorskip("av")
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(ValueError, match=r"sound\.mp4 holds no video, only audio"):
        list(read_video(path))


def test_a_video_without_a_frame_is_refused(tmp_path: Path):
    av = pytest.importorskip("av")
    path = tmp_path / "empty.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(ValueError, match=r"empty\.avi is a video without a frame"):
        list(read_video(path))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"There is no video .*gone\.mp4"):
        list(read_video(tmp_path / "gone.mp4"))


def test_an_interrupted_video_does_not_appear(tmp_path: Path):
    with pytest.raises(ValueError, match="must grow"):
        write_frames(tmp_path / "a.mp4", ((32, 32), 0.0), ((32, 32), 0.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("size", "time", "message"), [((32, 34), 1.0, "another size"), ((32, 32), 0.0, "must grow")])
def test_frames_that_do_not_fit_are_refused(tmp_path: Path, size, time, message):
    with pytest.raises(ValueError, match=message):
        write_frames(tmp_path / "a.mp4", ((32, 32), 0.0), (size, time))


@pytest.mark.parametrize(("name", "answer"), [("a.MP4", True), ("b.webm", True), ("c.png", False), ("mp4", False)])
def test_videos_are_known_by_their_names(name: str, answer: bool):
    assert is_video(name) is answer


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch):
    write_video(tmp_path / "a.mp4")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert count_frames("~/a.mp4") == len(list(read_video("~/a.mp4"))) == len(TIMES)


def test_a_video_that_ends_early_is_named(tmp_path: Path, caplog):
    """As Matroska, whose head says how long it is and whose frames come one by one."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.mkv"
    draws = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(20):
            frame = av.VideoFrame.from_ndarray(draws.integers(0, 256, (48, 64, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuvj420p")))
        container.mux(stream.encode(None))
    assert len(list(read_video(path, every=3))) == 7
    assert caplog.text == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 < len(list(read_video(path))) < 15
    assert re.search(r"a.mkv ends after [123]\.\d s of 4.0 s: it is cut off, or damaged there", caplog.text)


def test_frames_that_stay_long_are_no_early_end(tmp_path: Path, caplog):
    path = tmp_path / "a.mp4"
    write_frames(path, ((32, 32), 0.0), ((32, 32), 0.5), ((32, 32), 8.0))
    list(read_video(path))
    assert caplog.text == ""
