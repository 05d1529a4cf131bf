"""`focalnet-d2 evaluate`: evaluates the weights that train.init_checkpoint names, or those of a run, on test data.

    focalnet-d2 evaluate dino_focalnet_huge train.init_checkpoint=model.pth
    focalnet-d2 evaluate output/mine
    focalnet-d2 evaluate path/to/data --recipe dino_focalnet_mini_quickstart train.init_checkpoint=model.pth

Of a run, which is named by its folder or the recipe.yaml in it, the best weights are scored, else the last ones, unless
train.init_checkpoint=FILE is typed. Settings of the recipe are changed by key=value arguments; a key that does not
exist is an error.
"""

import sys
from collections.abc import Sequence

from .train import recipe_parser, run_recipe_command


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = recipe_parser("focalnet-d2 evaluate", __doc__)
    parser.set_defaults(eval_only=True, resume=False, overwrite=False)
    return run_recipe_command(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
