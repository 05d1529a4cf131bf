"""`focalnet-d2 pack`: writes a data set with its images in shards, for disks and networks that dislike many files.

    focalnet-d2 pack path/to/data --out path/to/shards
    focalnet-d2 pack path/to/data --out path/to/shards --size 500MB

Shards are tar archives as WebDataset's tools read them; annotation files stay files. `data=path/to/shards` then trains
as `data=path/to/data` does, with equal losses. The data themselves stay as they are.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from focalnet_d2.utils.text import plural

from .errors import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", metavar="DIR", help="folder of the data")
    parser.add_argument("--out", required=True, metavar="SHARDS", help="folder to make; it may not exist")
    parser.add_argument("--size", default="1GB", type=_size, help="of a shard, as 500MB or 2GiB; default: 1GB")
    return run_command(parser, _pack, arguments)


def _size(text: str) -> int:
    """Bytes; the message for others is argparse's to print."""
    from focalnet_d2.config.memory_size import memory_size  # needs omegaconf, --help does not

    if (size := memory_size(text)) is None:
        raise argparse.ArgumentTypeError(f"{text} is no size: write 500MB, 1GB or 2GiB, for example.")
    return size


def _pack(options: argparse.Namespace) -> None:
    from tqdm import tqdm  # --help does without

    from focalnet_d2.data.preparation.shards import pack_folder  # needs torch, --help does not

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tqdm(unit=" images", disable=None, leave=False) as bar:

        def advance(done: int, images: int) -> None:
            bar.total = images
            bar.update(done - bar.n)

        packed = pack_folder(options.dir, options.out, options.size, advance)
    print(
        f"{options.out}: {plural(packed.images, 'image')} in {plural(packed.shards, 'shard')} "
        f"({packed.size / 1e6:.4g} MB), and {plural(packed.others, 'other file')}"
    )
    if packed.dotted:
        print(
            f"{plural(packed.dotted, 'image')} with another dot in the name than that of the suffix: WebDataset's own "
            "tools take what is before the first dot for the key; here names stay whole."
        )


if __name__ == "__main__":
    sys.exit(main())
