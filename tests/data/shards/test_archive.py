"""The files of an archive are where its headers say, and whatever is wrong with one is said in one sentence."""

import gzip
import io
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.data.shards.archive import archived_files
from tests.data.shards.conftest import write_shard

TWO = {"a/1.jpg": b"one" * 300, "a/2.jpg": b"two"}
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=150)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_file_is_found_with_its_bytes(form, tmp_path):
    path = write_shard(tmp_path / "00000.tar", {**TWO, "b/empty.png": b""}, format=form)
    content = path.read_bytes()
    found = {name: content[offset : offset + size] for name, offset, size in archived_files(str(path))}
    assert found == {**TWO, "b/empty.png": b""}


@given(st.dictionaries(NAMES.filter(lambda name: name not in (".", "..")), st.binary(max_size=700), max_size=4))
def test_files_of_any_name_are_found(tmp_path_factory, contents):
    path = write_shard(tmp_path_factory.mktemp("any") / "00000.tar", contents)
    content = path.read_bytes()
    found = {name: content[offset : offset + size] for name, offset, size in archived_files(str(path))}
    assert found == contents


def test_folders_are_passed_over_and_a_leading_dot_is_no_part_of_a_name(tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "1.jpg").write_bytes(b"one")
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        archive.add(tmp_path / "data", ".")
    assert [one.name for one in archived_files(str(tmp_path / "00000.tar"))] == ["a/1.jpg"]


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


def damaged(content: bytes) -> bytes:
    """The header of the second file is no header any more."""
    return content[:1536] + b"x" * 512 + content[2048:]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: cut(content, 900), r"00000\.tar is cut off in its member a/1\.jpg: copy it again"),
        (lambda content: cut(content, 1536), r"00000\.tar is cut off behind its member a/1\.jpg, where its end"),
        (lambda content: cut(content, 1700), r"00000\.tar is cut off|holds something behind its member a/1\.jpg"),
        (lambda content: cut(content, 2560), r"00000\.tar is cut off behind its member a/2\.jpg, where its end"),
        (lambda content: content + content, r"holds something behind its member a/2\.jpg that is no member"),
        (damaged, r"00000\.tar holds something behind its member a/1\.jpg that is no member"),
        (lambda content: b"", r"00000\.tar is damaged \(empty file\)"),
        (lambda content: b"no archive" * 100, r"00000\.tar is damaged \(.*\): copy it again"),
        (gzip.compress, r"00000\.tar is compressed \(gzip\)"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(spoil, message, tmp_path):
    path = write_shard(tmp_path / "00000.tar", TWO)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as refused:
        list(archived_files(str(path)))
    assert re.fullmatch(r"The shard [^\n]*\.", str(refused.value))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../1.jpg", tarfile.REGTYPE, r"The member \.\./1\.jpg of the shard .*00000\.tar lies outside of the folder"),
        ("a/../../1.jpg", tarfile.REGTYPE, r"The member a/\.\./\.\./1\.jpg .* lies outside"),
        ("/etc/1.jpg", tarfile.REGTYPE, r"The member /etc/1\.jpg .* lies outside"),
        ("1.jpg", tarfile.SYMTYPE, r"The member 1\.jpg .* is a symbolic link, and only plain files"),
        ("1.jpg", tarfile.LNKTYPE, r"is a hard link, and only plain files can be read"),
        ("1.jpg", tarfile.CHRTYPE, r"is a device, and only plain files can be read"),
        ("1.jpg", tarfile.FIFOTYPE, r"is a pipe, and only plain files can be read"),
        ("1.jpg", b"9", r"is of an unknown kind|damaged"),
    ],
)
def test_a_member_that_is_no_plain_file_of_the_folder_is_refused(name, kind, message, tmp_path):
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "elsewhere"
        archive.addfile(member, io.BytesIO())
    with pytest.raises(ValueError, match=message):
        list(archived_files(str(tmp_path / "00000.tar")))
