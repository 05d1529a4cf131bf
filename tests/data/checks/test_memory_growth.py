"""What `check-data` keeps does not grow by more than some hundred bytes an image."""

import gc
import tracemalloc

import pytest

from focalnet_d2.data.checks import duplicates, stored_instances
from focalnet_d2.data.checks.run import check_datasets
from focalnet_d2.data.checks.tasks import RecipeLimits
from focalnet_d2.data.folders import coco_summaries, semantic_classes, stored_texts, xml_file
from focalnet_d2.data.folders.finding import find_datasets
from tests.data.checks.many_images import WRITERS

FEW, MANY = 60, 240  # images


class Silent:
    """Nobody watches."""

    def begin(self, what, images):
        """Says nothing."""

    def advance(self, images):
        """Says nothing."""


def peak(root):
    """Bytes that finding and checking a folder takes at most, all in this process, while memory is traced."""
    gc.collect()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    found = find_datasets(root)
    findings = check_datasets(str(root), found, limits=RecipeLimits(), workers=1, progress=Silent())
    assert findings.is_clean
    return tracemalloc.get_traced_memory()[1] - before


MOST = {  # bytes an image: a quarter to a half more than was measured
    "coco": 420,
    "coco-panoptic": 504,
    "yolo": 306,
    "voc": 560,
    "cvat": 381,
    "labelme": 480,
    "semantic": 480,
    "semantic, labels beside the images": 340,
    "class-folders": 170,
}


@pytest.mark.parametrize("layout", WRITERS)
def test_memory_hardly_grows_with_the_number_of_images(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(coco_summaries, "BIG", 0)
    monkeypatch.setattr(stored_instances, "BIG", 0)
    monkeypatch.setattr(stored_instances, "MANY", 0)
    for module in (duplicates, stored_instances, semantic_classes):
        monkeypatch.setattr(module, "_CHUNK", 10)
    monkeypatch.setattr(stored_texts, "_AT_ONCE", 10)
    monkeypatch.setattr(xml_file, "_CHUNK", 2000)
    monkeypatch.setattr(stored_instances.JsonStream, "__init__", small_chunks(stored_instances.JsonStream.__init__))
    for count in (FEW, MANY):
        WRITERS[layout](tmp_path / str(count), count)
    peak(tmp_path / str(FEW))  # what is imported and made once
    growth = (peak(tmp_path / str(MANY)) - peak(tmp_path / str(FEW))) / (MANY - FEW)
    assert growth < MOST[layout], growth


def small_chunks(init):
    """The same with chunks of a few entries, so that a chunk is smaller than the small set."""
    return lambda self, file, chunk=0: init(self, file, 2000)
