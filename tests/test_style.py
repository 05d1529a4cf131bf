"""What never stands in the code base, how long its pieces are, and what docstrings say."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from focalnet_d2.commands.main import COMMANDS
from tests.syntax_trees import LIBRARIES, PLACES, ROOT, calls, functions, module_name, name_of, python_files, tree_of

MAX_FILE, MAX_FUNCTION, MAX_FORWARD, MAX_RECIPE = 400, 45, 40, 30
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|mnt|scratch|work)/\w")
GENERATED = ("output", "build", "dist", "datasets")
TEXTS = (".py", ".md", ".cfg", ".toml", ".txt", ".sh", ".yml", ".yaml", ".json", "")
SHAPE = re.compile(
    r"\((?:\.{3}|\w[\w*+/ .-]*)\s*,[^()]*\)|\bscalars?\b|\b(?:any|one|that|same|its|equal) shapes?\b", re.IGNORECASE
)


def test_the_walk_sees_the_packages():
    assert len(python_files("focalnet_d2")) > 30
    assert len(python_files("dino")) >= 8
    assert (ROOT / "train_net.py") in python_files(*PLACES)


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
    """Only the subcommands of `focalnet-d2` and the check of kernels on a card talk to a terminal."""
    commands = {command.module for command in COMMANDS.values()} | {"focalnet_d2.kernels.gpu_check"}
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
