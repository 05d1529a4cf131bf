"""From the tensors of an exported model to results, with numpy alone: one module for each kind of tensors.

Each has `decode(outputs, settings, sizes) -> dict`: the tensors of one image by name, what `export_settings` of the
model says, and the image's sizes (`Sizes`) -> the fields of a `Result` that the model predicts. A module
that also has `windows(image_size, settings)` gets the tensors of these windows by `decode_windows`.
"""

import pkgutil
from importlib import import_module
from typing import Any


def decoder(name: str) -> Any:
    """The module of that name.

    Raises:
        ValueError: there is no such module.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise ValueError(
            f"The decoder {name!r} of the file is none of {', '.join(known)}: a newer focalnet-d2 wrote it."
        )
    return import_module(f"{__name__}.{name}")
