"""The doctor of data at work: all images of all parts, once, in all processes, whatever their number."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from ..annotations.faults import Fault, FaultError, fault_of
from ..folders.contents import ImageFile
from ..folders.dataset import FolderDataset, image_name
from ..folders.image_lists import draw_of
from .channels import channel_faults
from .duplicates import Fingerprints, difference_hash
from .images import UNUSABLE, Said, look_at_image
from .labels import check_file, check_image_labels
from .processes import Crew
from .repeated_images import repeated_images
from .report import FaultList, Findings, Reading
from .statistics import PartStatistics, statistical_faults
from .tasks import LabelTask, RecipeLimits, read_for_checks, tasks_of

SAMPLES = 24  # images that are kept to be drawn
_FAULTY_OF_KIND = 2
_CHUNK = 16  # images that travel to a process together


class Progress(Protocol):
    """Whoever shows how far a check has come."""

    def begin(self, what: str, images: int) -> None:
        """A part begins, which has that many images."""

    def advance(self, images: int) -> None:
        """That many images more were looked at."""


@dataclass
class Looked:
    """What a process has found in a chunk of images.

    Attributes:
        fingerprints: of each image; None where it cannot be read.
        faulty: (kind of fault, place in the chunk).
    """

    faults: list[Fault] = field(default_factory=list)
    statistics: PartStatistics = field(default_factory=PartStatistics)
    fingerprints: list[tuple[int, int] | None] = field(default_factory=list)
    faulty: list[tuple[str, int]] = field(default_factory=list)


def check_datasets(
    root: str, datasets: Sequence[FolderDataset], *, limits: RecipeLimits, workers: int, progress: Progress
) -> Findings:
    """Checks every reading of a folder.

    Args:
        limits: of the recipe that it is meant for.
        workers: processes.
        progress: is told about every part.
    """
    findings = Findings(root)
    with Crew(look_at_chunk, workers) as crew:
        for dataset in datasets:
            _check_dataset(dataset, findings, limits, crew, progress)
    return findings


def _check_dataset(
    dataset: FolderDataset, findings: Findings, limits: RecipeLimits, crew: Crew, progress: Progress
) -> None:
    reading, faults = Reading(dataset), FaultList()
    findings.readings.append(reading)
    prints, tasks = Fingerprints(), {}
    samples = _Samples()
    for name in dataset.parts_on_disk():
        content = _read(dataset, name, faults)
        if content is None:
            continue
        number = len(tasks)
        tasks[name] = lambda name=name, content=content: tasks_of(dataset, name, content, limits)
        numbers = reading.parts[name] = PartStatistics()
        progress.begin(f"{dataset.layout}, {name}", len(content if isinstance(content, Sequence) else content.images))
        for chunk, looked in crew.map(_chunks(tasks[name]())):
            looked = _crashed(chunk[0]) if looked is None else looked
            faults.extend(looked.faults)
            numbers.add(looked.statistics)
            for task, one in zip(chunk, looked.fingerprints, strict=True):
                prints.add(number, task.image_file, one)
            samples.offer(name, chunk)
            _keep_faulty(reading, chunk, looked)
            progress.advance(len(chunk))
        faults.extend(check_file(dataset, name, content, numbers.counts, limits))
    reading.samples = samples.kept
    is_split = dataset.split is not None and "train" in tasks
    if is_split:
        _set_drawn_apart(dataset, tasks["train"], prints, faults)
    repeated = repeated_images(prints, tasks, threads=crew.workers, is_split=is_split)
    reading.alike = repeated.alike
    faults.extend(repeated.faults)
    if tasks and (limits.channels is not None or any(fault.kind == UNUSABLE for fault in faults.faults())):
        learned = tasks.get("train", next(iter(tasks.values())))
        faults.extend(channel_faults(dataset.root, learned(), limits.channels))
    sources = {name: part.annotations for name, part in dataset.parts.items()}
    is_semantic = dataset.kind == "semantic"
    faults.extend(statistical_faults(reading.parts, dataset.classes, sources, of_pixels=is_semantic))
    findings.add(faults.faults(), faults.left_out())


def _read(dataset: FolderDataset, name: str, faults: FaultList) -> Any:
    """What a part has; None after a fault that leaves nothing to look at."""
    try:
        return read_for_checks(dataset, name, faults.add)
    except (ValueError, OSError) as error:
        faults.add(fault_of(error, "unusable-annotations", dataset.parts[name].annotations))
        return None


def _set_drawn_apart(
    dataset: FolderDataset, make_tasks: Callable[[], Iterable[LabelTask]], prints: Fingerprints, faults: FaultList
) -> None:
    """Says which images of the training part, which comes first, a run splits off for validation; a fault where it
    cannot."""
    part = dataset.parts["train"]

    def images() -> Iterator[tuple[str, ImageFile]]:
        for task in make_tasks():
            has_labels = bool(task.labels) or task.kind == "semantic"
            class_id = task.labels[0]["category_id"] if task.kind == "classification" else None
            yield image_name(task.image_file, part), ImageFile(class_id, has_labels)

    try:
        draw = draw_of(dataset, images())
    except ValueError as error:
        faults.add(fault_of(error, "no-validation-images", part.annotations))
        return
    prints.set_apart(place for place, (name, known) in enumerate(images()) if draw.is_val(name, known.class_id))


def _chunks(tasks: Iterable[LabelTask]) -> Iterator[list[LabelTask]]:
    remaining = iter(tasks)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def look_at_chunk(tasks: Sequence[LabelTask]) -> Looked:
    """Looks at some images and their labels; nothing that is wrong with them is raised."""
    looked = Looked()
    for place, task in enumerate(tasks):
        try:
            faults = _look_at(task, looked)
        except Exception as error:  # a fault of ours must not hide those of the other images
            crash = _crash(task, f"{type(error).__name__}: {error}")
            faults = [error.fault if isinstance(error, FaultError) else crash]
            looked.fingerprints += [None] * (place + 1 - len(looked.fingerprints))
        looked.faults += faults
        looked.faulty += [(fault.kind, place) for fault in faults if fault.severity != "note"]
    return looked


def _look_at(task: LabelTask, looked: Looked) -> list[Fault]:
    height, width = task.image.get("height"), task.image.get("width")
    must_have_size = task.kind in ("instances", "panoptic")
    size = None if height is None or width is None or not must_have_size else (height, width)
    has_channels = task.limits.channels is not None
    seen = look_at_image(task.image_file, Said(task.source, str(task.image_id), size, must_have_size, has_channels))
    looked.fingerprints.append(None if seen.image is None else (seen.checksum, difference_hash(seen.image)))
    task = replace(task, size=None if seen.image is None else seen.image.size[::-1])
    labels = check_image_labels(task)
    looked.statistics.add_image(task, seen.content, labels.counts)
    return [*seen.faults, *labels.faults]


def _crash(task: LabelTask, what: str) -> Fault:
    message = (
        f"Looking at {task.image_file} failed ({what}): open it with another program; if it is sound, this is a fault "
        "of check-data, which we would like to know."
    )
    return Fault("check-crashed", "error", task.image_file, message, (str(task.image_id),))


def _crashed(task: LabelTask) -> Looked:
    """What is known about an image whose process died."""
    faults = [_crash(task, "its process died")]
    return Looked(faults, PartStatistics(images=1, unreadable=1), [None], [(faults[0].kind, 0)])


def _keep_faulty(reading: Reading, chunk: Sequence[LabelTask], looked: Looked) -> None:
    kept = Counter(kind for kind, _ in reading.faulty)
    for kind, place in looked.faulty:
        if kept[kind] < _FAULTY_OF_KIND and len(reading.faulty) < SAMPLES:
            kept[kind] += 1
            reading.faulty.append((kind, chunk[place]))


class _Samples:
    """Images with labels, each with the same chance to be kept; the same for the same data."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, LabelTask]] = []
        self._seen = 0
        self._random = random.Random(0)

    def offer(self, part: str, tasks: Sequence[LabelTask]) -> None:
        """Tells that these images are there."""
        for task in tasks:
            if not task.labels and not task.label_file:
                continue
            self._seen += 1
            if len(self.kept) < SAMPLES:
                self.kept.append((part, task))
            elif (place := self._random.randrange(self._seen)) < SAMPLES:
                self.kept[place] = (part, task)
