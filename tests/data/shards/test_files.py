"""Files in shards are those that unpacking would give, without unpacking, while the shards stay as they are."""

import logging
import os
import shutil
import tarfile
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.data.folders.listing import Listing
from focalnet_d2.data.image_reading import read_image_file
from focalnet_d2.data.named_files import missing_files, misspelled
from focalnet_d2.data.packed.cache import kept_block
from focalnet_d2.data.panoptic_labels import open_label_image
from focalnet_d2.data.shards import files, index
from tests.data.shards.conftest import write_shard

CONTENTS = {"train/1.jpg": b"one", "train/cat/2.png": b"two" * 500, "val/1.jpg": b"three"}


@pytest.fixture
def root(tmp_path):
    """A folder with two shards, and beside them a file in a folder of theirs."""
    write_shard(tmp_path / "data" / "train-000000.tar", {name: CONTENTS[name] for name in list(CONTENTS)[:2]})
    write_shard(tmp_path / "data" / "val-000000.tar", {"val/1.jpg": b"three"})
    (tmp_path / "data" / "train").mkdir()
    (tmp_path / "data" / "train" / "labels.json").write_text("{}")
    return tmp_path / "data"


def test_files_are_read_by_the_path_that_they_would_have(root):
    files.note_root(str(root))
    assert {name: read_image_file(str(root / name)) for name in CONTENTS} == CONTENTS
    assert not [path for path in root.rglob("*") if path.suffix in (".jpg", ".png")]


def test_a_process_that_knows_no_root_finds_them_too(root, new_process):
    """As a loader's worker that was spawned."""
    for name, content in CONTENTS.items():
        new_process()
        with files.open_file(str(root / name)) as file:
            assert file.read() == content


def test_what_is_there_is_known(root):
    files.note_root(str(root))
    assert all(files.is_file(root / name) and files.exists(root / name) for name in CONTENTS)
    assert [files.is_folder(root / name) for name in ("train", "train/cat", "val", "va", "1.jpg")] == [
        *(True, True, True),
        *(False, False),
    ]
    assert not files.exists(root / "val" / "2.jpg")
    paths = [str(root / name) for name in (*CONTENTS, "val/2.jpg", "elsewhere/1.jpg")]
    assert missing_files(paths) == paths[3:]
    assert misspelled(str(root / "val" / "1.JPG")) == str(root / "val" / "1.jpg")


def test_many_files_of_one_folder_are_asked_for_at_once(tmp_path, monkeypatch):
    names = [f"{number}.jpg" for number in range(100)]
    write_shard(tmp_path / "00000.tar", dict.fromkeys((f"train/{name}" for name in names), b""))
    asked = []
    monkeypatch.setattr("focalnet_d2.data.named_files.exists", lambda path: asked.append(path))
    paths = [str(tmp_path / "train" / name) for name in (*names, "none.jpg")]
    assert missing_files(paths) == asked == paths[-1:]


def test_a_file_that_is_nowhere_is_none(root):
    with pytest.raises(FileNotFoundError, match=r"val/2\.jpg does not exist"):
        read_image_file(str(root / "val" / "2.jpg"))
    with pytest.raises(FileNotFoundError, match=r"The label file .*val/2\.png does not exist"):
        open_label_image(root / "val" / "2.png")


def test_shards_above_a_root_are_none_of_its(root, tmp_path):
    write_shard(tmp_path / "00000.tar", {"data/val/2.jpg": b""})
    files.note_root(str(root))
    assert not files.is_file(root / "val" / "2.jpg")
    assert "val/2.jpg" not in Listing(root).files


def test_a_shard_that_changes_after_it_was_looked_at_is_refused(root):
    Listing(root)
    path = root / "val-000000.tar"
    assert read_image_file(str(root / "val" / "1.jpg")) == b"three"
    times = os.stat(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"val/1\.jpg cannot be read \(the shard .*val-000000\.tar has changed since"):
        read_image_file(str(root / "val" / "1.jpg"))


def count_readings(monkeypatch):
    """The shards whose headers are read from now on."""
    read, original = [], index.archived_files
    monkeypatch.setattr(index, "archived_files", lambda path: read.append(path) or original(path))
    return read


def test_headers_are_read_once_and_again_when_a_shard_changes(root, new_process, monkeypatch):
    read = count_readings(monkeypatch)
    for _ in range(3):
        new_process()
        assert {name for name in Listing(root).files if name.endswith(("jpg", "png"))} == set(CONTENTS)
    assert len(read) == 2
    write_shard(root / "val-000000.tar", {"val/2.jpg": b"four"})
    assert "val/2.jpg" in Listing(root).files
    assert read_image_file(str(root / "val" / "2.jpg")) == b"four"
    write_shard(root / "val-000001.tar", {"val/3.jpg": b"five"})
    assert "val/3.jpg" in Listing(root).files
    assert len(read) == 2 + 2 + 3


def test_two_builders_read_the_headers_once(root, monkeypatch):
    read, both = count_readings(monkeypatch), threading.Barrier(2)
    found = []

    def build():
        both.wait()
        found.append(list(index.ShardIndex(*_made(str(root))).below("")))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [sorted(CONTENTS)] * 2
    assert len(read) == 2


def _made(folder):
    """What `shard_index` makes, in a process of its own as it were."""
    shards = index.shards_in(folder)
    block = kept_block(
        folder, lambda: index._key(shards), lambda: index.shards_in(folder), lambda sink: index._write(shards, sink)
    )
    return shards, block


@pytest.mark.parametrize(
    ("name", "is_shard"),
    [
        *(("train-000000.tar", True), ("00000.tar", True), ("a_12345.tar", True)),
        *(("train2017.tar", False), ("VOC-2012.tar", False), ("backup-20240101.tar", False), ("00000.zip", False)),
    ],
)
def test_the_name_says_whether_an_archive_is_a_shard(name, is_shard, tmp_path):
    write_shard(tmp_path / name, {"1.jpg": b""})
    assert ("1.jpg" in Listing(tmp_path).files) == is_shard


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_compressed_shard_is_refused(ending, tmp_path):
    (tmp_path / f"train-000000.tar.{ending}").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"train-000000\.tar\.{ending} is compressed: unpack it"):
        Listing(tmp_path)


def test_a_file_that_is_there_twice_is_refused(root, tmp_path):
    write_shard(root / "val-000001.tar", {"val/1.jpg": b""})
    with pytest.raises(ValueError, match=r"val-000000\.tar and .*val-000001\.tar both hold val/1\.jpg: keep one"):
        Listing(root)
    write_shard(root / "val-000001.tar", {"train/labels.png": b""})
    (root / "train" / "labels.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train/labels\.png is in a shard and there as a file"):
        Listing(root)
    with tarfile.open(root / "val-000001.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("3.jpg"))
    with pytest.raises(ValueError, match=r"val-000001\.tar holds 3\.jpg twice"):
        Listing(root)


def test_files_in_shards_that_are_no_images_are_warned_of(tmp_path, caplog):
    write_shard(tmp_path / "00000.tar", {"1.jpg": b"", "1.json": b"", "1.cls": b"", "._1.jpg": b"", ".git/2.jpg": b""})
    with caplog.at_level(logging.WARNING):
        assert Listing(tmp_path).files[:] == ["00000.tar", "1.jpg"]
        Listing(tmp_path)
    (warning,) = caplog.messages
    assert "left out are 1 .cls, 1 .json: put annotations beside the shards" in warning


STEPS = st.sampled_from(["a", "b.c", "B", "_", "é", "0", "a b", "~", "images"])
PATHS = st.lists(st.lists(STEPS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)


@given(PATHS, st.randoms(use_true_random=False))
def test_a_listing_is_that_of_the_unpacked_folder(tmp_path_factory, paths, random):
    """With some files in shards of the folder, some in shards of a folder below, and some that are files."""
    folder = tmp_path_factory.mktemp("listing")
    names = sorted({f"{path}.jpg" for path in paths})
    parts = {name: random.choice(["on disk", "above", "beside"]) for name in names}
    for name in names:
        (folder / "plain" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "plain" / name).write_bytes(name.encode())
    sharded = shutil.copytree(folder / "plain", folder / "sharded")
    for name, place in parts.items():
        if place != "on disk":
            (sharded / name).unlink()
    write_shard(sharded / "00000.tar", {name: name.encode() for name in names if parts[name] == "above"})
    for name in (name for name in names if parts[name] == "beside"):
        top, _, below = name.rpartition("/")
        write_shard(sharded / top / f"{names.index(name) + 1:05d}.tar", {below: name.encode()})
    files.note_root(str(sharded))
    seen = [path for path in Listing(sharded).files if not path.endswith(".tar")]
    assert seen == list(Listing(folder / "plain").files) == names
    assert all(read_image_file(str(sharded / name)) == name.encode() for name in names)
    for below in {name.rpartition("/")[0] for name in names} - {""}:
        assert list(Listing(sharded / below).images) == list(Listing(folder / "plain" / below).images)


def test_a_file_in_a_shard_is_as_old_as_the_shard(root):
    files.note_root(str(root))
    os.utime(root / "val-000000.tar", ns=(0, 10**9))
    assert files.changed_at(root / "val" / "1.jpg") == 10**9
    assert files.changed_at(root / "train" / "labels.json") == os.stat(root / "train" / "labels.json").st_mtime_ns
    with pytest.raises(FileNotFoundError):
        files.changed_at(root / "val" / "2.jpg")
