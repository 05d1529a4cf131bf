"""Training samples a second of one core, and the memory of dataset dicts, beside reference implementations.

Images are photo-like and made here, or those of coco_2017_train (`coco`). A row of a mapper is the CPU time of mapping
all images once: `images_per_second`, and `ms_per_image` by stage (reading the image, augmenting it, targets with their
label files). The reference mappers give the same samples, as `difference` shows for the last image. A row of a loader
is the CPU time of a worker and of the process that it feeds. "Beside decoding" is the library's mapper beside
torchvision's decoder alone, which no loader of the same images can beat.

What a GPU consumes: at 40 % of the 788 TFLOP/s of an H200 in bf16, a DINO step of one image at 800x1333 (forward and
twice that backward, `GFLOP_FORWARD`) is done 15 times a second for FocalNet-H, 34 for L and 181 for T. `cores_per_gpu`
of the DETR-800 row says how many cores keep up.

Memory is the bytes by which all processes together grow with many small dicts, each page divided by the number of
processes that share it (Linux). The reference hands the list itself to the workers.
"""

import copy
import gc
import os
import pickle
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode, decode_jpeg, read_file

from benchmarks.measuring import cpu_seconds
from benchmarks.work import Facts, Processes, Timed, UnavailableError
from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts
from focalnet_d2.data.image_reading import read_image
from focalnet_d2.data.loader import SampleStream, SeededDataset, build_train_loader, keep_list, seeded
from focalnet_d2.data.mappers import DetectionMapper, InstanceMapper, PanopticMapper, SemanticMaskMapper
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.data.segmentation_transforms import ade_crop, lsj
from focalnet_d2.data.transforms import detr_800
from tests.reference.mappers import (
    ReferenceDetectionMapper,
    ReferenceInstanceMapper,
    ReferenceMapper,
    ReferencePanopticMapper,
    ReferenceSemanticMapper,
)

# DINO with the backbone, 800x1333: performance of FocalNet-H and -L with 5 feature scales, T with 4.
GFLOP_FORWARD = {"H": 5084 + 1523, "L": 1528 + 1523, "T": 191 + 390}
GPU_GFLOP_PER_SECOND = 0.4 * 788_000
THINGS, STUFF = 7, 4  # of an image; COCO has 7.3 objects
WORKERS = 3
_FILES = {"file_name": ".jpg", "pan_seg_file_name": "_panoptic.png", "sem_seg_file_name": "_semantic.png"}


def make_mappers(task: str) -> tuple[ReferenceMapper, Callable]:
    """The reference and the library's mapper of `TASKS`."""
    make_augmentation, reference, library, settings = TASKS[task]
    augmentation = make_augmentation()
    return reference([augmentation]), library(True, augmentations=[augmentation], **settings)


TASKS = {
    "DETR-800 boxes": (detr_800, ReferenceDetectionMapper, DetectionMapper, {}),
    "LSJ-1024 instance": (partial(lsj, 1024), ReferenceInstanceMapper, InstanceMapper, {}),
    "LSJ-1024 panoptic": (partial(lsj, 1024), ReferencePanopticMapper, PanopticMapper, {}),
    "ADE-640 panoptic": (partial(ade_crop, 640), ReferencePanopticMapper, PanopticMapper, {}),
    "ADE-512 semantic": (
        partial(ade_crop, 512), ReferenceSemanticMapper, SemanticMaskMapper, {"num_classes": 150},
    ),
}  # fmt: skip


SHARES = {"DETR-800 boxes": 0.7, "LSJ-1024 instance": 0.7, "LSJ-1024 panoptic": 0.55}  # goals beside decoding


@cache
def made_folder() -> tempfile.TemporaryDirectory:
    """Holds the images that are made here until the process ends."""
    return tempfile.TemporaryDirectory()


@cache
def get_records(images: int, image_size: tuple[int, int], coco: bool) -> list[dict]:
    """Dataset dicts of both kinds."""
    if coco:
        return coco_records(images)
    folder = Path(tempfile.mkdtemp(dir=made_folder().name))
    return [make_record(folder, number, image_size) for number in range(images)]


def build_mapper(task: str, *, images: int, image_size: tuple[int, int], coco: bool) -> Timed:
    """Maps all images."""
    records = get_records(images, image_size, coco)
    if "semantic" in task and "sem_seg_file_name" not in records[0]:
        raise UnavailableError("these images have no semantic labels")
    mappers = dict(zip(("reference", "library"), make_mappers(task), strict=True))

    def finish(measured: dict[str, dict]) -> dict:
        for name, row in measured.items():
            row["images_per_second"] = round(images / row["seconds"], 1)
            row["ms_per_image"] = stages(mappers[name], records, row["seconds"])
        return cores_per_gpu(measured["library"]["images_per_second"]) if task.startswith("DETR") else {}

    implementations = {name: partial(map_all, mapper, records) for name, mapper in mappers.items()}
    return Timed(implementations, finish=finish, about=origin(coco))


def build_share(task: str, *, images: int, image_size: tuple[int, int], coco: bool) -> Timed:
    """Maps all images, beside decoding them alone with torchvision: how many times as fast is the share of it."""
    records = get_records(images, image_size, coco)
    mapper = make_mappers(task)[1]
    implementations = {"decoding": partial(decode_all, records), "library": partial(map_all, mapper, records)}

    def finish(measured: dict[str, dict]) -> dict:
        for row in measured.values():
            row["images_per_second"] = round(images / row["seconds"], 1)
        return {}

    return Timed(implementations, difference=lambda decoded, mapped: 0.0, finish=finish, about=origin(coco))


def decode_all(records: Sequence[dict]) -> None:
    """Decodes every image as 8-bit RGB."""
    for record in records:
        decode_jpeg(read_file(record["file_name"]), ImageReadMode.RGB)


def origin(coco: bool) -> dict[str, str]:
    """Which images these are."""
    return {"images": "coco_2017_train" if coco else "made here"}


def map_all(mapper: Callable, records: Sequence[dict]) -> list[Tensor]:
    """Maps every record with random numbers of its own; returns the tensors of the last sample."""
    sample = {}
    for position, record in enumerate(records):
        with seeded(0, position):
            sample = mapper(record)
    fields = sample["instances"].get_fields().values()
    return [sample["image"], *(getattr(value, "tensor", value) for value in fields)]


def stages(mapper: Callable, records: Sequence[dict], total: float) -> dict[str, float]:
    """Milliseconds an image: reading and augmenting are measured alone, targets are what is left of the total."""
    read = mapper.read if isinstance(mapper, ReferenceMapper) else lambda record: read_image(record["file_name"])
    images = [read(record) for record in records]

    def augment_all() -> None:
        for position, image in enumerate(images):
            with seeded(0, position):
                aug_input = T.AugInput(image)
                mapper.augmentations(aug_input)
                np.ascontiguousarray(aug_input.image.transpose(2, 0, 1))

    reading, augmenting = cpu_seconds(lambda: [read(record) for record in records]), cpu_seconds(augment_all)
    each = {"read": reading, "augment": augmenting, "targets": max(total - reading - augmenting, 0.0)}
    return {stage: round(1000 * seconds / len(records), 2) for stage, seconds in each.items()}


def cores_per_gpu(images_per_second: float) -> dict[str, dict[str, float]]:
    """Cores that feed a DINO step at 40 % of the card's rate, by size of the backbone."""
    needed = {size: round(GPU_GFLOP_PER_SECOND / (3 * forward), 1) for size, forward in GFLOP_FORWARD.items()}
    return {"cores_per_gpu": {size: round(need / images_per_second, 2) for size, need in needed.items()}}


def build_loader(task: str, *, images: int, image_size: tuple[int, int], coco: bool) -> Facts:
    """Loads all images twice."""
    records = get_records(images, image_size, coco)
    return Facts(partial(measure_loader, make_mappers(task)[1], records), about=origin(coco))


def measure_loader(mapper: Callable, records: Sequence[dict]) -> Iterator[dict]:
    """CPU milliseconds an image of a worker and of the process that takes its batches, pickling included."""
    count = 2 * len(records)
    loader = build_train_loader(records, mapper=mapper, total_batch_size=2, num_workers=1)
    before = cpu_of_children()
    start = time.process_time()
    batches = iter(loader)
    for _ in range(count // 2):
        next(batches)
    taken = time.process_time() - start
    del batches  # ends the worker, which has loaded up to two batches more
    gc.collect()
    worker = 1000 * (cpu_of_children() - before) / (count + 2 * loader.prefetch_factor)
    found = {"worker": round(worker, 2), "training process": round(1000 * taken / count, 2)}
    yield {"ms_per_image": found, "forms": {}}


def cpu_of_children() -> float:
    """CPU seconds of the worker processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_record(folder: Path, number: int, size: tuple[int, int]) -> dict:
    """Draws one image with labels of every kind: bands of stuff, blobs of things, and the noise of a photo."""
    rng, (height, width) = np.random.default_rng(number), size
    edges = np.sort(rng.integers(0, height, STUFF - 1))
    stuff = np.searchsorted(edges, np.arange(height), side="right")[:, None].repeat(width, axis=1) + 1
    ids = Image.fromarray(stuff.astype(np.int32))
    image = Image.fromarray(rng.integers(0, 256, (STUFF + 1, 3))[stuff].astype(np.uint8))
    annotations = []
    for thing in range(THINGS):
        center, radius = rng.random(2) * (width, height), 0.4 * height * rng.random() ** 2 + 10
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius * rng.uniform(0.7, 1.0, (24, 1))
        corners = (center + around).clip(0, (width, height))
        polygon = [tuple(corner) for corner in corners]
        ImageDraw.Draw(ids).polygon(polygon, fill=STUFF + 1 + thing)
        ImageDraw.Draw(image).polygon(polygon, fill=tuple(rng.integers(0, 256, 3).tolist()))
        box = [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]
        annotations.append({"iscrowd": 0, "bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": thing,
                            "segmentation": [corners.ravel().tolist()]})  # fmt: skip
    noisy = np.asarray(image.filter(ImageFilter.GaussianBlur(1.5))) + rng.normal(0, 8, (height, width, 3))
    names = {key: str(folder / f"{number}{end}") for key, end in _FILES.items()}
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(names["file_name"], quality=92)
    numbers = np.asarray(ids)
    write_panoptic_ids(numbers * 1000, names["pan_seg_file_name"])
    Image.fromarray(numbers.astype(np.uint8)).save(names["sem_seg_file_name"])
    segments = [{"id": int(one) * 1000, "category_id": int(one), "iscrowd": 0} for one in np.unique(numbers)]
    about = {"height": height, "width": width, "image_id": number}
    return names | about | {"annotations": annotations, "segments_info": segments}


def coco_records(count: int) -> list[dict]:
    """Images of COCO with the ground truth of both kinds; its panoptic segments stand for semantic labels, too."""
    objects = get_detection_dataset_dicts(names="coco_2017_train", limit=count)
    segments = get_segmentation_dataset_dicts(names="coco_2017_train_panoptic", filter_empty=False)
    by_image = {str(record["image_id"]): record for record in segments}
    return [by_image[str(record["image_id"])] | record for record in objects]


def small_record(number: int) -> dict:
    """A dataset dict with two objects, as numbers differ."""
    polygon = [number + 0.5 * corner for corner in range(24)]
    objects = [{"iscrowd": 0, "bbox": polygon[:4], "bbox_mode": 0, "category_id": 1, "segmentation": [polygon]}] * 2
    return {"file_name": f"{number:012d}.jpg", "height": 480, "width": 640, "image_id": number, "annotations": objects}


class WhoReads:
    """A mapper that says in which process it runs."""

    def __call__(self, record: dict) -> dict:
        return {"pid": os.getpid(), "points": len(record["annotations"][0]["segmentation"][0])}


def build_memory(method: str, *, records: int) -> Processes:
    """Both ways to give the dicts to workers that are started by `method`."""
    if sys.platform != "linux":
        raise UnavailableError("the memory of each process is read from /proc")
    calls = {name: (growth, name, method, records) for name in ("reference", "library")}
    return Processes(calls, repeat=False)


def growth(form: str, method: str, count: int) -> dict[str, int]:
    """Bytes by which this process and its workers grow from a few records to `count`, all of them read."""
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores
    few, _ = read_everything(form, method, 100)
    many, pickled = read_everything(form, method, count)
    return {"bytes": many - few, "one_copy_bytes": pickled}


def read_everything(form: str, method: str, count: int) -> tuple[int, int]:
    """Bytes of this process and its workers when they have read `count` records, and of the records pickled."""
    records = [copy.deepcopy(small_record(number)) for number in range(count)]
    if form == "library":
        loader = build_train_loader(records, mapper=WhoReads(), total_batch_size=100, num_workers=WORKERS)
    else:
        stream = SampleStream(count, total_batch_size=100, seed=0)
        dataset = SeededDataset(records, WhoReads(), 0)
        loader = DataLoader(dataset, batch_sampler=stream, num_workers=WORKERS, collate_fn=keep_list)
    loader.multiprocessing_context = method
    pickled = sum(len(pickle.dumps(record)) for record in records)
    del records
    gc.collect()
    batches = iter(loader)
    workers = {sample["pid"] for _ in range(max(count // 100, WORKERS)) for sample in next(batches)}
    return sum(map(shared_memory, [os.getpid(), *workers])), pickled


def shared_memory(pid: int) -> int:
    """Resident bytes of a process, each page divided by the number of processes that have it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
