"""What evaluators share that count while the model runs: every image once, and the counts of all processes together."""

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from .deduplication import ImageDeduplicator
from .examples import Examples

logger = logging.getLogger(__name__)


class Tally(Protocol):
    """Counts of all images so far; its size does not depend on how many there were."""

    def add(self, *score: Any) -> None:
        """Count an image."""

    def merge(self, other: "Tally") -> None:
        """Add the images of another process."""


class CountingEvaluator(DatasetEvaluator):
    """Scores and forgets images; a subclass says what a score, a tally and the results are, and calls `reset`.

    What `score` adds to `examples` is written beside the results.

    Args:
        dataset_name: registered name.
        output_dir: where files are written; None writes nothing.
        write_submission: `submission` keeps the predictions, to be written.

    Raises:
        ValueError: a submission without a folder.
    """

    submission: Any = None
    examples_task = ""  # under which the best and the worst images are written

    def __init__(
        self, dataset_name: str, *, output_dir: str | Path | None = None, write_submission: bool = False
    ) -> None:
        if write_submission and output_dir is None:
            raise ValueError(f"{type(self).__name__}: write_submission=True needs an output_dir to write to.")
        self.dataset_name = dataset_name
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.write_submission = write_submission

    def new_tally(self) -> Tally:
        """Without images."""
        raise NotImplementedError

    def score(self, sample: Mapping, output: Mapping) -> tuple:
        """What `add` of the tally takes.

        Args:
            sample: an input of the model; output: its result.
        """
        raise NotImplementedError

    def report(self, tally: Any, submissions: Sequence) -> dict[str, dict[str, float]]:
        """Results of the images of all processes, by task; on the main process only.

        Args:
            submissions: `submission` of each process.
        """
        raise NotImplementedError

    def metric_names(self) -> list[str]:
        """All that `evaluate` may give, as `sem_seg/mIoU`."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget all images."""
        self._tally = self.new_tally()
        self._images: ImageDeduplicator[tuple] = ImageDeduplicator()
        self.examples = Examples()

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping]) -> None:
        """Score the outputs; an image is known by its `image_id`, or without one by its `file_name`.

        Raises:
            FileNotFoundError, ValueError: a ground truth or a prediction that cannot be used.
        """
        for sample, output in zip(inputs, outputs):
            image_id = sample["image_id"] if "image_id" in sample else sample["file_name"]
            if self._images.is_new(image_id):
                for settled in self._images.add(image_id, self.score(sample, output)):
                    self._tally.add(*settled)

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Add up the counts of all processes; `{}` on all but the main one."""
        num_images, last_scores = self._images.settle()
        tally = copy.deepcopy(self._tally)
        for score in last_scores:
            tally.add(*score)
        tallies = comm.gather(tally)
        submissions, examples = comm.gather(self.submission), comm.gather(self.examples)
        if not comm.is_main_process():
            return {}
        if num_images == 0:
            logger.warning("Not a single image of %s was processed.", self.dataset_name)
        total = self.new_tally()
        for share in tallies:
            total.merge(cast(Any, share))
        if self.output_dir is not None and self.examples_task:
            joined = Examples()
            for share in cast(Sequence[Examples], examples):
                joined.merge(share)
            joined.write(self.output_dir, self.examples_task)
        return self.report(total, submissions)
