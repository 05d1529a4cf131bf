"""The files of one video's predictions.

`START.json` has the objects of all frames in COCO's format: an entry of `images` for each frame, with `frame_index` and
`time` in seconds. The other kinds of files are written for each frame, `START/000012.panoptic.png` and so on, and
`START.video.mp4` shows the frames with what was found. The JSON is written as the frames come, and appears last.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from focalnet_d2.data.result_files import as_json
from focalnet_d2.utils.atomic_write import atomic_open

from .output_kinds import JSON, KINDS, Kind
from .prediction import Prediction
from .video import open_video


def save_video(predictions: Iterable[Prediction], start: Path, kinds: Sequence[Kind], *, drawn: bool) -> None:
    """Write the files of a video.

    Args:
        predictions: of the frames.
        start: what the names of the files begin with.
        kinds: written for each frame, but for the JSON, which is one for the video.
        drawn: also write the video with what was found.

    Raises:
        OSError: a file cannot be written. Then, as with any error of the predictions, there is no JSON.
    """
    with ExitStack() as files:
        write_objects = files.enter_context(_objects_file(_with_ending(start, ".json")))
        picture = files.enter_context(open_video(_with_ending(start, ".video.mp4"))) if drawn else None
        for prediction in predictions:
            for kind in kinds:
                if kind is not KINDS[JSON]:
                    kind.save(prediction, start / f"{prediction.frame_index:06d}")
            if picture is not None:
                picture.write(prediction.plot(), prediction.time or 0.0)
            write_objects(prediction)


def video_results(start: Path, *, drawn: bool) -> list[Path]:
    """The files of a video that appear last: where they are there, all are."""
    return [_with_ending(start, ending) for ending in ((".json", ".video.mp4") if drawn else (".json",))]


@contextmanager
def _objects_file(path: Path) -> Iterator[Callable[[Prediction], None]]:
    """A JSON file in COCO's format that grows frame by frame; yields what adds a frame."""
    images: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] = []
    count = 0

    def write(prediction: Prediction) -> None:
        nonlocal count
        document = prediction.to_coco((prediction.frame_index or 0) + 1)
        images.append(document["images"][0] | {key: document[key] for key in ("class_scores",) if key in document})
        categories[:] = document["categories"]
        for annotation in document["annotations"]:
            _write_entry(file, annotation | {"id": count + 1}, is_first=count == 0)
            count += 1

    with atomic_open(path, sync=False) as file:
        file.write(b'{"annotations": [')
        yield write
        rest = as_json({"images": images, "categories": categories})
        file.write(b"\n], " + rest[1:])


def _write_entry(file: BinaryIO, entry: dict[str, Any], *, is_first: bool) -> None:
    file.write((b"\n" if is_first else b",\n") + as_json(entry))


def _with_ending(start: Path, ending: str) -> Path:
    return start.with_name(start.name + ending)
