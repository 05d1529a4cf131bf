"""Files are compared with the checksums they carry, and known by their content whatever their name ends in."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save, save_file

from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint, save_weights, select_weights
from focalnet_d2.checkpoint.digest import DIGEST, digest_of

SHIPPED = sorted((Path(__file__).parents[2] / "weights").glob("*.safetensors"))


@pytest.fixture
def weights():
    return {"a.weight": torch.randn(30, 40), "a.bias": torch.randn(40), "b": torch.randn(5).half()}


def assert_holds(path, weights):
    tensors = select_weights(read_checkpoint(path)).tensors
    assert all(torch.equal(tensors[name], value) for name, value in weights.items())


def places_of_records(path) -> dict[str, int]:
    """Where the bytes of every record of an archive begin."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        heads = {record.filename: record.header_offset for record in archive.infolist()}

    def lengths(head):
        return sum(int.from_bytes(content[head + k : head + k + 2], "little") for k in (26, 28))

    return {name: head + 30 + lengths(head) for name, head in heads.items()}


def flip(path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_every_record_of_an_archive_is_compared_with_its_checksum(tmp_path, weights):
    path = tmp_path / "model.pth"
    torch.save({"model": weights}, path)
    whole = path.read_bytes()
    places = places_of_records(path)
    assert len(places) > 5
    for name, place in places.items():
        flip(path, place)
        with pytest.raises(ValueError, match=rf"model\.pth is .*damaged.*{name}"):
            read_checkpoint(path)
        path.write_bytes(whole)
    assert_holds(path, weights)


def test_a_damaged_name_in_the_directory_of_an_archive_is_refused(tmp_path, weights):
    path = tmp_path / "model.pth"
    torch.save({"model": weights}, path)
    before, name, after = path.read_bytes().rpartition(b"model/data/1")
    path.write_bytes(before + b"mod\xe8" + name[4:] + after)  # no UTF-8
    with pytest.raises(ValueError, match=r"model\.pth is .*damaged"):
        read_checkpoint(path)


def test_an_archive_without_checksums_is_taken_as_it_is(tmp_path, weights):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"model": weights}, tmp_path / "model.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert_holds(tmp_path / "model.pth", weights)


def rewritten(source, target, *, change=lambda name, content: content, **options) -> None:
    """The same archive as another program writes it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


def test_a_compressed_archive_has_the_same_values_and_is_compared_too(tmp_path, weights):
    torch.save({"model": {**weights, "zeros": torch.zeros(1000)}}, tmp_path / "plain.pth")
    path = tmp_path / "packed.pth"
    rewritten(tmp_path / "plain.pth", path, compression=zipfile.ZIP_DEFLATED)
    assert_holds(path, weights)
    flip(path, places_of_records(path)["plain/data/0"] + 50)
    with pytest.raises(ValueError, match=r"packed\.pth is .*damaged.*plain/data/0"):
        read_checkpoint(path)


@pytest.mark.parametrize("bytes_more", [-4, 4])
def test_a_record_of_another_length_than_its_tensor_is_refused(tmp_path, weights, bytes_more):
    torch.save({"model": weights}, tmp_path / "plain.pth")

    def change(name, content):
        return (content + bytes(8))[: len(content) + bytes_more] if name == "plain/data/1" else content

    rewritten(tmp_path / "plain.pth", tmp_path / "model.pth", change=change)
    with pytest.raises(ValueError, match=r"model\.pth is .*other lengths than the tensors"):
        read_checkpoint(tmp_path / "model.pth")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_records_of_one_name_are_refused(tmp_path, weights):
    path = tmp_path / "model.pth"
    torch.save({"model": weights}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/0", bytes(4800))
    with pytest.raises(ValueError, match="two records have one name"):
        read_checkpoint(path)


# Digests


def test_the_digest_is_compared_and_does_not_show(tmp_path, weights):
    save_checkpoint(tmp_path / "m.pth", {"model": weights, "metadata": {"model": "X"}, "more": [weights["b"] + 1, 3]})
    save_weights(tmp_path / "m.safetensors", weights, {"model": "X"})
    for name in ("m.pth", "m.safetensors"):
        assert read_checkpoint(tmp_path / name)["metadata"] == {"model": "X"}
        assert_holds(tmp_path / name, weights)
    assert DIGEST in torch.load(tmp_path / "m.pth", weights_only=True)["metadata"]


@pytest.mark.parametrize("part", ["value", "name", "metadata"])
def test_changes_of_our_own_safetensors_are_found(tmp_path, weights, part):
    path = tmp_path / "m.safetensors"
    save_weights(path, weights, {"thing_classes": ["cat"]})
    content = path.read_bytes()
    old, new = {"name": (b"a.bias", b"a.bia3"), "metadata": (b"cat", b"car"), "value": (b"", b"")}[part]
    path.write_bytes(content.replace(old, new))
    if part == "value":
        flip(path, len(content) - 100)
    with pytest.raises(ValueError, match=r"m\.safetensors is not as it was written.*[Cc]opy"):
        read_checkpoint(path)


def test_a_changed_file_with_the_old_digest_is_refused_until_it_is_removed(tmp_path, weights):
    path = tmp_path / "m.pth"
    save_checkpoint(path, {"model": weights, "metadata": {"model": "X"}})
    content = torch.load(path, weights_only=True)
    content["model"]["b"] += 1
    torch.save(content, path)
    with pytest.raises(ValueError, match="remove the entry 'digest' of its metadata"):
        read_checkpoint(path)
    del content["metadata"]["digest"]
    torch.save(content, path)
    assert_holds(path, content["model"])


@given(st.dictionaries(st.text(), st.sampled_from(["float16", "bfloat16", "int64", "bool", "complex64"]), min_size=1))
def test_the_digest_does_not_depend_on_order_or_strides_and_does_on_everything_else(types):
    tensors = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)) for name, dtype in types.items()}
    digest = digest_of(tensors)
    assert digest == digest_of({name: value.T.contiguous().T for name, value in reversed(tensors.items())})
    name = next(iter(tensors))
    zeros = torch.zeros_like(tensors[name])
    for changed in ({**tensors, name + "x": zeros}, {**tensors, name: zeros}, {**tensors, name: tensors[name][:1]}):
        assert digest_of(changed) != digest
    assert digest_of(tensors, "text") != digest
    assert digest_of({**tensors, name: tensors[name].view(torch.uint8)}) != digest


def test_our_files_say_the_digest_in_a_header_that_others_read(tmp_path, weights):
    save_weights(tmp_path / "m.safetensors", weights)
    content = (tmp_path / "m.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"][DIGEST] == digest_of(weights, "{}")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_carry_their_digest_and_are_refused_when_a_block_is_lost(tmp_path, path):
    with safe_open(path, framework="pt") as file:
        notes = file.metadata()
    assert notes[DIGEST] == digest_of(read_checkpoint(path)["model"], notes["metadata"])
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    (tmp_path / path.name).write_bytes(content)
    with pytest.raises(ValueError, match=r"safetensors is not as it was written"):
        read_checkpoint(tmp_path / path.name)


def test_there_are_shipped_weights():
    assert len(SHIPPED) == 2


# Names and formats


@pytest.mark.parametrize("name", ["model.pth", "pytorch_model.bin", "model.ckpt", "model"])
def test_safetensors_are_known_by_their_content(tmp_path, weights, name):
    save_file(weights, tmp_path / name)
    assert_holds(tmp_path / name, weights)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_are_known_by_their_content(tmp_path, weights, zipped):
    torch.save(weights, tmp_path / "m.safetensors", _use_new_zipfile_serialization=zipped)
    assert_holds(tmp_path / "m.safetensors", weights)


def test_a_header_whose_length_looks_like_text_is_no_web_page(tmp_path):
    content = save({"a": torch.ones(4)})
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].decode().rstrip().ljust(0x3C20)  # the file begins with a blank and "<"
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + content[8 + length :])
    assert path.read_bytes()[:2] == b" <"
    assert_holds(path, {"a": torch.ones(4)})


def test_an_index_of_other_files_says_so(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    with pytest.raises(ValueError, match="is a JSON text, not the weights"):
        read_checkpoint(path)


def test_metadata_of_other_programs_may_be_any_text(tmp_path, weights):
    save_file(weights, tmp_path / "m.safetensors", {"format": "pt", "metadata": "made on a Monday"})
    assert select_weights(read_checkpoint(tmp_path / "m.safetensors")).metadata == {}
