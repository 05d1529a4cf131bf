"""`focalnet-d2-runtime`: predicts with an exported model, on machines without PyTorch.

    focalnet-d2-runtime panoptic.onnx street.jpg --out predictions
    focalnet-d2-runtime panoptic.xml photos --out predictions --threshold 0.3 --threads 4

Files are named like the image: street.jpg.json has its objects in COCO's format, street.jpg.panoptic.png and .json its
segments, and street.jpg.semantic.png the class ids of its pixels. The exit status is 0, or 1 where images could not be
read: they are listed at the end.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from focalnet_d2.export.runtime import ExportedModel
from focalnet_d2.export.sessions import SESSIONS
from focalnet_d2.inference.image_files import LOCK_FILE, named_files, names_too_long
from focalnet_d2.utils.folder_lock import folder_lock
from focalnet_d2.utils.usable_cores import find_cores

from .errors import DEBUG, end_with_one_line

UNREADABLE = 1  # exit status


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict; 0 where every image could be read, else 1."""
    options = _parser("focalnet-d2-runtime" if arguments is None else "focalnet-d2 runtime").parse_args(arguments)
    return end_with_one_line(lambda: _predict(options), debug=options.debug)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="file that `focalnet-d2 export` has written, .onnx or .xml")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image, folder of images, or pattern")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of what is written")
    parser.add_argument("--threshold", type=float, help="lowest score of an object (default: what the file says)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images that are run together (default: 1)")
    parser.add_argument("--runtime", choices=sorted(SESSIONS), help="by default the one that the file's ending says")
    parser.add_argument("--device", default="cpu", help="of the runtime (default: cpu)")
    parser.add_argument(
        "--threads", type=int, default=0, help="of one computation (default: the runtime chooses, within a quota)"
    )
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of a mistake, not one line about it")
    return parser


def _predict(options: argparse.Namespace) -> int:
    model = ExportedModel(
        options.model, threshold=options.threshold, batch_size=options.batch, runtime=options.runtime,
        device=options.device, threads=options.threads or _threads(),
    )  # fmt: skip
    images = named_files(options.images, options.out, videos=False)
    names, failures = iter(images), []
    with folder_lock(options.out, LOCK_FILE, "wait until it has ended, or name another folder.", keep_file=False):
        for attempt in model.attempts(images.values()):
            name = next(names)
            if isinstance(attempt, Exception):
                failures.append(str(attempt))
                continue
            try:
                attempt.save(options.out, name)
            except OSError as error:
                failures.append(names_too_long(error, images[name]))
    for failure in failures:
        sys.stderr.write(f"{failure}\n")
    print(f"{len(images) - len(failures)} of {len(images)} images are predicted in {options.out}")
    return UNREADABLE if failures else 0


def _threads() -> int:
    """What a runtime, which knows no quotas, is told where the process has one; 0 lets it choose."""
    cores = find_cores()
    return cores.for_threads if cores.is_limited else 0


if __name__ == "__main__":
    sys.exit(main())
