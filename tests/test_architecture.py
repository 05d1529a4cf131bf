"""Who imports whom: the floors of the house."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.syntax_trees import LIBRARIES, PLACES, ROOT, module_name, name_of, python_files, tree_of

_PROJECT = "focalnet_d2"
_MODELS = tuple(f"modeling.{model}" for model in ("atss", "classifier", "rcnn", "sparse_rcnn", "upernet"))
_HEAD = (
    *("backbone", "checkpoint", "config", "data", "kernels", "layers", "modeling.base", "modeling.box_deltas"),
    *("set_prediction", "structures", "utils"),
)
# A row for every package, from the ground floor up: what it may import besides itself. The longest prefix that fits a
# module decides. docs/architecture.md draws the floors.
FLOORS: list[dict[str, tuple[str, ...]]] = [
    {"version": (), "registration": (), "config": (), "structures": (), "utils": (), "kernels": ("utils",)},
    {"layers": ("kernels", "utils"), "data": ("kernels", "structures", "utils")},
    {
        "backbone": ("kernels", "layers"),
        "set_prediction": ("kernels", "layers", "utils"),
        "evaluation": ("data", "kernels", "structures", "utils"),
    },
    {"checkpoint": ("backbone", "data", "utils")},
    {
        "diagnostics": ("config", "data", "kernels", "registration", "utils"),
        "engine": (
            *("backbone", "checkpoint", "config", "data", "evaluation", "kernels", "structures", "utils", "version"),
        ),
        "export": ("config", "data", "inference", "kernels", "utils", "version"),
        "inference": (
            *("backbone", "checkpoint", "config", "data", "engine", "evaluation", "kernels", "reports", "structures"),
            "utils",
        ),
        "reports": ("data", "evaluation", "structures", "utils"),
        "run_reports": ("config", "data", "engine", "evaluation", "inference", "reports", "utils"),
    },
    {"modeling": ("checkpoint", "kernels", "utils"), **dict.fromkeys(_MODELS, _HEAD)},
    {
        "yacs": ("backbone", "checkpoint", "config", "engine", "inference"),
        "model_zoo": ("backbone", "checkpoint", "config", "inference", "modeling", "utils"),
        "planning": ("config", "data", "engine", "kernels", "modeling", "modeling.rcnn", "set_prediction", "utils"),
        "verification": ("checkpoint", "config", "data", "engine", "evaluation", "export", "inference", "utils"),
    },
    {
        "commands": (
            *("checkpoint", "config", "data", "diagnostics", "engine", "evaluation", "export", "inference"),
            *("model_zoo", "planning", "reports", "run_reports", "utils", "verification", "version"),
        )
    },
]


def _ours(*packages: str) -> tuple[str, ...]:
    return tuple(f"{_PROJECT}.{package}" for package in packages)


MAY_IMPORT = {
    **{f"{_PROJECT}.{name}": _ours(name, *below) for floor in FLOORS for name, below in floor.items()},
    _PROJECT: _ours("config", "registration", "version"),  # the front door; everything else by name, when it is used
    "dino": ("dino", *_ours(*_HEAD)),
    "mask2former": ("mask2former", *_ours(*_HEAD)),
    "configs": (*LIBRARIES, "configs"),
    "train_net": _ours("commands"),
    "tools": (*LIBRARIES, "configs", "train_net", "tools"),
}


def absolute_base(path: Path, node: ast.ImportFrom) -> str:
    """What stands between `from` and `import`, without dots in front."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    start = package[: len(package) - node.level + 1] if node.level else []
    return ".".join([*start, *([node.module] if node.module else [])])


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of every import, wherever it stands; `from a import b` gives "a.b"."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute_base(path, node)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def under(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def package_of(module: str) -> str:
    """The row of `MAY_IMPORT` that a module belongs to."""
    return max((package for package in MAY_IMPORT if under(module, package)), key=len)


def allows(prefix: str, module: str) -> bool:
    """Whether a prefix in a row stands for this module; packages below it have rows of their own."""
    return under(module, prefix) and ("." not in prefix or len(package_of(module)) <= len(prefix))


def our_imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of the imports of what this project holds."""
    ours = {package.split(".")[0] for package in MAY_IMPORT}
    return ((line, module) for line, module in imported_modules(path) if module.split(".")[0] in ours)


def forbidden_imports(path: Path) -> list[str]:
    """Imports of ours that `MAY_IMPORT` does not allow in this file."""
    row = MAY_IMPORT[package_of(module_name(path))]
    return [
        f"{name_of(path)}:{line} imports {module}"
        for line, module in our_imports(path)
        if not any(allows(prefix, module) for prefix in row)
    ]


def top_package(module: str) -> str:
    """`focalnet_d2.data.mappers.base` -> "focalnet_d2.data", `dino.model` -> "dino"."""
    parts = module.split(".")
    return ".".join(parts[:2] if parts[0] == _PROJECT else parts[:1])


def misplaced_dots(path: Path) -> list[str]:
    """Imports that are absolute inside a package of ours, or relative across packages."""
    here = top_package(module_name(path))
    froms = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom))
    return [
        f"{name_of(path)}:{node.lineno}"
        for node in froms
        if (node.level > 0) != (top_package(absolute_base(path, node)) == here)
    ]


def package_graph() -> dict[str, set[str]]:
    """Which packages a package really imports."""
    graph = defaultdict(set)
    for path in python_files(*LIBRARIES, "configs"):
        here = package_of(module_name(path))
        graph[here] |= {there for _, module in our_imports(path) if (there := package_of(module)) != here}
    return graph


def floor_of(package: str) -> int:
    """Number of a package's floor, 0 for the ground."""
    if package in ("dino", "mask2former"):
        return floor_of(f"{_PROJECT}.modeling")
    if package == "configs":
        return floor_of(f"{_PROJECT}.model_zoo")
    if package == _PROJECT:
        return len(FLOORS)
    return next(n for n, floor in enumerate(FLOORS) if package.removeprefix(f"{_PROJECT}.") in floor)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "tests"])
def test_imports_point_in_one_direction(place):
    assert [breach for path in python_files(place) for breach in forbidden_imports(path)] == []


def test_every_package_has_a_row():
    folders = {path.parent.relative_to(ROOT).parts for path in python_files(_PROJECT)}
    packages = {".".join(parts[:2]) for parts in folders if len(parts) > 1}
    assert packages - set(MAY_IMPORT) == set()
    models = {".".join(parts) for parts in folders if parts[:2] == (_PROJECT, "modeling") and len(parts) == 3}
    assert models
    assert models - set(MAY_IMPORT) == set()


def test_packages_form_no_circle():
    order = list(TopologicalSorter(package_graph()).static_order())  # raises CycleError, which names the circle
    assert len(order) > 15


def test_the_parts_of_data_form_no_circle():
    """Its sub-packages and loose modules, so that each can be imported first."""
    graph, package = defaultdict(set), f"{_PROJECT}.data"
    for path in python_files(f"{_PROJECT}/data"):
        here, *others = (
            module.removeprefix(f"{package}.").split(".")[0]
            for module in (module_name(path), *(module for _, module in our_imports(path)))
            if under(module, package)
        )
        graph[here] |= {*others} - {here}
    assert len(list(TopologicalSorter(graph).static_order())) > 15  # raises CycleError, which names the circle


def test_no_import_runs_up_a_floor():
    graph = package_graph()
    breaches = [f"{a} imports {b}" for a, below in graph.items() for b in below if floor_of(a) < floor_of(b)]
    assert breaches == []


def test_imports_are_relative_inside_a_package_and_absolute_across():
    paths = [path for path in python_files(*LIBRARIES) if path.parent.name != _PROJECT]
    assert [breach for path in paths for breach in misplaced_dots(path)] == []


def test_an_import_inside_a_function_says_why():
    """In a comment on its line or the one above; all of `diagnostics` must run in a broken installation."""
    breaches = []
    for path in python_files(*LIBRARIES):
        if path.parent.name == "diagnostics":
            continue
        lines, tree = path.read_text(encoding="utf-8").splitlines(), tree_of(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and node not in tree.body:
                near = lines[node.lineno - 2] + "".join(lines[node.lineno - 1 : node.end_lineno])
                breaches += [] if "#" in near else [f"{name_of(path)}:{node.lineno}"]
    assert breaches == []


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("focalnet_d2/engine/trainer.py", "import dino.model", False),
        ("focalnet_d2/engine/trainer.py", "from configs.common import train", False),
        ("focalnet_d2/engine/trainer.py", "from focalnet_d2.data import loader", True),
        ("focalnet_d2/engine/trainer.py", "from focalnet_d2.modeling import base", False),
        ("focalnet_d2/engine/trainer.py", "import focalnet_d2", False),
        ("focalnet_d2/layers/mlp.py", "from ..modeling import base", False),
        ("focalnet_d2/layers/mlp.py", "from focalnet_d2 import data", False),
        ("focalnet_d2/layers/mlp.py", "from . import box_ops", True),
        ("focalnet_d2/modeling/base.py", "from .atss import model", False),
        ("focalnet_d2/modeling/atss/model.py", "from ..base import ImageModel", True),
        ("focalnet_d2/modeling/atss/model.py", "from ..rcnn import model", False),
        ("focalnet_d2/set_prediction/costs.py", "def f():\n    from focalnet_d2.engine import hooks", False),
        ("focalnet_d2/set_prediction/costs.py", "from focalnet_d2.layers.box_ops import box_area", True),
        ("dino/model.py", "from mask2former.model import MaskFormer", False),
        ("dino/model.py", "import focalnet_d2.layers.mlp", True),
        ("dino/model.py", "import focalnet_d2.engine.run", False),
        ("configs/dino_focalnet_tiny.py", "from .common.train import train", True),
        ("configs/dino_focalnet_tiny.py", "import train_net", False),
    ],
)
def test_the_import_rule_tells_right_from_wrong(tmp_path, monkeypatch, file, line, allowed):
    monkeypatch.setattr("tests.syntax_trees.ROOT", tmp_path)
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line, encoding="utf-8")
    assert (forbidden_imports(path) == []) is allowed


def test_shared_code_names_no_module_of_a_head():
    """Not in strings either: what is imported by name is still an import."""
    dotted = re.compile(r"(dino|mask2former|configs)(\.\w+)+")
    breaches = [
        f"{name_of(path)}:{node.lineno} {node.value!r}"
        for path in python_files("focalnet_d2")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and dotted.fullmatch(node.value)
    ]
    assert [b for b in breaches if not b.endswith((".py'", ".yaml'"))] == []
