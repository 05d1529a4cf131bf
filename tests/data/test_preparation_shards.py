"""A packed folder is the folder with its images in shards: the same data set, the same bytes again, or nothing."""

import os
import tarfile

import pytest

from focalnet_d2.commands import check_data, pack
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.datasets.panoptic import load_panoptic
from focalnet_d2.data.fixing.copy import write_mended_copy
from focalnet_d2.data.folders.finding import find_datasets, served_as
from focalnet_d2.data.folders.records import load_records
from focalnet_d2.data.image_reading import read_image_file
from focalnet_d2.data.preparation.shards import pack_folder
from focalnet_d2.inference.image_files import image_files
from tests.data.packed.conftest import own_cache
from tests.own_data_folders import FOLDERS, write_boxes, write_panoptic, write_semantic

MEGABYTE = 10**6

pytestmark = pytest.mark.usefixtures(own_cache.__name__)


def moved(value, old, new):
    """The same with paths that begin elsewhere."""
    if isinstance(value, dict):
        return {key: moved(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [moved(one, old, new) for one in value]
    return value.replace(str(old), str(new)) if isinstance(value, str) else value


def records_of(root):
    """Dataset dicts of each part of each reading, and of what is made of panoptic ones."""
    found = find_datasets(root)
    kinds = [(one, kind) for one in found for kind in ("instances", "semantic", one.kind)]
    served = [served_as(one, kind) for one, kind in kinds if kind == one.kind or one.kind == "panoptic"]
    return {
        (one.layout, one.kind, part): list(load_records(one, part, ClassChanges()))
        for one in served
        for part in one.parts
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_a_packed_folder_is_the_same_data_set(name, tmp_path):
    folder, shards = FOLDERS[name](tmp_path / "folder"), tmp_path / "shards"
    packed = pack_folder(folder, shards, MEGABYTE)
    assert packed.images == sum(path.suffix in (".jpg", ".png") for path in folder.rglob("*"))
    assert sorted(path.name for path in shards.glob("*.tar")) == ["train-000000.tar", "val-000000.tar"]
    assert not [path for path in shards.rglob("*") if path.suffix in (".jpg", ".png")]
    expected = records_of(folder)
    assert expected
    assert records_of(shards) == {key: moved(value, folder, shards) for key, value in expected.items()}
    files = list(map(str, image_files(folder)))
    assert [moved(path, folder, shards) for path in files] == list(map(str, image_files(shards)))
    assert all(read_image_file(moved(path, folder, shards)) == read_image_file(path) for path in files)


def test_the_same_folder_gives_the_same_bytes_on_another_day(tmp_path):
    folder = write_panoptic(tmp_path / "folder")
    pack_folder(folder, tmp_path / "one", MEGABYTE)
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))
    pack_folder(folder, tmp_path / "two", MEGABYTE)
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 4


def test_a_label_file_lies_beside_its_image(tmp_path):
    pack_folder(write_semantic(tmp_path / "folder"), tmp_path / "shards", MEGABYTE)
    with tarfile.open(tmp_path / "shards" / "val-000000.tar") as archive:
        assert archive.getnames()[:4] == [
            "images/val/0.jpg",
            "labels/val/0.png",
            "images/val/1.jpg",
            "labels/val/1.png",
        ]


def test_shards_are_cut_where_the_size_is_reached(tmp_path):
    folder = write_boxes(tmp_path / "folder", parts=("train",), count=5)
    size = os.path.getsize(folder / "train" / "train_0.png")
    packed = pack_folder(folder, tmp_path / "shards", 3 * size)
    paths = sorted((tmp_path / "shards").glob("*.tar"))
    assert [path.name for path in paths] == [f"train-{number:06d}.tar" for number in range(3)]
    assert (packed.shards, packed.size) == (3, sum(map(os.path.getsize, paths)))
    counts = []
    for path in paths:
        with tarfile.open(path) as archive:
            counts.append(len(archive.getnames()))
    assert counts == [2, 2, 1]
    assert pack_folder(folder, tmp_path / "alone", 1).shards == 5


def test_nothing_is_left_of_a_folder_that_cannot_be_packed(tmp_path, monkeypatch):
    folder = write_boxes(tmp_path / "folder")

    def fail(name):
        raise OSError("the disk is gone")

    monkeypatch.setattr("focalnet_d2.data.preparation.shards.open_file", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        pack_folder(folder, tmp_path / "shards", MEGABYTE)
    assert list(tmp_path.iterdir()) == [folder]


def test_what_cannot_be_packed_is_said_in_one_line(tmp_path, capsys):
    folder = write_boxes(tmp_path / "folder")
    assert pack.main([str(folder), "--out", str(tmp_path / "shards")]) == 0
    assert "8 images in 2 shards" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        ([folder, "--out", tmp_path / "shards"], "exists: name a folder for the shards that does not"),
        ([folder, "--out", folder / "shards"], "lies in the data set"),
        ([tmp_path / "shards", "--out", tmp_path / "again"], "has its images in shards already, train-000000.tar"),
        ([tmp_path / "empty", "--out", tmp_path / "again"], "has no images that could be packed, only no file"),
        ([tmp_path / "nowhere", "--out", tmp_path / "again"], "does not exist"),
    ]:
        assert pack.main(list(map(str, arguments))) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pack.main([str(folder), "--out", str(tmp_path / "again"), "--size", "many"])
    assert "many is no size: write 500MB, 1GB or 2GiB" in capsys.readouterr().err


def test_names_that_other_tools_cut_elsewhere_are_told(tmp_path, capsys):
    folder = write_boxes(tmp_path / "folder")
    (folder / "train" / "train_0.png").rename(folder / "train" / "train.0.png")
    assert pack.main([str(folder), "--out", str(tmp_path / "shards")]) == 0
    assert "1 image with another dot in the name" in capsys.readouterr().out


def test_webdataset_reads_the_shards(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    folder = write_panoptic(tmp_path / "folder")
    pack_folder(folder, tmp_path / "shards", MEGABYTE)
    shards = sorted(map(str, (tmp_path / "shards").glob("*.tar")))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    read = {f"{one['__key__']}.{suffix}": one[suffix] for one in samples for suffix in ("jpg", "png") if suffix in one}
    images = (path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    assert read == {str(path.relative_to(folder)): path.read_bytes() for path in images}


def test_shards_that_webdataset_writes_are_a_data_set(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    folder = write_boxes(tmp_path / "folder", parts=("train",))
    (tmp_path / "shards").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "shards" / "birds-%06d.tar"), maxcount=3, verbose=0) as writer:
        for path in sorted((folder / "train").glob("*.png")):
            writer.write({"__key__": path.stem, "png": path.read_bytes()})
    (tmp_path / "shards" / "train.json").write_bytes((folder / "train" / "_annotations.coco.json").read_bytes())
    found = records_of(tmp_path / "shards")
    assert {key[:2] for key in found} == {("coco", "instances")}
    files = sorted(record["file_name"] for records in found.values() for record in records)
    assert [os.path.basename(file) for file in files] == [f"train_{number}.png" for number in range(4)]
    assert all(read_image_file(file) == (folder / "train" / os.path.basename(file)).read_bytes() for file in files)


def test_registered_data_sets_may_lie_in_shards(tmp_path):
    folder = write_panoptic(tmp_path / "folder")
    pack_folder(folder, tmp_path / "shards", MEGABYTE)

    def records(root):
        truth = f"{root}/annotations/panoptic_val.json"
        return load_panoptic(f"of {root}", truth, f"{root}/panoptic_val", f"{root}/val")

    assert records(tmp_path / "shards") == moved(records(folder), folder, tmp_path / "shards")


@pytest.mark.parametrize("name", ["boxes", "panoptic", "semantic", "classes"])
def test_a_check_finds_the_same_and_mends_it_into_files(name, tmp_path, capsys):
    folder, shards = FOLDERS[name](tmp_path / "folder"), tmp_path / "shards"
    pack_folder(folder, shards, MEGABYTE)
    found = []
    for root, mended in ((folder, tmp_path / "one"), (shards, tmp_path / "two")):
        status = check_data.main([str(root), "--workers", "1", "--out", str(tmp_path / "page"), "--json"])
        found.append({"status": status, "said": capsys.readouterr().out})
        write_mended_copy(find_datasets(root), mended)
    assert found[1] == moved(found[0], folder, shards)
    one, two = (
        {path.relative_to(mended): path.read_bytes() for path in mended.rglob("*.*") if path.stem != "changes"}
        for mended in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    assert len(one) > 4


def test_a_damaged_shard_is_a_fault(tmp_path, capsys):
    shards = tmp_path / "shards"
    pack_folder(write_boxes(tmp_path / "folder"), shards, MEGABYTE)
    path = shards / "val-000000.tar"
    path.write_bytes(path.read_bytes()[:9000])
    assert check_data.main([str(shards), "--workers", "1", "--out", str(tmp_path / "page")]) == 1
    assert f"The shard {path} is cut off in its member val/val_0.png" in capsys.readouterr().out
