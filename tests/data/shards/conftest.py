"""Shards of a few small files, written by the standard library."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from focalnet_d2.data.shards import files, index
from tests.data.packed.conftest import own_cache  # noqa: F401  a fixture


def write_shard(path: Path, contents: Mapping[str, bytes], **options) -> Path:
    """A tar archive of some files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(autouse=True)
def new_process(monkeypatch, own_cache):  # noqa: F811  the fixture
    """Forgets what this process knows of shards, as often as it is called."""

    def forget():
        monkeypatch.setattr(index, "_KNOWN", {})
        monkeypatch.setattr(files, "_ROOTS", set())

    forget()
    return forget
