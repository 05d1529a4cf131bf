"""Packed records of tiny files, and a cache that is not the user's."""

from functools import partial

import pytest

from focalnet_d2.data.annotations.json_stream import JsonStream
from focalnet_d2.data.packed import loading


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """The cache of a test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "focalnet_d2" / "records"


@pytest.fixture
def pack_all(monkeypatch):
    """Makes every file a big one, read in chunks of some size."""

    def patch(chunk):
        monkeypatch.setattr(loading, "BIG", 0)
        monkeypatch.setattr(loading, "JsonStream", partial(JsonStream, chunk=chunk))

    return patch
