"""Image files of any number of channels, for tests."""

from pathlib import Path

import numpy as np
import tifffile

from focalnet_d2.data.channels import ChannelFormat


def write_tiff(path: Path, values: np.ndarray, **options) -> Path:
    """(H, W, C) as one image whose channels lie together, unless the options say otherwise."""
    planes = {} if values.shape[-1] == 1 else {"planarconfig": "contig"}
    tifffile.imwrite(path, values.squeeze(), **({"photometric": "minisblack"} | planes | options))
    return path


def noise(*shape: int, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Values over most of the range of a type; floats from 0 to 1."""
    random = np.random.RandomState(seed)
    if dtype == "float32":
        return random.rand(*shape).astype(np.float32)
    limits = np.iinfo(dtype)
    return random.randint(limits.min, limits.max, shape).astype(dtype)


def channel_format(dtype: str = "uint16", stored: int = 5, channels=None, **fields) -> ChannelFormat:
    """A format whose means and stds are those of `noise`, roughly."""
    channels = tuple(range(stored)) if channels is None else channels
    mean, std = (0.5, 0.29) if dtype == "float32" else (0, 19000) if dtype == "int16" else (30000, 19000)
    if dtype == "uint8":
        mean, std = 127, 74
    values = {"mean": (mean,) * len(channels), "std": (std,) * len(channels)} | fields
    return ChannelFormat(dtype, stored, channels, **values)
