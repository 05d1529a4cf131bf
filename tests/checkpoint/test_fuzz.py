"""Damaged and changed files, drawn by seed: each loads to exactly the values it held, or is one error that names it.

`FUZZ_SCALE=10` tries ten times as many.
"""

import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from focalnet_d2.checkpoint import load_checkpoint, save_checkpoint, save_weights
from tests.checkpoint.building import assert_same_state, snapshot, tiny_focalnet
from tests.fuzzing import fuzz_count

State = dict[Any, Any]  # name -> tensor, before it is changed
Change = Callable[[Path, random.Random], None]

CHECKED = ("own .pth", ".pth", "own .safetensors")  # every byte of a value is under a checksum
WRITERS: dict[str, Callable[[Path, State], object]] = {
    "own .pth": lambda path, state: save_checkpoint(path, {"model": state, "metadata": {"model": "FocalNet"}}),
    ".pth": lambda path, state: torch.save({"model": state, "epoch": 3}, path),
    "own .safetensors": lambda path, state: save_weights(path, state, {"model": "FocalNet"}),
    ".safetensors": lambda path, state: save_file(state, path),
    "old .pth": lambda path, state: torch.save({"model": state}, path, _use_new_zipfile_serialization=False),
    ".pkl": lambda path, state: path.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in state.items()}})),
}


# Changes of the bytes of any file


def zero_a_block(path: Path, draw: random.Random) -> None:
    _overwrite(path, draw.randrange(path.stat().st_size), bytes(draw.choice([1, 16, 512, 4096])))


def flip_a_bit(path: Path, draw: random.Random) -> None:
    _flip(path, draw.randrange(path.stat().st_size), draw)


def flip_bits_of_the_header(path: Path, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 3)):
        _flip(path, draw.randrange(min(2000, path.stat().st_size)), draw)


def flip_bits_of_the_end(path: Path, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 3)):
        _flip(path, path.stat().st_size - 1 - draw.randrange(2000), draw)


def truncate(path: Path, draw: random.Random) -> None:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: draw.choice([draw.randrange(size), size - draw.randint(1, 70)])])


def append(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.choice([1, 8, 5000])))


def move_a_block(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    start, length = draw.randrange(len(content)), draw.choice([64, 1024])
    _overwrite(path, draw.randrange(len(content)), content[start : start + length])


def _overwrite(path: Path, start: int, block: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes((content[:start] + block + content[start + len(block) :])[: len(content)])


def _flip(path: Path, position: int, draw: random.Random) -> None:
    _overwrite(path, position, bytes([path.read_bytes()[position] ^ (1 << draw.randrange(8))]))


def damage_the_directory_of_an_archive(path: Path, draw: random.Random) -> None:
    """Names, lengths, places or checksums that an archive states at its end."""
    if not zipfile.is_zipfile(path):
        return flip_bits_of_the_header(path, draw)
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    _flip(path, draw.randrange(start, path.stat().st_size), draw)


def state_another_length_of_the_header(path: Path, draw: random.Random) -> None:
    _overwrite(path, 0, struct.pack("<Q", draw.choice([0, 1, 2**20, 2**62, 2**64 - 1, draw.randrange(20_000)])))


BYTES: tuple[Change, ...] = (
    zero_a_block, flip_a_bit, flip_bits_of_the_header, flip_bits_of_the_end, truncate, append, move_a_block,
    damage_the_directory_of_an_archive, state_another_length_of_the_header,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(fuzz_count(25)))
def test_a_damaged_file_loads_its_values_or_is_refused(tmp_path, seed):
    draw = random.Random(seed)
    kind = draw.choice(list(WRITERS))
    path = tmp_path / f"file.{draw.choice(['pth', 'safetensors', 'pkl'])}"
    state = snapshot(tiny_focalnet(2))
    WRITERS[kind](path, state)
    draw.choice(BYTES)(path, draw)
    model = tiny_focalnet(1)
    if loads_or_leaves(model, path) and kind in CHECKED:
        assert_same_state(model.state_dict(), state)


def loads_or_leaves(model: torch.nn.Module, checkpoint: Path) -> bool:
    """Whether a file was loaded; if not, it was one error that names it, and the model is as before."""
    before = snapshot(model)
    try:
        load_checkpoint(model, checkpoint)
    except ValueError as error:
        message = str(error)
    else:
        return True
    assert checkpoint.name in message
    assert "\n" not in message
    assert_same_state(model.state_dict(), before)
    return False


# Files that are whole, and hold something else than the model


def rename(state: State, name: str, draw: random.Random) -> None:
    state[draw.choice(["", "x", f"{name}.x", name[1:], f"module.{name}", f"model.{name}", 3])] = state.pop(name)


def leave_out(state: State, name: str, draw: random.Random) -> None:
    del state[name]


def change_the_type(state: State, name: str, draw: random.Random) -> None:
    state[name] = state[name].to(draw.choice([torch.int64, torch.uint8, torch.bool, torch.complex64]))


def change_the_shape(state: State, name: str, draw: random.Random) -> None:
    value = state[name]
    state[name] = draw.choice([value[:-1], value[None], torch.cat([value, value]), torch.ones(()), torch.ones(0)])


def spoil_a_value(state: State, name: str, draw: random.Random) -> None:
    state[name].view(-1)[draw.randrange(state[name].numel())] = draw.choice([torch.nan, torch.inf, -torch.inf])


def make_sparse(state: State, name: str, draw: random.Random) -> None:
    state[name] = state[name].to_sparse()


def put_something_else(state: State, name: str, draw: random.Random) -> None:
    state[name] = draw.choice([3, None, "x", [1.0], {"x": torch.ones(1)}, torch.ones(1, device="meta")])


CONTENTS = (rename, leave_out, change_the_type, change_the_shape, spoil_a_value, make_sparse, put_something_else)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("seed", range(fuzz_count(15)))
def test_a_file_with_one_wrong_tensor_is_refused_and_nothing_is_copied(tmp_path, seed):
    draw, path = random.Random(seed), tmp_path / "file.pth"
    state = snapshot(tiny_focalnet(2))
    names = [name for name in state if not name.startswith("norm")]  # which a file may lack
    CONTENTS[seed % len(CONTENTS)](state, draw.choice(names), draw)
    zipped = draw.random() < 0.7
    torch.save({draw.choice(["model", "state_dict", "net"]): state}, path, _use_new_zipfile_serialization=zipped)
    assert not loads_or_leaves(tiny_focalnet(1), path)


def test_unchanged_files_load_to_the_same_values(tmp_path):
    state = snapshot(tiny_focalnet(2))
    for number, write in enumerate(WRITERS.values()):
        model, path = tiny_focalnet(1), tmp_path / f"file{number}.pth"
        write(path, state)
        load_checkpoint(model, path)
        assert_same_state(model.state_dict(), state)
