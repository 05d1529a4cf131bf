"""`python -m focalnet_d2.model_zoo`."""

import sys

from focalnet_d2.commands.zoo import main

if __name__ == "__main__":
    sys.exit(main())
