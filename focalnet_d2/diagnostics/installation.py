"""Checks of what is installed: Python, the declared packages, Detectron2, and what this package brings."""

import configparser
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from focalnet_d2.registration import COMPILE_DETECTRON2, INSTALL_DETECTRON2, register

from .check import FAILS, FALLBACK, OK, Check, import_problem, installed_version

DISTRIBUTION = "focalnet-d2"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
DETECTRON2_RANGE = SpecifierSet(">=0.6")

PANOPTICAPI = "panopticapi-lite"
IMPORT_NAMES = {"pillow": "PIL"}  # of the packages below whose import name is not their own
COMPILED = ("numpy", "pillow", "pycocotools", "safetensors", "scipy", "torch", "torchvision")  # imported to be sure


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> list[Check]:
    """The interpreter against the versions that the tests run on."""
    detail = f"{platform.python_version()}, {sys.executable}"
    if version < OLDEST_PYTHON:
        return [Check("python", FAILS, detail, "make a virtual environment with Python 3.10 to 3.13")]
    if version > NEWEST_PYTHON:
        return [Check("python", FALLBACK, f"{detail}: newer than tested", "if something breaks, use Python 3.13")]
    return [Check("python", OK, detail)]


def declared_requirements() -> list[Requirement]:
    """What setup.cfg asks for on this Python, without extras: as installed, else from the file."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        parser = configparser.ConfigParser()
        parser.read(Path(__file__).resolve().parents[2] / "setup.cfg", encoding="utf-8")
        text = parser.get("options", "install_requires", fallback="")
        lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]


def check_packages(requirements: Iterable[Requirement] | None = None) -> list[Check]:
    """Every declared package: there, inside its range, importable where it holds compiled code."""
    requirements = declared_requirements() if requirements is None else requirements
    return [check_package(one) for one in requirements if one.name != PANOPTICAPI]


def check_package(wanted: Requirement) -> Check:
    """One declared package."""
    supported = f"supported: {wanted.specifier or 'any'}"
    fix = f'{sys.executable} -m pip install "{wanted.name}{wanted.specifier}"'
    version = installed_version(wanted.name)
    if version is None:
        return Check(wanted.name, FAILS, f"not installed ({supported})", fix)
    if not wanted.specifier.contains(version, prereleases=True):
        return Check(wanted.name, FAILS, f"{version} is outside the supported range ({supported})", fix)
    problem = wanted.name in COMPILED and import_problem(IMPORT_NAMES.get(wanted.name, wanted.name))
    if problem:
        return Check(wanted.name, FAILS, f"{version} is installed but broken: {problem}", f"{fix} --force-reinstall")
    return Check(wanted.name, OK, f"{version} ({supported})")


def check_panopticapi() -> list[Check]:
    """The scorer of panoptic results; its package carries two names and outdated metadata."""
    version = installed_version(PANOPTICAPI, "panopticapi")
    problem = import_problem("panopticapi.utils")
    if not problem:
        return [Check("panopticapi", OK, f"{version}")]
    fix = f"{sys.executable} -m pip install --no-deps {PANOPTICAPI}"
    return [Check("panopticapi", FALLBACK, f"no panoptic quality, all else works ({problem})", fix)]


def check_detectron2() -> list[Check]:
    """Detectron2's Python part."""
    problem = import_problem("detectron2")
    if problem:
        return [Check("detectron2", FAILS, problem, INSTALL_DETECTRON2)]
    import detectron2

    version, source = detectron2.__version__, Path(detectron2.__file__).parent
    supported = f"supported: {DETECTRON2_RANGE}"
    if not DETECTRON2_RANGE.contains(version, prereleases=True):
        return [Check("detectron2", FAILS, f"{version} ({supported})", INSTALL_DETECTRON2)]
    return [Check("detectron2", OK, f"{version} ({supported}), {source}")]


def check_compiled_detectron2() -> list[Check]:
    """Detectron2's compiled operators, which nothing here needs."""
    name = "detectron2._C"
    if import_problem("detectron2"):
        return []
    problem = import_problem(name)
    if not problem:
        return [Check(name, OK, "compiled operators are there; nothing in this project needs them")]
    absent = importlib.util.find_spec(name) is None
    reason = "not compiled" if absent else f"made for another Python or torch ({problem})"
    without = "no rotated boxes, no deformable convolution, COCO scoring by pycocotools"
    fix = f"none is needed; to have it, with git and a C++ compiler: {COMPILE_DETECTRON2}"
    return [Check(name, FALLBACK, f"{reason}: {without}; nothing in this project needs it", fix)]


def check_registration() -> list[Check]:
    """Whether our names arrive in Detectron2's registries."""
    register()
    from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

    backbones = [name for name, _ in BACKBONE_REGISTRY if "focalnet" in name.lower()]
    architecture = "LazyConfigModel"
    if not backbones or architecture not in META_ARCH_REGISTRY:
        return [
            Check(
                "registration",
                FAILS,
                f"backbones {backbones}, {architecture} missing",
                "reinstall focalnet-d2",
            )
        ]
    return [Check("registration", OK, f"{', '.join(backbones)}, {architecture}")]


def check_recipes() -> list[Check]:
    """Whether the recipes were installed with the package."""
    from focalnet_d2.config.lazy import list_recipes, recipe_folder

    names = list_recipes()
    if not names:
        return [Check("recipes", FAILS, f"none in {recipe_folder()}", "reinstall focalnet-d2")]
    return [Check("recipes", OK, f"{len(names)} in {recipe_folder()}")]


# What each extra is for; those that only this project's own tests and checks need are left out.
EXTRAS = {
    "albumentations": "pipelines of augmentations",
    "predict": "pictures of predictions, videos",
    "tracking": "numbers of objects through videos",
    "geo": "georeferenced images",
    "tiff": "images of other channels in TIFF",
    "export": "ONNX and OpenVINO files",
    "runtime": "exported models without torch",
    "fast-eval": "faster reading and scoring",
    "classification": "augmentation of classifiers",
    "wandb": "train.loggers=[wandb]",
    "mlflow": "train.loggers=[mlflow]",
    "test-time-augmentation": "fusion of boxes of several scales",
}


def check_extras() -> list[Check]:
    """Which optional packages are there, a check for each extra of the package."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        return []
    optional = [one for one in map(Requirement, lines) if one.marker and not one.marker.evaluate({"extra": ""})]
    wanted = {extra: _names(optional, extra) for extra in EXTRAS}
    return [_check_extra(extra, names) for extra, names in wanted.items() if names]  # an old install may lack some


def _names(optional: Iterable[Requirement], extra: str) -> list[str]:
    return [one.name for one in optional if one.marker and one.marker.evaluate({"extra": extra})]


def _check_extra(extra: str, names: Sequence[str]) -> Check:
    purpose = EXTRAS[extra]
    if absent := [name for name in names if not installed_version(name)]:
        without = f"{', '.join(absent)} missing: no {purpose}"
        return Check(extra, FALLBACK, without, f"pip install 'focalnet-d2[{extra}]'")
    return Check(extra, OK, f"{', '.join(names)}: {purpose}")
