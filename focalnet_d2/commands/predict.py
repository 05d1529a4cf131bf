"""`focalnet-d2 predict`: predicts from a checkpoint and writes JSON, PNGs and pictures of every image.

    focalnet-d2 predict output/mine/model_best.pth path/to/images --out predictions
    focalnet-d2 predict output/mine/model_best.pth "photos/*.jpg" --out predictions --pictures
    focalnet-d2 predict model.safetensors street.jpg --recipe dino_focalnet_huge --out predictions

Files are named like the image: street.jpg.json has its objects in COCO's format, street.jpg.panoptic.png and .json its
segments, street.jpg.semantic.png the class ids of its pixels, and street.jpg.picture.png shows them. Without one of the
options that name them, everything but pictures is written that the model predicts. The same command goes on where it
was interrupted. The exit status is 0, or 1 where files could not be read: they are listed at the end.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from tqdm import tqdm

from focalnet_d2.inference.prediction import Prediction
from focalnet_d2.inference.prediction_files import save_objects, save_panoptic, save_picture, save_semantic
from focalnet_d2.inference.predictor import Predictor, image_files
from focalnet_d2.utils.atomic_write import write_atomically

from .errors import DEBUG, end_with_one_line

SETTINGS = "predict.json"  # what the files of a folder were predicted with
UNREADABLE = 1  # exit status


class Kind(NamedTuple):
    """Files that may be written of an image: their endings, what writes them, and the model's task that they need."""

    endings: tuple[str, ...]
    save: Callable[[Prediction, Path], Any]
    task: str = ""


KINDS = {
    "json": Kind((".json",), save_objects),
    "panoptic": Kind((".panoptic.png", ".panoptic.json"), save_panoptic, "panoptic"),
    "semantic": Kind((".semantic.png",), save_semantic, "sem_seg"),
    "pictures": Kind((".picture.png",), save_picture),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict; 0 where every image could be read, else 1."""
    options = _parser().parse_args(arguments)
    return end_with_one_line(lambda: _predict(options), debug=options.debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file of a run; any other with --recipe")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image, folder of images, or pattern")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of what is written")
    parser.add_argument("--recipe", help="name or path, for a file that holds no recipe")
    for name, kind in KINDS.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"write {' and '.join(kind.endings)}")
    parser.add_argument("--threshold", type=float, help="lowest score of an object (default: the checkpoint's, or 0.5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--trust", action="store_true", help="the recipe may build anything, as a program may")
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of a mistake, not one line about it")
    return parser


def _predict(options: argparse.Namespace) -> int:
    images = _named_images(options.paths)
    predictor = Predictor(
        options.checkpoint, options.recipe, device=options.device, threshold=options.threshold, trust=options.trust
    )
    kinds = _kinds(options, cast(Sequence[str], predictor.model.tasks))
    _note_settings(options)
    failures = []
    for name, path in tqdm(images.items(), unit=" images", disable=None):
        if all(Path(f"{options.out / name}{ending}").is_file() for kind in kinds for ending in kind.endings):
            continue
        try:
            prediction = next(predictor.stream([path]))
        except (OSError, ValueError) as error:
            failures.append(str(error))
            continue
        for kind in kinds:
            kind.save(prediction, options.out / name)
    for failure in failures:
        sys.stderr.write(f"{failure}\n")
    print(f"{len(images) - len(failures)} of {len(images)} images are predicted in {options.out}")
    return UNREADABLE if failures else 0


def _named_images(paths: Iterable[str]) -> dict[str, Path]:
    """The image files by what their results are called: the name, in a folder that was named the path below it.

    Raises:
        FileNotFoundError: a folder or pattern without an image.
        ValueError: two files whose results would have one name.
    """
    named: dict[str, Path] = {}
    for path in paths:
        folder = Path(path).expanduser()
        for file in image_files(path):
            name = str(file.relative_to(folder)) if folder.is_dir() else file.name
            if named.setdefault(name, file).absolute() != file.absolute():
                raise ValueError(
                    f"The results of {named[name]} and {file} would have one name: predict them into different folders."
                )
    return named


def _kinds(options: argparse.Namespace, tasks: Sequence[str]) -> list[Kind]:
    """What is written, the JSON of objects last.

    Raises:
        ValueError: something is wanted that the model does not predict.
    """
    wanted = [name for name in KINDS if getattr(options, name)]
    if impossible := [name for name in wanted if KINDS[name].task not in ("", *tasks)]:
        raise ValueError(
            f"--{impossible[0]} was asked for, but the model of {options.checkpoint} predicts {', '.join(tasks)} only."
        )
    all_of_model = [name for name, kind in KINDS.items() if name != "pictures" and kind.task in ("", *tasks)]
    return [KINDS[name] for name in wanted or all_of_model]


def _note_settings(options: argparse.Namespace) -> None:
    """Note what the folder is predicted with.

    Raises:
        ValueError: it holds results of other settings, which would be taken for those of these.
    """
    status, file = os.stat(options.checkpoint), options.out / SETTINGS
    settings = {
        "checkpoint": os.path.abspath(options.checkpoint),
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "recipe": options.recipe,
        "threshold": options.threshold,
    }
    text = json.dumps(settings, indent=1)
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{options.out} holds predictions of another checkpoint or with another threshold (see {SETTINGS} there): "
            "name another folder by --out, or remove it."
        )
    write_atomically(file, text)


if __name__ == "__main__":
    sys.exit(main())
