"""Enters our data sets, backbones and meta-architecture in Detectron2's registries, or says how to get Detectron2.

Whoever has imported `focalnet_d2` finds our names in Detectron2's catalogs and registries, in whatever order both were
imported, and yet `import focalnet_d2` alone imports neither torch nor Detectron2: a finder of `sys.meta_path` notes
when Detectron2's `data` or `modeling` has been imported and then imports the module of ours that registers there.
"""

import importlib
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

# For each package of Detectron2 that holds registries, the module of ours that enters our names there when imported.
REGISTERING_MODULES = {"detectron2.data": "focalnet_d2.data.datasets", "detectron2.modeling": "focalnet_d2.yacs"}

COMPILE_DETECTRON2 = (
    f"{sys.executable} -m pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2"
)
INSTALL_DETECTRON2 = f"""\
install its Python sources, for which no compiler is needed:
    {sys.executable} -m pip install uv
    {sys.executable} -m uv pip install --python {sys.executable} --no-deps --python-version 3.10 \
sal-detectron2==0.7.2
or upstream, which git and a C++ compiler are needed for:
    {COMPILE_DETECTRON2}"""

_logger = logging.getLogger(__name__)


def register() -> None:
    """Import Detectron2 and the modules that enter our names in its catalogs and registries; safe to repeat.

    Raises:
        ImportError: Detectron2 is not installed; the message holds the commands that install it.
        Exception: whatever makes the import of one of those modules fail.
    """
    with _saying_how_to_install():
        importlib.import_module("detectron2")
    for module in REGISTERING_MODULES.values():
        importlib.import_module(module)


def register_when_imported() -> None:
    """Register now with what is imported of Detectron2, and with the rest as soon as somebody imports it."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.register_where_possible()


@contextmanager
def _saying_how_to_install() -> Iterator[None]:
    """An import of Detectron2 that finds none says what to type."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "detectron2":
            raise
        message = f"focalnet_d2 needs Detectron2, which is not installed; {INSTALL_DETECTRON2}"
        raise ImportError(message, name="detectron2") from None


class _ThreadState(threading.local):
    """What one thread is doing: how many watched imports are open in it, and whether it asks the other finders."""

    open_imports = 0
    is_searching = False


class _RegistrationFinder:
    """A finder that finds what the others find, and notes the end of each import of Detectron2's modules and of ours.

    Registration waits for the end of the outermost of them. Any that is still open may be in the middle of a module
    that registration needs: `detectron2.engine` imports `detectron2.modeling`, and our own modules import both.
    """

    def __init__(self):
        self._pending = dict(REGISTERING_MODULES)
        self._imported: set[str] = set()
        self._thread = _ThreadState()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec that the other finders have, with a loader that tells when the module has been executed."""
        is_watched = name.partition(".")[0] in ("detectron2", "focalnet_d2")
        if not (self._pending and is_watched) or self._thread.is_searching:
            return None
        spec = self._ask_others(name, path, target)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast(Any, _WatchedLoader(spec, spec.loader, self))  # it has what a loader has
        return spec

    def _ask_others(self, name: str, path: Any, target: ModuleType | None) -> ModuleSpec | None:
        self._thread.is_searching = True
        try:
            others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            specs = (finder.find_spec(name, path, target) for finder in others)
            return next((spec for spec in specs if spec is not None), None)
        finally:
            self._thread.is_searching = False

    @contextmanager
    def importing(self, name: str) -> Iterator[None]:
        """Around the execution of a watched module."""
        self._thread.open_imports += 1
        try:
            yield
            self._imported.add(name)
        finally:
            self._thread.open_imports -= 1
            self.register_where_possible()

    def register_where_possible(self) -> None:
        """Register with the packages of Detectron2 that are imported, unless this thread is within an import."""
        if self._thread.open_imports:
            return
        self._thread.open_imports += 1  # what is imported now must not lead back here
        try:
            for package in [package for package in self._pending if self._is_imported(package)]:
                _import_or_warn(self._pending.pop(package, REGISTERING_MODULES[package]))
        finally:
            self._thread.open_imports -= 1

    def _is_imported(self, package: str) -> bool:
        """Whether a package has been executed to its end; a package that is being imported is in sys.modules, too."""
        spec = getattr(sys.modules.get(package), "__spec__", None)
        return package in self._imported or (spec is not None and not getattr(spec, "_initializing", False))


class _WatchedLoader:
    """Stands in for a module's own loader until the module is executed."""

    def __init__(self, spec: ModuleSpec, loader: Any, finder: _RegistrationFinder):
        self._spec, self._loader, self._finder = spec, loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module that the own loader makes."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module and leave it with its own loader."""
        self._spec.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        with self._finder.importing(self._spec.name), _saying_how_to_install():
            self._loader.exec_module(module)


def _import_or_warn(module: str) -> None:
    """Import a module; what fails here must not make the import of Detectron2 fail that led here.

    Nothing is lost by that: `register`, and with it the first use of the package, imports again and raises.
    """
    try:
        importlib.import_module(module)
    except Exception as error:
        _logger.warning("The names of focalnet_d2 are not in Detectron2's registries: %s", error)


_finder = _RegistrationFinder()
