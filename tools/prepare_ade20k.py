"""Makes the semantic, panoptic and instance files of ADE20K from the downloaded ones.

    python tools/prepare_ade20k.py --workers 8
    python tools/prepare_ade20k.py --tasks semantic     # without annotations_instance

A killed run continues when it is started again; what is complete is left alone. docs/datasets.md lists the folders.
"""

import sys
from collections.abc import Sequence

from focalnet_d2.commands.prepare import preparation_parser, run_preparation
from focalnet_d2.data.preparation import ADE20K_TASKS, prepare_ade20k


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = preparation_parser(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=ADE20K_TASKS, default=ADE20K_TASKS, help="default: all")
    parser.add_argument(
        "--published-areas",
        action="store_true",
        help="areas and boxes in the panoptic file as they were before things covered the stuff, which is how the "
        "published file has them; default: those of the final pixels",
    )
    return run_preparation(prepare_ade20k, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
