"""`focalnet-d2 replay`: does a step again whose losses or gradients were not finite, and says where that began.

    focalnet-d2 replay output/mine
    focalnet-d2 replay output/mine --iteration 1200

A run keeps such a step in its folder: the batch, the random numbers and the weights. The losses are compared with those
of the run, and the first module is named that made NaN or infinity out of finite numbers. The exit status is 0, or 1
where the losses are others than in the run.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from focalnet_d2.utils.text import plural, some_of

from .errors import DEBUG, end_with_one_line

if TYPE_CHECKING:
    from focalnet_d2.engine.replay import RankReplay, Replay  # with torch, without which --help does

DIFFERENT = 1  # exit status


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or a file nonfinite_*.pth")
    parser.add_argument("--iteration", type=int, metavar="N", help="the step that is meant; by default the last one")
    parser.add_argument("--trust", action="store_true", help="the recipe may build anything, as a program may")
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of a mistake, not one line about it")
    options = parser.parse_args(arguments)
    return end_with_one_line(lambda: _replay(options), debug=options.debug)


def _replay(options: argparse.Namespace) -> int:
    from focalnet_d2.engine.replay import find_kept, replay  # not at the top: --help does without torch

    done = replay(find_kept(options.run, options.iteration), trust=options.trust)
    for line in _lines(done):
        print(line)
    return 0 if done.is_equal else DIFFERENT


def _lines(done: "Replay") -> Iterator[str]:
    yield f"{done.file}: {done.what}."
    weights = f"{some_of(done.weights, 8)}: not finite before the step" if done.weights else "finite before the step"
    yield f"weights: {weights}"
    for rank in done.ranks:
        if done.processes > 1:
            yield f"process {rank.rank}:"
        yield f"losses: {_compared(rank, done)}"
        yield f"input: {some_of(rank.inputs, 8) + ' are not finite' if rank.inputs else 'finite'}"
        yield f"forward: {rank.forward or 'no module made anything that is not finite out of finite inputs'}"
        yield f"backward: {rank.backward or 'no gradient stopped being finite'}"


def _compared(rank: "RankReplay", done: "Replay") -> str:
    if rank.is_equal:
        return "those of the run, bit for bit"
    names = sorted(rank.recorded.keys() | rank.replayed.keys())
    then, now = rank.recorded, rank.replayed
    pairs = (f"{name} {then.get(name)} then, {now.get(name)} now" for name in names)
    others = some_of((text for name, text in zip(names, pairs) if repr(then.get(name)) != repr(now.get(name))), 8)
    alone = f"; the run had {plural(done.processes, 'process')}" if len(done.ranks) < done.processes else ""
    return f"others than in the run, which was on {done.device} ({others}{alone})"


if __name__ == "__main__":
    sys.exit(main())
