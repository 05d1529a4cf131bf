"""Makes semantic labels of COCO's 133 classes; also installed as `focalnet-d2 prepare coco-semantic`.

python tools/prepare_coco_semantic.py --workers 8
"""

import sys
from collections.abc import Sequence

from focalnet_d2.commands import prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return prepare.main(["coco-semantic", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
