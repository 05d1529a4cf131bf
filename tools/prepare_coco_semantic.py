"""Makes semantic labels of COCO's 133 classes, panoptic_semseg_{train,val}2017, from its panoptic files.

    python tools/prepare_coco_semantic.py --workers 8

Training and evaluation do without them, by deriving the labels when an image is read; files are faster to read.
A killed run continues when it is started again; what is complete is left alone.
"""

import sys
from collections.abc import Sequence

from focalnet_d2.commands.prepare import preparation_parser, run_preparation
from focalnet_d2.data.preparation import prepare_coco_semantic


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_preparation(prepare_coco_semantic, preparation_parser(__doc__).parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
