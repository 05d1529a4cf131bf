"""The rules of the code base that a syntax tree shows: who imports whom, sizes, and what never stands in it."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from focalnet_d2.commands.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("focalnet_d2", "dino", "mask2former")
PLACES = (*LIBRARIES, "configs", "tools", "tests", "train_net.py")

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
        "set_prediction": ("kernels", "layers"),
        "evaluation": ("data", "kernels", "structures", "utils"),
    },
    {"checkpoint": ("backbone", "utils")},
    {
        "diagnostics": ("config", "data", "kernels", "registration"),
        "engine": ("checkpoint", "config", "data", "evaluation", "kernels", "utils", "version"),
        "inference": ("checkpoint", "config", "data", "engine", "structures", "utils"),
        "reports": ("data", "evaluation", "structures", "utils"),
    },
    {"modeling": ("checkpoint", "kernels"), **dict.fromkeys(_MODELS, _HEAD)},
    {
        "yacs": ("backbone", "checkpoint", "config", "engine", "inference"),
        "model_zoo": ("backbone", "checkpoint", "config", "inference", "modeling", "utils"),
    },
    {
        "commands": (
            *("checkpoint", "config", "data", "diagnostics", "engine", "evaluation", "inference", "model_zoo"),
            *("reports", "utils", "version"),
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
MAX_FILE, MAX_FUNCTION, MAX_FORWARD, MAX_RECIPE = 400, 45, 40, 30
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|mnt|scratch|work)/\w")
GENERATED = ("output", "build", "dist", "datasets")
TEXTS = (".py", ".md", ".cfg", ".toml", ".txt", ".sh", ".yml", ".yaml", ".json", "")


def python_files(*places: str) -> list[Path]:
    """Python files below these places of the repository, those that exist."""
    found = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    """`dino/model.py` -> "dino.model"; the package itself for `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef, list[ast.stmt]]]:
    """Every function and its statements without the docstring."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, node.body[1:] if ast.get_docstring(node) is not None else node.body


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))


def test_the_walk_sees_the_packages():
    assert len(python_files("focalnet_d2")) > 30
    assert len(python_files("dino")) >= 8
    assert (ROOT / "train_net.py") in python_files(*PLACES)


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
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
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


def test_no_tensor_is_sent_to_cuda_by_name():
    """`.cuda()` breaks CPU and MPS: device and dtype come from the input."""
    breaches = [
        f"{name_of(path)}:{call.lineno}"
        for path in python_files(*PLACES)
        for call in calls(path)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "cuda"
    ]
    assert breaches == []


def test_no_bare_except():
    breaches = [
        f"{name_of(path)}:{node.lineno}"
        for path in python_files(*PLACES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert breaches == []


def test_libraries_log_and_do_not_print():
    """Only the subcommands of `focalnet-d2` talk to a terminal."""
    commands = {command.module for command in COMMANDS.values()}
    breaches = [
        f"{name_of(path)}:{call.lineno}"
        for path in python_files(*LIBRARIES, "configs")
        if module_name(path) not in commands
        for call in calls(path)
        if isinstance(call.func, ast.Name) and call.func.id in ("print", "breakpoint")
    ]
    assert breaches == []


def test_files_are_short():
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(*PLACES)}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE} == {}


def test_functions_are_short():
    too_long = {}
    for path in python_files(*PLACES):
        for node, body in functions(path):
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if length > (MAX_FORWARD if node.name == "forward" else MAX_FUNCTION):
                too_long[f"{name_of(path)}:{node.lineno} {node.name}"] = length
    assert too_long == {}


def test_no_function_stands_twice():
    places = defaultdict(list)
    for path in python_files(*LIBRARIES, "tools", "train_net.py"):
        for node, body in functions(path):
            if body and body[-1].end_lineno - body[0].lineno >= 3:
                places[ast.dump(ast.Module(body, []))].append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert [same for same in places.values() if len(same) > 1] == []


def test_recipes_are_short_and_hold_no_code():
    recipes = sorted((ROOT / "configs").glob("*.py"))
    assert recipes
    for path in recipes:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_RECIPE, name_of(path)
        code = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.Lambda)]
        assert code == [], name_of(path)


def text_files() -> Iterator[Path]:
    """What a person would read: sources, documents and settings, not data, caches or virtual environments."""
    for top in sorted(ROOT.iterdir()):
        if top.name in GENERATED or (top.name.startswith(".") and top.name not in (".ci", ".gitignore")):
            continue
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts:
                yield path


def test_no_path_of_a_machine():
    breaches = []
    for path in text_files():
        if path == Path(__file__).resolve() or path.stat().st_size > 1_000_000:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line):
                breaches.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert breaches == []


SHAPE = re.compile(
    r"\((?:\.{3}|\w[\w*+/ .-]*)\s*,[^()]*\)|\bscalars?\b|\b(?:any|one|that|same|its|equal) shapes?\b", re.IGNORECASE
)


def tensor_functions(path: Path) -> Iterator[ast.FunctionDef]:
    """Every `forward`, and the public functions that take or return tensors or arrays."""

    def inside(node: ast.AST, is_private: bool) -> Iterator[ast.FunctionDef]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from inside(child, is_private or child.name.startswith("_"))
            elif isinstance(child, ast.FunctionDef):
                head = " ".join(map(ast.unparse, (child.args, child.returns) if child.returns else (child.args,)))
                is_public = not is_private and not child.name.startswith("_")
                if child.name == "forward" or (is_public and re.search(r"\bTensor\b|\bndarray\b", head)):
                    yield child

    return inside(tree_of(path), False)


def test_functions_of_tensors_state_shapes():
    breaches = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files(*LIBRARIES)
        for node in tensor_functions(path)
        if not SHAPE.search(ast.get_docstring(node) or "")
    ]
    assert breaches == []
