"""Imports of 0.1.0 (`moved.py`) that still work: finders of moved modules and of modules with renamed contents."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from .moved import MODULES, old_attributes, warn_once


class MovedModule(InspectLoader):
    """Loads the module of today under its old name: both names are one module."""

    def __init__(self, old: str) -> None:
        self.old = old
        self.new = MODULES[old]

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today in the place of the empty `module`."""
        warn_once(self.old, self.new, DeprecationWarning)
        sys.modules[self.old] = importlib.import_module(self.new)

    def get_code(self, fullname: str) -> CodeType:
        """What `python -m OLD` runs."""
        warn_once(f"python -m {self.old.removesuffix('.__main__')}", f"python -m {self.new}")
        code = f"import runpy\nrunpy.run_module({self.new!r}, run_name='__main__', alter_sys=True)"
        return compile(code, f"<python -m {self.new}>", "exec")

    def get_source(self, fullname: str) -> None:
        """The text stands under the name of today."""


class MovedModules(MetaPathFinder):
    """Finds what no other finder has found, by its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, MovedModule(fullname)) if fullname in MODULES else None


class LoaderWithOldNames(SourceFileLoader):
    """Loads a module as ever and lets it answer to the old names of its contents."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then give it `__getattr__`."""
        super().exec_module(module)
        answer_to_old_names(module, RenamedContents.old_names[module.__name__])


class RenamedContents(MetaPathFinder):
    """Comes before the other finders for the modules whose contents have old names."""

    old_names = old_attributes()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.old_names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = LoaderWithOldNames(spec.loader.name, spec.loader.path)
        return spec


def answer_to_old_names(module: ModuleType, names: dict[str, str]) -> None:
    """Give a module that has no `__getattr__` one that finds its contents by old names (`{old: full new name}`)."""

    def find_by_old_name(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module '{module.__name__}' has no attribute '{name}'")
        home, _, new = names[name].rpartition(".")
        warn_once(f"{module.__name__}.{name}", names[name], DeprecationWarning)
        return getattr(importlib.import_module(home), new)

    module.__dict__.setdefault("__getattr__", find_by_old_name)


def install_import_aliases() -> None:
    """Let imports of 0.1.0 work in this process, each with one DeprecationWarning; safe to repeat."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, RenamedContents())
        sys.meta_path.append(MovedModules())
