"""A tiny DINO diverges in two processes, which do its last step again; prints what they say."""

import sys
import tempfile
from pathlib import Path

import torch

from focalnet_d2.commands import replay
from tests.engine.kills import make_data, start
from tests.tiny_run import RECIPE, TINY


def main() -> int:
    """The command line; returns the exit status."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        make_data("dino", Path(place) / "data")
        run, log = Path(place) / "run", Path(place) / "log.txt"
        settings = ["optimizer.lr=1e30", "train.clip_norm=0", f"train.output_dir={run}"]
        has_ended_well = start(["--config-file", RECIPE, *TINY, *settings], log, 2, {})
        is_equal = start([str(run)], log, 2, {}, replay.main)
        print(log.read_text())
    return 0 if is_equal and not has_ended_well else 1


if __name__ == "__main__":
    sys.exit(main())
