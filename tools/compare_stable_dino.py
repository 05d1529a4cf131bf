"""Trains DINO, Stable-DINO and DINO with one part of it alone, and prints their box AP over iterations.

    python tools/compare_stable_dino.py --seeds 0 1 2
    python tools/compare_stable_dino.py --recipe dino_focalnet_mini_quickstart --start "" --seeds 0 --iterations 1500
    python tools/compare_stable_dino.py --count-pairs

The images are those of `tools/demo.py`, and so are recipe and weights of the first command. All runs of a seed see the
same images in the same order. A run whose results are there is not repeated, so several processes can share the work
with `--only`; each prints what all have left in the folder so far. The last command trains nothing and counts how many
queries the two modes of the matching cost give to other objects, in the first batches and with the weights of --start.
"""

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any, cast

import torch
from demo import CLASSES, HELD_OUT, ROOT
from tabulate import tabulate

import train_net
from focalnet_d2.commands.errors import run_command
from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.data.generated import generate_dataset, register_generated
from focalnet_d2.engine.metrics import EVALUATED, METRICS, read_metrics
from focalnet_d2.engine.run import build_model, load_initial_weights
from focalnet_d2.set_prediction.criterion import by_layer
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.position import PositionModulation
from focalnet_d2.utils.atomic_write import write_atomically

COUNTED_BATCHES = 20
SECONDS = "seconds.json"  # processor time of a run, which is the last that it writes
POSITION = "focalnet_d2.set_prediction.position"
SUPERVISION = (
    f"model.criterion.position_supervision={{_target_:{POSITION}.PositionSupervision}}",
    *("model.criterion.class_weight=6", "model.criterion.denoising_class_weight=1"),
)
DENSE = ("model.encoder.fusion={_target_:dino.memory_fusion.MemoryFusion,dim:128,num_layers:3,start_from_memory:True}",)
REJECTED = ("model.denoising.rejected_step=0",)
OFFICIAL, PAIRWISE = (
    (f"model.criterion.matcher.position_modulation={{_target_:{POSITION}.PositionModulation,mode:{mode}}}",)
    for mode in ("official", "pairwise")
)
VARIANTS = {
    "dino": (),
    "official": (*SUPERVISION, *OFFICIAL, *DENSE, *REJECTED),
    "pairwise": (*SUPERVISION, *PAIRWISE, *DENSE, *REJECTED),
    "supervision": SUPERVISION,
    "modulation": OFFICIAL,
    "fusion": DENSE,
    "rejected_step": REJECTED,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--output", type=Path, default=ROOT / "output" / "compare_stable_dino", help="folder to write to")
    made.add_argument("--recipe", default="dino_focalnet_mini_demo", help="recipe of a small DINO")
    made.add_argument("--start", default=str(ROOT / "weights" / "dino_focalnet_mini_day.safetensors"), help="weights")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="variants to train")
    made.add_argument("--iterations", type=int, default=450, help="of a run, which is evaluated three times")
    made.add_argument("--count-pairs", action="store_true", help="count what the modes match otherwise, train nothing")
    made.add_argument("overrides", nargs="*", metavar="key=value", help="further settings of all runs")
    return made


def train(folder: Path, variant: str, seed: int, options: argparse.Namespace) -> None:
    """One run, unless its results are there."""
    if (folder / SECONDS).exists():
        return
    settings = [
        f"train.init_checkpoint={options.start}",
        *(f"train.output_dir={folder}", f"train.seed={seed}"),
        *(f"train.max_iter={options.iterations}", f"train.eval_period={options.iterations // 3}"),
        f"model.num_classes={len(CLASSES)}",
        *("train.sample_predictions=0", "train.report=False", "train.loggers=[]"),
    ]
    start = time.process_time()
    train_net.main(["--config-file", options.recipe, "--overwrite", *settings, *VARIANTS[variant], *options.overrides])
    write_atomically(folder / SECONDS, json.dumps(time.process_time() - start) + "\n")


def box_ap(folder: Path) -> dict[int, float]:
    """Box AP by the number of iterations after which a finished run was evaluated."""
    return {int(line[EVALUATED]): line["bbox/AP"] for line in read_metrics(folder / METRICS) if "bbox/AP" in line}


def row(variant: str, folders: list[Path]) -> list[str]:
    """Means and ranges of the box AP of all seeds, by iteration, and the mean processor time in seconds."""
    cells = []
    for values in zip(*(box_ap(folder).values() for folder in folders), strict=True):
        spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
        cells.append(f"{mean(values):.1f}{spread}")
    seconds = mean(json.loads((folder / SECONDS).read_text()) for folder in folders)
    return [variant, str(len(folders)), *cells, f"{seconds:.0f}"]


def table(output: Path) -> str:
    """What all finished runs in a folder reached, a line for each variant."""
    finished = {variant: sorted(path.parent for path in output.glob(f"{variant}/*/{SECONDS}")) for variant in VARIANTS}
    rows = [row(variant, folders) for variant, folders in finished.items() if folders]
    iterations = box_ap(next(folders[0] for folders in finished.values() if folders))
    headers = ["variant", "seeds", *(f"after {iteration}" for iteration in iterations), "seconds"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


@torch.no_grad()
def count_pairs(options: argparse.Namespace) -> str:
    """How many matched pairs of all layers and the proposals are others with the modulation pairwise than official."""
    settings = [f"train.init_checkpoint={options.start}", f"model.num_classes={len(CLASSES)}"]
    recipe = apply_overrides(load_recipe(options.recipe), [*settings, *options.overrides])
    model = cast(Any, build_model(recipe).train())
    load_initial_weights(model, recipe, to_train=True)
    matchers = [
        HungarianMatcher(position_modulation=PositionModulation(mode=mode)) for mode in ("official", "pairwise")
    ]
    pairs = differing = 0
    for batch in islice(build(recipe.dataloader.train, "dataloader.train"), COUNTED_BATCHES):
        images = model.preprocess(batch)
        targets = model.prepare_targets(batch, images)
        outputs = model.predict(images, targets)
        sets = [*by_layer(outputs).values(), outputs["enc_outputs"]]
        for layer in zip(*(matcher.match_sets(sets, targets) for matcher in matchers), strict=True):
            for official, pairwise in zip(*layer, strict=True):
                found, others = (
                    set(zip(*(side.tolist() for side in one), strict=True)) for one in (official, pairwise)
                )
                pairs, differing = pairs + len(found), differing + len(found - others)
    return f"{differing} of {pairs} matched pairs differ ({differing / max(pairs, 1):.1%})"


def run(options: argparse.Namespace) -> None:
    """Trains what is missing and prints the table, or counts pairs."""
    output: Path = options.output.resolve()
    data = generate_dataset(output / "data", num_train=1200, num_val=HELD_OUT, style="night", classes=CLASSES, seed=1)
    register_generated(data)
    if options.count_pairs:
        print(count_pairs(options))
        return
    for seed in options.seeds:
        for variant in options.only:
            train(output / variant / f"seed{seed}", variant, seed, options)
    print(table(output))


if __name__ == "__main__":
    sys.exit(run_command(parser(), run))
