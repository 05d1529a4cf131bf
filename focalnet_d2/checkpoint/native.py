"""Our own files: they have the model's names and note the settings that no shape shows."""

from collections.abc import Sequence

from .focalnet_architecture import FOCALNET_SETTINGS, recorded_settings
from .layout import ArchitectureCheck, ClassRows, Layout, holds, rename


def native_layout(
    *patterns: str, focalnet: str, checks: Sequence[ArchitectureCheck], classes: ClassRows, others: Sequence[str] = ()
) -> Layout:
    """The layout of our files of one kind of model.

    Args:
        patterns: names by which such a file is known; each is in it.
        focalnet: prefix of the model's FocalNet.
        checks, classes: see `Layout`.
        others: settings that the file notes beside those of the FocalNet.
    """
    return Layout(
        "focalnet_d2",
        recognize=lambda names, state: holds(names, *patterns),
        rules=lambda model, names: (rename("*"),),
        checks=tuple(checks),
        settings=lambda model, state, metadata: recorded_settings(state, metadata, focalnet, others=others),
        classes=classes,
        recorded_settings=(*others, *(focalnet + name for name in FOCALNET_SETTINGS)),
    )
