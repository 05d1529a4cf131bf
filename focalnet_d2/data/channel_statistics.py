"""Number, type, range, mean and standard deviation of the channels of images, which are read one after the other."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from .channels import channel_words, check_finite
from .image_reading import read_channels

MOST_IMAGES = 1000  # that are looked at, evenly spread
_READERS = 4  # each holds an image
_CHUNK = 1 << 20  # values that are computed with at a time


@dataclass
class ChannelStatistics:
    """What the channels of some images hold; there are C.

    Attributes:
        dtype: of all images; "" before the first.
        count: pixels of all images.
        mean: (C,) float64.
        squares: (C,) float64, sums of the squared differences from the mean.
        low, high: (C,) float64, the least and the greatest value.
        first: name of the first image, for messages.
        images: how many.
    """

    dtype: str = ""
    count: int = 0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(0))
    low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    first: str = ""
    images: int = 0

    @classmethod
    def of_image(cls, values: np.ndarray, name: str) -> "ChannelStatistics":
        """Those of one image, (H, W, C).

        Raises:
            ValueError: values that are NaN or infinite.
        """
        check_finite(values, f"The image {name}")
        pixels = values.reshape(-1, values.shape[2])
        total = cls()
        for start in range(0, len(pixels), step := max(1, _CHUNK // pixels.shape[1])):
            part = pixels[start : start + step].astype(np.float64)
            mean = part.mean(axis=0)
            squares = ((part - mean) ** 2).sum(axis=0)
            low, high = part.min(axis=0), part.max(axis=0)
            total.add(cls(values.dtype.name, len(part), mean, squares, low, high, name, 0))
        total.images = 1
        return total

    def add(self, other: "ChannelStatistics") -> None:
        """Adds what other images hold.

        Raises:
            ValueError: they have another number or type of channels.
        """
        if not self.count:
            self.__dict__.update(vars(other), images=self.images + other.images)
            return
        if (self.dtype, len(self.mean)) != (other.dtype, len(other.mean)):
            raise ValueError(
                f"The images have different channels: {self.first} has {channel_words(len(self.mean), self.dtype)}, "
                f"and {other.first} has {channel_words(len(other.mean), other.dtype)}; convert them to one kind, or "
                "leave out those of the other."
            )
        count, difference = self.count + other.count, other.mean - self.mean
        self.squares = self.squares + other.squares + difference**2 * (self.count * other.count / count)
        self.mean = self.mean + difference * (other.count / count)
        self.count, self.images = count, self.images + other.images
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    @property
    def std(self) -> np.ndarray:
        """(C,) float64, of all pixels."""
        return np.sqrt(self.squares / max(self.count, 1))

    def __str__(self) -> str:
        ranges = ", ".join(f"{low:.6g} to {high:.6g}" for low, high in zip(self.low, self.high))
        return (
            f"{channel_words(len(self.mean), self.dtype)}; values {ranges}; means {rounded(self.mean)}; "
            f"standard deviations {rounded(self.std)}"
        )


def chosen_channels(channels: int | Sequence[int], statistics: ChannelStatistics, root: str) -> list[int]:
    """The numbers of the channels that `data.channels` means, among those of the images in a folder.

    Raises:
        ValueError: the images have others; says what to set.
    """
    stored = len(statistics.mean)
    numbers = list(range(channels)) if isinstance(channels, int) else list(channels)
    if max(numbers) >= stored or (isinstance(channels, int) and channels != stored):
        given, some = (str(one).replace(" ", "") for one in (channels, list(range(stored))[: len(numbers)]))
        raise ValueError(
            f"data.channels is {given}, but the images in {root} have {channel_words(stored, statistics.dtype)}, such "
            f"as {statistics.first}: set data.channels={stored}, or list the numbers of those that are wanted, as in "
            f"data.channels={some}."
        )
    return numbers


def rounded(values: np.ndarray) -> list[float]:
    """(C,) as numbers with six digits, as recipes keep them."""
    return [float(f"{value:.6g}") for value in values]


def channel_statistics(
    files: Sequence[str], most: int = MOST_IMAGES, read: Callable[[str], np.ndarray] = read_channels
) -> ChannelStatistics:
    """Those of image files, of many at most `most` ones, evenly spread.

    Args:
        read: path -> (H, W, C).

    Raises:
        FileNotFoundError, ValueError: an image cannot be read, or they have different channels.
    """
    chosen = [files[place] for place in np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).astype(int))]
    total = ChannelStatistics()
    with ThreadPoolExecutor(_READERS) as pool:
        for one in pool.map(lambda file: ChannelStatistics.of_image(read(file), file), chosen):
            total.add(one)
    return total
