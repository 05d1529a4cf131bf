"""MODEL_ZOO.md as text; `tools/make_model_zoo.py` writes it."""

from collections.abc import Iterable, Mapping

from omegaconf import OmegaConf

from focalnet_d2.backbone.variants import SIZE_LETTERS

from . import ZooModel, get, list_models
from .families import FAMILIES, Family, counted_size
from .published import PARAMETERS_TOLERANCE, PublishedCounts, published_counts
from .weights import WEIGHT_FILES, Mirror, WeightFile

HEAD = """\
# Model zoo

Made by `python tools/make_model_zoo.py` from the recipes in `configs/`; `python -m focalnet_d2.model_zoo --list` prints
the short form.

- **Parameters** (millions) and **FLOPs** (thousand millions, one for a multiply-add) are computed here from the
  recipe's own model; what the papers and READMEs print stands in parentheses. FLOPs are those of convolutions, linear
  layers, matrix products and attention at the input size above each table. Norms, activations, elementwise products (a
  FocalNet's gates and modulators), pooling, resizing, RoIAlign and NMS are left out. Where both numbers exist,
  parameters are within 1 % and FLOPs within 2 %, or a note below the table says why not.
- **Backbone**: "3 levels from 9" are three focal levels with kernels 9, 11 and 13; "11-9-9-7" the first ones by stage.
- **Published results** are those of the cited sources, trained with their code. None has been reproduced here: that
  takes GPUs, data and files that this project does not have.
- **Start** is the file that training starts from, **trained weights** the published file with the finished model; both
  are in the [table of files](#files).

```python
from focalnet_d2 import model_zoo

zoo_model = model_zoo.get("dino_focalnet_large_fl4_objects365_to_coco")
zoo_model.recipe  # the recipe, as focalnet_d2.config.lazy.load_recipe gives it
zoo_model.weights  # path of the trained weights, zoo_model.start_weights of those to start from
model = zoo_model.model()  # built, with the trained weights
```

Files are looked for in the folder given to `get`, in `$FOCALNET_D2_WEIGHTS`, in `focalnet_d2/` of the user's
cache folder (`$XDG_CACHE_HOME`, else `~/.cache`) and in `weights/`; what is in none of them is downloaded into the
first of these folders, and if no address answers, the error says which file to put where.
"""
FILES_HEAD = """\
## Files

Names and addresses as published. Where a sha256 is stated for an address, a download with another one is thrown away;
otherwise `python -m focalnet_d2.model_zoo --fetch RECIPE` prints the file's own. *Closed*: the storage account
`projects4jw.blob.core.windows.net` has refused public access since May 2023 (microsoft/FocalNet, issues 43 and 51), and
no other address is known: whoever has the file puts it into one of the folders above.
"""
COLUMNS = (
    "recipe", "backbone", "iterations x batch", "parameters", "FLOPs", "published result", "source", "start",
    "trained weights", "licence of the weights",
)  # fmt: skip
FILE_COLUMNS = ("file", "content", "licence", "size", "sha256", "addresses")
_KINDS = {"deeper": "deeper and thinner", "iso": "isotropic", "conv": "overlapping patches"}


def zoo_page(counts: Mapping[str, tuple[int, int]]) -> str:
    """The whole page; `counts` has (parameters, multiply-adds) of every recipe."""
    models = [get(name) for name in list_models()]
    parts = [HEAD]
    for family in (*FAMILIES[1:], FAMILIES[0]):
        members = [model for model in models if family.holds(model.name)]
        if members:
            parts.append(_family_part(family, members, counts))
    return "\n".join([*parts, FILES_HEAD, _table(FILE_COLUMNS, map(_file_row, WEIGHT_FILES.values()))])


def _family_part(family: Family, models: list[ZooModel], counts: Mapping[str, tuple[int, int]]) -> str:
    notes = list(dict.fromkeys(note for model in models if (note := published_counts(model.name).note)))
    sizes = list(dict.fromkeys(counted_size(model.name, model.recipe) for model in models))
    about = f"Input for FLOPs: {' or '.join(f'{h} x {w}' for h, w in sizes)}. {family.remark}".rstrip()
    rows = [_row(family, model, counts[model.name], notes, len(sizes) > 1) for model in models]
    remarks = "".join(f"\n{_mark(index)} {note}\n" for index, note in enumerate(notes))
    commands = "\n".join(line for model in models for line in _commands(model))
    return (
        f"## {family.title}\n\n{about}\n\n{_table(COLUMNS, rows)}{remarks}\n<details><summary>Commands</summary>\n\n"
        f"```\n{commands}\n```\n\n</details>\n"
    )


def _row(
    family: Family, model: ZooModel, counts: tuple[int, int], notes: list[str], with_size: bool
) -> tuple[str, ...]:
    trained = model.trained_file
    parameters, multiply_adds = _sizes(counts, published_counts(model.name), notes)
    size = f" at {counted_size(model.name, model.recipe)[0]}" if with_size else ""
    return (
        f"[{model.name}](configs/{model.name}.py)",
        _backbone(model),
        _schedule(model),
        parameters,
        multiply_adds + size,
        family.result(model.info.expected),
        model.info.source,
        _start(model),
        "not published" if trained is None else f"`{trained.name}`{'' if trained.is_released else ' (closed)'}",
        "" if trained is None else trained.license,
    )


def _sizes(counts: tuple[int, int], published: PublishedCounts, notes: list[str]) -> list[str]:
    """Both counts next to the published ones; the mark of a note stands at what is too far off, else at the last."""
    cells = [
        _beside(counts[0] / 1e6, published.parameters),
        _beside(counts[1] / 1e9, published.multiply_adds),
    ]
    if published.note:
        printed = published.parameters or 0.0
        is_off = abs(counts[0] / 1e6 - printed) > PARAMETERS_TOLERANCE * printed
        cells[0 if is_off else 1] += f" {_mark(notes.index(published.note))}"
    return cells


def _beside(computed: float, published: float | None) -> str:
    digits = 2 if computed < 10 else 1
    return f"{computed:.{digits}f}" + ("" if published is None else f" ({published:g})")


def _mark(index: int) -> str:
    return f"[{'abcdefgh'[index]}]"


def _backbone(model: ZooModel) -> str:
    nodes = [OmegaConf.select(model.recipe, key) for key in ("model.backbone.bottom_up", "model.backbone")]
    node = next(node for node in nodes if node is not None and "embed_dim" in node)
    words = model.name.partition("focalnet_")[2].split("_")
    kinds = [kind for word, kind in _KINDS.items() if word in words]
    windows = list(node.focal_windows)
    first = windows if len(set(windows)) > 1 else windows[:1]
    parts = [f"FocalNet-{SIZE_LETTERS.get(words[0], words[0])}", *kinds, f"{node.focal_levels[0]} levels"]
    return f"{', '.join(parts)} from {'-'.join(map(str, first))}"


def _schedule(model: ZooModel) -> str:
    if model.info.evaluation_only:
        return "evaluation only"
    return f"{model.recipe.train.max_iter:,} x {model.recipe.dataloader.train.total_batch_size}"


def _start(model: ZooModel) -> str:
    return model.start if model.start_file is None else f"`{model.start_file.name}`"


def _commands(model: ZooModel) -> Iterable[str]:
    if not model.info.evaluation_only:
        yield model.command
    yield model.evaluation_command


def _file_row(file: WeightFile) -> tuple[str, ...]:
    sizes = [file.size, *(mirror.size for mirror in file.mirrors)]
    digests = [file.sha256, *(mirror.sha256 for mirror in file.mirrors)]
    addresses = [_link(mirror) for mirror in file.mirrors]
    return (
        f"`{file.name}`",
        file.content,
        file.license,
        next((f"{size / 1e6:,.0f} MB" for size in sizes if size), "not stated"),
        next((f"`{digest}`" for digest in digests if digest), "not stated"),
        ", ".join(addresses) or "in this repository",
    )


def _link(mirror: Mirror) -> str:
    return f"[{mirror.url.split('/')[2]}]({mirror.url}){' (closed)' if mirror.is_closed else ''}"


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(columns), ["---"] * len(list(columns)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
