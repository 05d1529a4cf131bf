"""Syntax trees of this project's files, for tests of what stands in them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("focalnet_d2", "dino", "mask2former")
PLACES = (*LIBRARIES, "configs", "tools", "tests", "train_net.py")


def python_files(*places: str) -> list[Path]:
    """Python files below these places of the repository, those that exist."""
    found = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """`dino/model.py` -> "dino.model"; the package itself for `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """Parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef, list[ast.stmt]]]:
    """Every function and its statements without the docstring."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, node.body[1:] if ast.get_docstring(node) is not None else node.body


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
