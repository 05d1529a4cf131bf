"""`focalnet-d2 predict`: predicts from a checkpoint and writes JSON, PNGs and pictures of every image.

    focalnet-d2 predict output/mine/model_best.pth path/to/images --out predictions
    focalnet-d2 predict output/mine/model_best.pth "photos/*.jpg" --out predictions --pictures --num-gpus 4
    focalnet-d2 predict output/mine/model_best.pth map.tif --out predictions --tile 1024
    focalnet-d2 predict model.safetensors street.jpg --recipe dino_focalnet_huge --out predictions

Files are named like the image: street.jpg.json has its objects in COCO's format, street.jpg.panoptic.png and .json its
segments, street.jpg.semantic.png the class ids of its pixels, and street.jpg.picture.png shows them. Without one of the
options that name them, everything but pictures is written that the model predicts. A video has one JSON, clip.mp4.json,
with an entry for each frame; other files are written for each of its frames into a folder clip.mp4, and --video writes
clip.mp4.video.mp4. The same command goes on where it was interrupted. The exit status is 0, or 1 where files could not
be read: they are listed at the end.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from focalnet_d2.inference.output_kinds import KINDS

from .arguments import at_least_one
from .errors import DEBUG, end_with_one_line, processes_of

if TYPE_CHECKING:
    from focalnet_d2.inference.prediction_job import PredictionJob  # not at the top: --help does without torch

UNREADABLE = 1  # exit status


class ImagesFailed(Exception):  # noqa: N818 - the rest is done
    """Some images could not be predicted; the text has a line about each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict; 0 where every image could be read, else 1."""
    options = _parser().parse_args(arguments)
    return end_with_one_line(lambda: _predict(options), debug=options.debug, processes=processes_of(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file of a run; any other with --recipe")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image, video, folder of them, or pattern")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of what is written")
    parser.add_argument("--recipe", help="name or path, for a file that holds no recipe")
    for name, kind in KINDS.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"write {' and '.join(kind.endings)}")
    parser.add_argument("--threshold", type=float, help="lowest score of an object (default: the checkpoint's, or 0.5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--video", action="store_true", help="of videos also write .video.mp4 with what was found")
    parser.add_argument("--every", type=at_least_one, default=1, metavar="N", help="predict every Nth frame of a video")
    parser.add_argument("--track", action="store_true", help="number the objects of a video")
    parser.add_argument("--tile", type=at_least_one, metavar="PIXELS", help="cut images into tiles of this size")
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a tile that neighbors have in common")
    parser.add_argument("--batch-size", type=at_least_one, default=1, help="images of one size that go together")
    parser.add_argument("--num-gpus", type=at_least_one, default=1, help="GPUs that share the work, one process each")
    parser.add_argument("--num-processes", type=at_least_one, default=1, help="processes that share it without GPUs")
    parser.add_argument("--trust", action="store_true", help="the recipe may build anything, as a program may")
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of a mistake, not one line about it")
    return parser


def _predict(options: argparse.Namespace) -> int:
    from focalnet_d2.inference.prediction_job import (
        PredictionJob,
        launch_prediction,
    )  # not at the top: --help does without torch
    from focalnet_d2.inference.tiles import TileSettings  # not at the top: --help does without torch

    job = PredictionJob(
        *(options.checkpoint, tuple(options.paths), options.out),
        kinds=tuple(name for name in KINDS if getattr(options, name)),
        recipe=options.recipe,
        device=options.device,
        threshold=options.threshold,
        batch_size=options.batch_size,
        video=options.video,
        every=options.every,
        track=options.track,
        tiles=TileSettings(options.tile, options.overlap) if options.tile else None,
        trust=options.trust,
    )
    try:
        launch_prediction(run_and_print, job, num_gpus=options.num_gpus, num_processes=options.num_processes)
    except ImagesFailed as failed:
        sys.stderr.write(f"{failed}\n")
        return UNREADABLE
    return 0


def run_and_print(job: "PredictionJob") -> None:
    """One process of the work, of which the main one says how it ended.

    Raises:
        ImagesFailed: in the main process, once all others are done, too.
    """
    from detectron2.utils import comm  # not at the top: --help does without torch

    from focalnet_d2.inference.prediction_job import run_prediction  # not at the top: --help does without torch

    outcome = run_prediction(job, _progress_bar)
    if not comm.is_main_process():
        return
    earlier = f", {outcome.earlier} of them by an earlier start" if outcome.earlier else ""
    done = outcome.files - len(outcome.failures)
    print(f"{done} of {outcome.files} files are predicted in {job.out}{earlier}", flush=True)
    if counts := str(outcome.counts):
        print(counts, flush=True)
    if outcome.failures:
        raise ImagesFailed("\n".join(outcome.failures))


def _progress_bar(items: Iterable[Any], total: int | None, unit: str) -> Iterable[Any]:
    """On a terminal, how many of its images or frames the main process has done."""
    from detectron2.utils import comm  # not at the top: --help does without torch

    is_shown = comm.is_main_process()
    share = f"share of 1 of {count} processes" if (count := comm.get_world_size()) > 1 else None
    return tqdm(items, desc=share, total=total, unit=f" {unit}", disable=None if is_shown else True)


if __name__ == "__main__":
    sys.exit(main())
