"""From a checkpoint alone to a file that other runtimes run; what `focalnet-d2 export` does."""

import os
from pathlib import Path

from focalnet_d2.config.building import build
from focalnet_d2.inference.options import check_threshold
from focalnet_d2.inference.thresholds import DEFAULT
from focalnet_d2.inference.trained import load_trained

from .describing import describe
from .exporting import EXAMPLE, Written, export_model
from .formats import Traced, format_named
from .quantization import export_quantized


def export_checkpoint(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike | None = None,
    *,
    recipe: str | Path | None = None,
    format: str = "onnx",
    size: tuple[int, int] | None = None,
    batch_size: int | None = None,
    half: bool = False,
    calibration: str | os.PathLike | None = None,
    threshold: float | None = None,
    trust: bool = False,
) -> Written:
    """Write what a checkpoint holds in a format that other runtimes run.

    Args:
        out: file to write; by default named like the checkpoint, beside it.
        recipe: name or path, for a file that holds none.
        format: a name of `FORMATS`.
        size, batch_size: (height, width) and number of the only images that the file takes; by default it takes any.
        half: store the weights in 16 bits.
        calibration: folder of images, for 8-bit integers whose ranges are those of these images.
        threshold: lowest score of an object, by default those that the checkpoint keeps, or 0.5.
        trust: the recipe may build anything (see `load_recipe`).

    Raises:
        FileNotFoundError, ImportError, ValueError: see `load_trained`, `describe` and `export_model`.
    """
    chosen = format_named(format)
    check_threshold(threshold)
    if half and calibration is not None:
        raise ValueError("A file has either 16-bit weights or 8-bit integers: leave out --half or --int8.")
    if batch_size is not None and size is None:
        raise ValueError("--batch is for files of one image size: give that, too, as --size 800x1333.")
    model, loaded, classes, kept = load_trained(checkpoint, recipe, trust=trust)
    mapper = build(loaded.dataloader.test.mapper, "dataloader.test.mapper")
    lowest = (kept or DEFAULT) if threshold is None else threshold
    about = describe(model.eval(), mapper, classes, threshold=lowest)
    traced = EXAMPLE if size is None else Traced(batch_size or 1, size, dynamic=False)
    path = Path(out) if out is not None else Path(checkpoint).with_suffix(chosen.ending)
    if path.suffix != chosen.ending:
        raise ValueError(f"{path} must end in {chosen.ending}, as files of the format {format} do.")
    if calibration is not None:
        return export_quantized(model, path, about, Path(calibration), format=format, traced=traced)
    return export_model(model, path, about, format=format, traced=traced, half=half)
