"""Images of other channels than 8-bit red, green and blue: what their files hold, and what the network gets of it.

Values are those of the file, in its own units: nothing is scaled on reading. So an image of another type or another
number of channels than those of the training is refused, and never guessed at. Numpy and Pillow only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

DTYPES = ("uint8", "uint16", "int16", "float32")
_SPREAD = 2  # standard deviations around the mean, from black to white of a picture


@dataclass(frozen=True)
class ChannelFormat:
    """The channels of images, N of the `stored` ones.

    Attributes:
        dtype: type of the values, one of `DTYPES`.
        stored: channels of a file.
        channels: numbers of the N that are used, in their order; a file's first channel is 0.
        mean, std: of each of them over the training data, in the file's units.
        rgb: numbers of red, green and blue, which must be among `channels`; () where they are unknown.

    Raises:
        ValueError: values that do not fit each other.
    """

    dtype: str
    stored: int
    channels: Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]
    rgb: Sequence[int] = ()

    def __post_init__(self):
        for name in ("channels", "mean", "std", "rgb"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # of a recipe's list
        if self.dtype not in DTYPES:
            raise ValueError(f"Values of type {self.dtype} cannot be used: it must be one of {', '.join(DTYPES)}.")
        if outside := [one for one in self.channels if not 0 <= one < self.stored] or not self.channels:
            raise ValueError(f"There is no channel {outside} among {self.stored}: the first is number 0.")
        if not len(self.mean) == len(self.std) == len(self.channels) or not min(self.std) > 0:
            raise ValueError(
                f"The means {list(self.mean)} and stds {list(self.std)} must be one for each of {len(self.channels)} "
                "channels, and each std above 0."
            )
        if self.rgb and (len(self.rgb) != 3 or not set(self.rgb) <= set(self.channels)):
            raise ValueError(f"Red, green and blue are {list(self.rgb)}: they must be three of {list(self.channels)}.")

    @classmethod
    def of_image(cls, values: np.ndarray) -> "ChannelFormat":
        """That of an image (H, W, C) alone, so that it can be looked at."""
        pixels = values.reshape(-1, values.shape[2])
        std = np.maximum(pixels.std(axis=0, dtype=np.float64), 1e-9)
        mean = pixels.mean(axis=0, dtype=np.float64)
        return cls(values.dtype.name, values.shape[2], range(values.shape[2]), mean.tolist(), std.tolist())

    def __str__(self) -> str:
        used = "" if self.channels == tuple(range(self.stored)) else f", of which {list(self.channels)} are used"
        return f"{channel_words(self.stored, self.dtype)}{used}"

    @property
    def rgb_places(self) -> tuple[int, ...]:
        """Where red, green and blue are among the N channels; () where they are unknown."""
        return tuple(self.channels.index(one) for one in self.rgb)

    def select(self, values: np.ndarray, name: str) -> np.ndarray:
        """(H, W, stored) -> (H, W, N) of the same type.

        Args:
            name: of the image, for messages.

        Raises:
            ValueError: another type or number of channels, or values that are no numbers.
        """
        if (values.dtype.name, values.shape[2]) != (self.dtype, self.stored):
            raise ValueError(
                f"The image {name} has {channel_words(values.shape[2], values.dtype.name)}, but {self} are wanted, as "
                "the model was trained on: convert it to the values and the order of the training images."
            )
        chosen = np.ascontiguousarray(values[..., self.channels])
        check_finite(chosen, f"The image {name}")
        return chosen

    def picture(self, values: np.ndarray) -> np.ndarray:
        """(H, W, N) -> (H, W, 3) uint8, to be looked at: red, green and blue, or the first channels.

        Values of other types than uint8 are stretched: black and white are two standard deviations below and above the
        mean.
        """
        count = len(self.channels)
        places = list(self.rgb_places or (range(3) if count >= 3 else [0] * 3))
        shown = values[..., places]
        if self.dtype == "uint8":
            return np.ascontiguousarray(shown)
        mean, std = (np.array(numbers, np.float32)[places] for numbers in (self.mean, self.std))
        shares = (shown - (mean - _SPREAD * std)) / (2 * _SPREAD * std)
        return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


ImageFormat = str | ChannelFormat  # "RGB" or "BGR" of 8 bits, or other channels


def channel_words(count: int, dtype: str) -> str:
    """`5 channels of uint16`."""
    return f"{count} channel{'s' * (count != 1)} of {dtype}"


def check_finite(values: np.ndarray, what: str) -> None:
    """Raises ValueError where values of any shape and type are NaN or infinite.

    Args:
        what: has them, for the message.
    """
    if values.dtype.kind == "f" and (count := np.count_nonzero(~np.isfinite(values))):
        raise ValueError(f"{what} has pixels that are NaN or infinite ({count} values): fill them, with 0 for example.")


def in_known_type(values: np.ndarray, name: str) -> np.ndarray:
    """Values of any shape in one of `DTYPES`: as they are, other floats as float32.

    Raises:
        ValueError: a type whose values have no such form.
    """
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "f":
        return native.astype(np.float32, copy=False)
    if native.dtype.name not in DTYPES:
        raise ValueError(
            f"The image {name} has values of type {native.dtype}, which cannot be used: save it as one "
            f"of {', '.join(DTYPES)}."
        )
    return native


def resize_channels(values: np.ndarray, size: tuple[int, int], resampling: int) -> np.ndarray:
    """(H, W, N) -> (h, w, N) of the same type, each channel as Pillow resizes a gray image.

    Of 8 bits this is what Pillow makes of red, green and blue. Other values are resized as float32 by the same filter,
    which looks at all pixels where an image shrinks, and are rounded where they are whole numbers.

    Args:
        size: (h, w).
        resampling: Pillow's number of a filter.
    """
    if values.shape[:2] == tuple(size):
        return values
    resized = np.empty((*size, values.shape[2]), values.dtype)
    for channel in range(values.shape[2]):
        image = gray_image(values[..., channel]).resize((size[1], size[0]), Image.Resampling(resampling))
        resized[..., channel] = in_type(np.asarray(image), values.dtype)
    return resized


def gray_image(plane: np.ndarray) -> Image.Image:
    """(H, W) as Pillow computes with it: 8 bits as they are, all other values as float32."""
    return Image.fromarray(np.ascontiguousarray(plane, None if plane.dtype == np.uint8 else np.float32))


def channels_first(image: np.ndarray) -> np.ndarray:
    """What a network gets of an image: (H, W, C) -> (C, H, W), uint8, or float32 of all other values."""
    dtype = None if image.dtype == np.uint8 else np.float32
    return np.require(image.transpose(2, 0, 1), dtype, requirements=["C", "W"])


def in_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values of any shape in a type; rounded, and cut off at its limits, where it has whole numbers."""
    if dtype.kind == "f" or values.dtype == dtype:
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
