"""Pictures that a training leaves: its first batch as the model gets it, and test images at every evaluation.

The main process draws them of what the training computes anyway, so weights and random numbers stay what they are. A
picture that cannot be drawn is a warning and ends nothing.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from detectron2.engine import HookBase
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from omegaconf import DictConfig

from focalnet_d2.data.channels import ChannelFormat, ImageFormat
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.loader import rank_share
from focalnet_d2.data.pixels import in_format
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset
from focalnet_d2.utils.text import plural

from .channel_filling import channel_format
from .checkpointing import class_list
from .rng import preserved_rng
from .validation_loss import build_mapper, evenly

FIRST_BATCH = "first_batch.jpg"
SAMPLES = "samples"  # folder
MOST = 16  # images of the first batch
THRESHOLD = 0.3  # lowest score of an object that is drawn: early in a training there are few that are sure

logger = logging.getLogger(__name__)


class Pictures(Protocol):
    """Draws samples, dicts as the mapper of the training gives them, their `image` as (H, W, 3) uint8 RGB.

    Travels to the processes of a run.
    """

    def targets(self, sample: Mapping[str, Any], classes: ClassMap) -> np.ndarray:
        """The image with its targets: (h, w, 3) uint8 RGB of a size for a sheet."""
        ...

    def results(
        self, sample: Mapping[str, Any], result: Mapping[str, Any], classes: ClassMap, threshold: float
    ) -> np.ndarray:
        """The image with what the model gives for it: (h, w, 3) uint8 RGB of a size for a sheet."""
        ...

    def write(
        self, path: Path, groups: Sequence[Sequence[np.ndarray]], titles: Sequence[str], captions: Sequence[str]
    ) -> None:
        """One file of all groups of pictures (h, w, 3), each with a caption."""
        ...


class Studio(NamedTuple):
    """What all pictures of a run have in common.

    Attributes:
        pictures: draws them.
        classes: of the data.
        folder: of the run.
        image_format: of the samples, "RGB", "BGR" or other channels.
    """

    pictures: Pictures
    classes: ClassMap
    folder: Path
    image_format: ImageFormat

    def prepared(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The sample with its image, (C, H, W) of any type, as (H, W, 3) uint8 RGB."""
        values = sample["image"].permute(1, 2, 0).numpy()
        if isinstance(self.image_format, ChannelFormat):
            return {**sample, "image": self.image_format.picture(values)}
        pixels = values.round().clip(0, 255).astype(np.uint8)
        return {**sample, "image": np.ascontiguousarray(in_format(pixels, self.image_format))}


class FirstBatchPicture(HookBase):
    """Draws the first batch of this process with its targets, after augmentation, before the step."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def first_batch(self, batch: Sequence[Mapping[str, Any]]) -> None:
        """Draw it; the trainer calls this once."""
        path, samples = self.studio.folder / FIRST_BATCH, batch[:MOST]
        with preserved_rng(), _Warning(FIRST_BATCH)():
            pictures, classes = self.studio.pictures, self.studio.classes
            groups = [[pictures.targets(self.studio.prepared(sample), classes)] for sample in samples]
            pictures.write(path, groups, ["targets"], [_name(sample) for sample in samples])
            logger.info("%s shows the first batch, with its targets.", path)


class SamplePredictions(DatasetEvaluator):
    """Draws some test images of an evaluation, the truth and the prediction beside each other; scores nothing.

    The images are the same each time, from all over the share of the main process.

    Args:
        images: dataset dicts of the test data; recipe: of the run.
    """

    def __init__(self, studio: Studio, images: SharedMemoryDataset, recipe: DictConfig) -> None:
        self.studio, self.images, self.recipe = studio, images, recipe
        share = len(rank_share(len(images), 0, comm.get_world_size()))
        self.places = evenly(share, recipe.train.get("sample_predictions", 0))
        self._guarded = _Warning(f"picture in {SAMPLES}")
        self._mapper: Any = None
        self.reset()

    def reset(self) -> None:
        """Forget the last evaluation."""
        self._seen = 0
        self._drawn: list[tuple[str, list[np.ndarray]]] = []

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping]) -> None:
        """Draw those images of a batch that are chosen."""
        first, self._seen = self._seen, self._seen + len(inputs)
        for place in self.places:
            if first <= place < self._seen:
                with self._guarded():
                    self._draw(place, outputs[place - first])

    def _draw(self, place: int, output: Mapping[str, Any]) -> None:
        if self._mapper is None:
            self._mapper = build_mapper(self.recipe)
        sample = self.studio.prepared(self._mapper(self.images[place]))
        pictures, classes = self.studio.pictures, self.studio.classes
        pair = [pictures.targets(sample, classes), pictures.results(sample, output, classes, THRESHOLD)]
        self._drawn.append((_name(sample), pair))

    def evaluate(self) -> None:
        """Write the pictures, named by the iterations that are done."""
        if not self._drawn:
            return
        done = min(get_event_storage().iter + 1, self.recipe.train.max_iter)
        path = self.studio.folder / SAMPLES / f"{done:07}.jpg"
        with self._guarded():
            names, pairs = zip(*self._drawn)
            self.studio.pictures.write(path, pairs, ("truth", f"after {plural(done, 'iteration')}"), names)


def make_studio(pictures: Pictures | None, recipe: DictConfig) -> Studio | None:
    """What draws the pictures of a run; None on other processes than the main one, and where classes have no names."""
    if pictures is None or not comm.is_main_process() or (classes := class_list(recipe.dataloader.train)) is None:
        return None
    image_format = channel_format(recipe) or recipe.dataloader.train.mapper.get("image_format", "RGB")
    return Studio(pictures, classes, Path(recipe.train.output_dir), image_format)


def _name(sample: Mapping[str, Any]) -> str:
    return Path(sample["file_name"]).name


class _Warning:
    """A context for errors of any kind: the first one is a warning, all are forgotten."""

    def __init__(self, what: str) -> None:
        self.what, self._is_given = what, False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of any kind: a training goes on without pictures
            if not self._is_given:
                logger.warning("There is no %s: %s", self.what, error or type(error).__name__)
            self._is_given = True
