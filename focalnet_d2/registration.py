"""Enters our data sets, backbones and meta-architecture in Detectron2's registries, or says how to get it."""

import importlib
import itertools
import sys
from pathlib import PurePath

REGISTERING_MODULES = ("focalnet_d2.data.datasets", "focalnet_d2.yacs")

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


def register() -> None:
    """Import the modules that enter our names in Detectron2's catalogs and registries; safe to repeat.

    Raises:
        ImportError: Detectron2 is not installed; the message holds the commands that install it.
    """
    try:
        importlib.import_module("detectron2")
    except ModuleNotFoundError as error:
        if error.name != "detectron2":
            raise
        raise ImportError(f"focalnet_d2 needs Detectron2, which is not here; {INSTALL_DETECTRON2}") from None
    for name in REGISTERING_MODULES:
        importlib.import_module(name)


def is_doctor_process() -> bool:
    """Whether Python was started as `python -m focalnet_d2.commands.doctor` or `focalnet-d2 doctor`."""
    if ("-m", "focalnet_d2.commands.doctor") in itertools.pairwise(sys.orig_argv):
        return True
    return PurePath(sys.argv[0]).stem == "focalnet-d2" and sys.argv[1:2] == ["doctor"]
