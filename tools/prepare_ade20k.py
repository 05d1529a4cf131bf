"""Makes the semantic, panoptic and instance files of ADE20K; also installed as `focalnet-d2 prepare ade20k`.

python tools/prepare_ade20k.py --workers 8
python tools/prepare_ade20k.py --tasks semantic     # without annotations_instance
"""

import sys
from collections.abc import Sequence

from focalnet_d2.commands import prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return prepare.main(["ade20k", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
