"""Measures the memory that a large image takes: a mosaic of generated scenes goes through `focalnet-d2 predict --tile`.

    python tools/measure_tile_memory.py --side 12000 --tile 1024

One process predicts a single small scene, another one the mosaic: what the second takes beyond the first is the price
of the size. Both are asked for the peak of their own memory, which Linux keeps.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from focalnet_d2.commands.errors import run_command
from focalnet_d2.data.generated.scene import draw_scene
from focalnet_d2.data.generated.styles import STYLES

WEIGHTS, RECIPE = "weights/mask2former_focalnet_mini.safetensors", "mask2former_focalnet_mini_quickstart"
SCENES = 12  # different ones, which are repeated
SMALL = 128  # pixels of the small image
PREDICT = """
import sys
from focalnet_d2.commands.predict import main
main(sys.argv[1:])
print(open("/proc/self/status").read())
"""


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=12000, help="of the mosaic in pixels")
    parser.add_argument("--tile", type=int, default=1024, help="of tiles and scenes in pixels")
    parser.add_argument("--kinds", nargs="+", default=["panoptic", "json", "pictures"], help="what is written")
    return run_command(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Draw, predict and print."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for side, tile in ((SMALL, SMALL), (options.side, options.tile)):
            start, image = time.perf_counter(), Path(folder) / f"{side}.png"
            _draw(image, side, tile)
            peaks.append(_peak(image, Path(folder) / f"results_{side}", options))
            print(f"{side} pixels: {peaks[-1]:.2f} GB at most, {time.perf_counter() - start:.0f} s", flush=True)
        print(f"The large image took {peaks[1] - peaks[0]:.2f} GB beyond the small one.")


def _draw(path: Path, side: int, tile: int) -> None:
    """A square mosaic of scenes of `tile` pixels, the last ones cut."""
    draws = np.random.default_rng(0)
    scenes = [draw_scene(draws, tile, tile, STYLES["night"]).image for _ in range(SCENES)]
    mosaic = np.zeros((side, side, 3), np.uint8)
    corners = [(top, left) for top in range(0, side, tile) for left in range(0, side, tile)]
    for number, (top, left) in enumerate(corners):
        place = mosaic[top : top + tile, left : left + tile]
        place[:] = scenes[number % SCENES][: place.shape[0], : place.shape[1]]
    Image.fromarray(mosaic).save(path, compress_level=1)


def _peak(image: Path, out: Path, options: argparse.Namespace) -> float:
    """GB that a process takes at most which predicts an image and writes what is asked for."""
    arguments = [WEIGHTS, str(image), "--recipe", RECIPE, "--out", str(out), "--tile", str(options.tile)]
    arguments += [f"--{kind}" for kind in options.kinds]
    command = [sys.executable, "-c", PREDICT, *arguments]
    status = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e9


if __name__ == "__main__":
    sys.exit(main())
