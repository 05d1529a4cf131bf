"""Data sets that a test registers in Detectron2's catalogs are gone after it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog


@contextmanager
def forgotten_afterwards() -> Iterator[None]:
    """What is registered inside is removed at the end."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """What the runs of a module that imports this register is gone after them; they take one thread."""
    torch.set_num_threads(1)
    with forgotten_afterwards():
        yield
