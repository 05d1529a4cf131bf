"""Writes MODEL_ZOO.md, and the counts that it and `focalnet-d2 zoo --list` show, from the recipes.

python tools/make_model_zoo.py                     # count all models (about 2 minutes) and write both files
python tools/make_model_zoo.py --only 'upernet_*'  # count these only, keep the other counts
python tools/make_model_zoo.py --check             # write nothing; exit status 1 if something has changed
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from focalnet_d2.commands.errors import end_with_one_line
from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.model_zoo import list_models
from focalnet_d2.model_zoo.counts import COUNTS
from focalnet_d2.model_zoo.families import counted_size, family_of
from focalnet_d2.model_zoo.page import zoo_page
from focalnet_d2.modeling.flops import count_model
from focalnet_d2.utils.atomic_write import write_atomically

ROOT = Path(__file__).resolve().parents[1]
PAGE, TABLE = ROOT / "MODEL_ZOO.md", ROOT / "focalnet_d2" / "model_zoo" / "counts.py"
TABLE_HEAD = '''\
"""Parameters and multiply-adds of each recipe's model. Made by tools/make_model_zoo.py, not by hand."""

COUNTS: dict[str, tuple[int, int]] = {
'''


def count_recipes(pattern: str, report: Callable[[str], object]) -> dict[str, tuple[int, int]]:
    """Counts of all recipes, those whose name fits the pattern counted afresh."""
    counts = {}
    for name in list_models():
        if name in COUNTS and not fnmatchcase(name, pattern):
            counts[name] = COUNTS[name]
            continue
        recipe = load_recipe(name)
        found = count_model(lambda node=recipe.model: build(node, "model"), counted_size(name, recipe))
        counts[name] = (found.parameters, found.multiply_adds)
        report(f"{name}: {found.parameters / 1e6:.2f} M, {found.multiply_adds / 1e9:.2f} G")
    return counts


def table_of(counts: dict[str, tuple[int, int]]) -> str:
    """The module that holds the counts."""
    rows = "".join(f'    "{name}": ({pair[0]:_}, {pair[1]:_}),\n' for name, pair in sorted(counts.items()))
    return f"{TABLE_HEAD}{rows}}}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="recipes to count afresh")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    unknown = [name for name in list_models() if family_of(name) is None]
    if unknown:
        sys.exit(f"No family of focalnet_d2/model_zoo/families.py holds {', '.join(unknown)}: add one.")
    counts = count_recipes(options.only, report=print)
    texts = {TABLE: table_of(counts), PAGE: zoo_page(counts)}
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is not up to date' if options.check else 'written'}")
        if not options.check:
            write_atomically(path, texts[path].encode("utf-8"))
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(end_with_one_line(main))
