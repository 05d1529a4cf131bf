"""FocalNet backbones and what every detector and segmenter here shares, on Detectron2.

    import focalnet_d2

    prediction = focalnet_d2.Predictor("output/mine/model_best.pth")("image.jpg")
    model = focalnet_d2.load_model("dino_focalnet_mini_quickstart", weights="dino_focalnet_mini_day.safetensors")

The names below are imported when they are first used. Importing the package imports neither torch nor Detectron2, and
yet makes our data sets, backbones and meta-architecture known to Detectron2 as soon as it is imported, before or after
(`registration.py`). If that fails, the first use of a name below raises the reason.
"""

from importlib import import_module
from typing import Any

from .config.old_imports import install_import_aliases
from .registration import register, register_when_imported
from .version import __version__ as __version__

__all__ = [
    "FocalNet",
    "Predictor",
    "list_recipes",
    "load_checkpoint",
    "load_model",
    "load_recipe",
    "recipe_to_cfg",
]

_HOMES = {
    "FocalNet": "focalnet_d2.backbone.focalnet",
    "Predictor": "focalnet_d2.inference.predictor",
    "list_recipes": "focalnet_d2.config.lazy",
    "load_checkpoint": "focalnet_d2.checkpoint",
    "load_model": "focalnet_d2.inference.loading",
    "load_recipe": "focalnet_d2.config.lazy",
    "recipe_to_cfg": "focalnet_d2.yacs",
}


def __getattr__(name: str) -> Any:
    """A name of `__all__` from the module that defines it; after that the package has it itself."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register()
    globals()[name] = getattr(import_module(_HOMES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


install_import_aliases()
register_when_imported()
