"""What `check-data` keeps in memory does not grow with the number of images."""

import gc
import tracemalloc

import pytest

from focalnet_d2.data.checks import duplicates, stored_instances
from focalnet_d2.data.checks.run import check_datasets
from focalnet_d2.data.checks.tasks import RecipeLimits
from focalnet_d2.data.folders import coco_summaries, semantic_classes, stored_texts, xml_file
from focalnet_d2.data.folders.finding import find_datasets
from tests.data.checks.many_images import WRITERS

FEW, MANY = 240, 720  # images


MOST = 150  # bytes an image, half as much again as was measured; a path that is kept is more than what is left
OTHERS = ("*/PIL/*", "*/pathlib.py")  # whose names of attributes the interpreter keeps for a while


class Watcher:
    """Looks at what is kept once reading is done: at the last images of each part."""

    def __init__(self):
        self.most, self.left = 0, 0  # bytes, images

    def begin(self, what, images):
        """A part begins."""
        self.left = images

    def advance(self, images):
        """Some images are done."""
        self.left -= images
        if self.left <= 0 and tracemalloc.is_tracing():
            gc.collect()
            kept = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, other) for other in OTHERS])
            self.most = max(self.most, sum(one.size for one in kept.statistics("filename")))


def kept(root):
    """Bytes that are kept while a folder is checked."""
    watcher = Watcher()
    found = find_datasets(root)
    assert check_datasets(str(root), found, limits=RecipeLimits(), workers=1, progress=watcher).is_clean
    return watcher.most


@pytest.mark.parametrize("layout", WRITERS)
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch, layout):
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
    kept(tmp_path / str(FEW))  # what is imported and made once
    tracemalloc.start()
    few, many = kept(tmp_path / str(FEW)), kept(tmp_path / str(MANY))
    tracemalloc.stop()
    growth = (many - few) / (MANY - FEW)
    assert growth < MOST, growth


def small_chunks(init):
    """The same with chunks of a few entries, so that a chunk is smaller than the small set."""
    return lambda self, file, chunk=0: init(self, file, 2000)
