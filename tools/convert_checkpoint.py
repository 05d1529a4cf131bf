"""Writes a checkpoint in another layout, or tells what it is; also installed as `focalnet-d2 convert`.

python tools/convert_checkpoint.py --inspect FILE
python tools/convert_checkpoint.py FILE OUT --to LAYOUT --recipe NAME
"""

import sys

from focalnet_d2.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
