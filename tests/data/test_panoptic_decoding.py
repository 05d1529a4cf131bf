"""Segment ids straight out of PNGs: those of Pillow for any encoder, and nothing of damaged files."""

import io
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.panoptic_decoding import PNG_SIGNATURE, decode_ids
from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.kernels import panoptic_png

FILTERS = range(5)
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)


@pytest.fixture(autouse=True)
def _compiled():
    if panoptic_png.LIBRARY.load() is None:
        pytest.skip(panoptic_png.LIBRARY.unavailable_reason())


def paeth(left, up, corner):
    """PNG's own words: the neighbor nearest to left + up - corner, of equals the first."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def filtered(colors, filters):
    """The rows of (H, W, 3) colors behind filters, byte after byte as the standard says."""
    rows = bytearray()
    values = np.pad(colors.astype(int), ((1, 0), (1, 0), (0, 0)))
    for y, kind in enumerate(filters, 1):
        rows.append(kind)
        for x in range(1, values.shape[1]):
            for left, up, corner, value in zip(values[y, x - 1], values[y - 1, x], values[y - 1, x - 1], values[y, x]):
                guess = (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]
                rows.append((value - guess) % 256)
    return bytes(rows)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, data, *, form=(8, 2, 0, 0, 0), parts=1, extra=()):
    """A file whose compressed pixels stand in some chunks."""
    cuts = [len(data) * part // parts for part in range(parts + 1)]
    pixels = [chunk(b"IDAT", data[start:end]) for start, end in pairwise(cuts)]
    head = chunk(b"IHDR", struct.pack(">II5B", width, height, *form))
    return PNG_SIGNATURE + head + b"".join([*extra, *pixels]) + chunk(b"IEND", b"")


def compressed(rows, level=6, strategy=zlib.Z_DEFAULT_STRATEGY, window=15):
    packer = zlib.compressobj(level, zlib.DEFLATED, window, 8, strategy)
    return packer.compress(rows) + packer.flush()


def ids_of(colors):
    return (colors.astype(int) * (1, 256, 65536)).sum(-1)


@st.composite
def pictures(draw):
    """Colors (H, W, 3): noise, or stretches of few colors, as label maps are."""
    height, width = draw(st.integers(1, 8)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    if draw(st.booleans()):
        return rng.integers(0, 256, (height, width, 3))
    palette = rng.integers(0, 256, (3, 3)) * rng.integers(0, 2, (3, 1))
    indices = np.repeat(rng.integers(0, 3, (height, 1 + width // 11)), 11, axis=1)[:, :width]
    return palette[indices if draw(st.booleans()) else np.sort(indices, axis=0)]


@settings(max_examples=80, deadline=None)
@given(
    colors=pictures(),
    filters=st.lists(st.sampled_from(FILTERS), min_size=8, max_size=8),
    packing=st.tuples(st.integers(0, 9), st.sampled_from(STRATEGIES), st.integers(9, 15)),
    parts=st.integers(1, 4),
)
def test_any_filter_and_any_compression(colors, filters, packing, parts):
    height, width = colors.shape[:2]
    rows = filtered(colors, filters[:height])
    content = png(width, height, compressed(rows, *packing), parts=parts)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), colors)  # the test's own filters are right
    found = decode_ids(content)
    assert found.dtype == np.int32
    assert np.array_equal(found, ids_of(colors))


@settings(max_examples=100, deadline=None)
@given(
    filters=st.lists(st.sampled_from(FILTERS), min_size=1, max_size=6),
    width=st.integers(1, 70),
    share=st.sampled_from([0.0, 0.01, 0.1]),
    seed=st.integers(0, 2**31),
)
def test_long_stretches_of_zeros_behind_any_filter(filters, width, share, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (len(filters), 1 + 3 * width), np.uint8)
    rows *= rng.random(rows.shape) < share
    rows[0, 1:4] = rng.integers(0, 256, 3)
    rows[:, 0] = filters
    content = png(width, len(filters), compressed(rows.tobytes()))
    assert np.array_equal(decode_ids(content), ids_of(np.asarray(Image.open(io.BytesIO(content)))))


@pytest.mark.parametrize("size", [(480, 640), (3, 40_000), (1200, 900)])
@pytest.mark.parametrize("noise", [0.0, 0.02, 1.0])
def test_sizes_beyond_the_window_as_pillow_writes_them(size, noise):
    rng = np.random.default_rng(0)
    cells = np.kron(rng.integers(0, 256**3, (8, 8)), np.ones((-(-size[0] // 8), -(-size[1] // 8)), int))
    ids = np.where(rng.random(size) < noise, rng.integers(0, 256**3, size), cells[: size[0], : size[1]])
    colors = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    for options in ({}, {"compress_level": 0}, {"optimize": True}):
        target = io.BytesIO()
        Image.fromarray(colors).save(target, "PNG", **options)
        assert np.array_equal(decode_ids(target.getvalue()), ids)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_damaged_pixels_are_what_zlib_makes_of_them_or_nothing(data, seed):
    """Below the check sums of the file, so that every part of the decoder meets damage."""
    rng = np.random.default_rng(seed)
    height, width = 6, 50
    rows = filtered(rng.integers(0, 3, (height, 1, 3)) * np.ones((1, width, 1), int), rng.integers(0, 5, height))
    packed = bytearray(compressed(rows, data.draw(st.integers(0, 9)), data.draw(st.sampled_from(STRATEGIES))))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del packed[data.draw(st.integers(0, len(packed))) :]
    check_against_zlib(bytes(packed), height, width)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"\x78\x9c", b"\x78\x01", b""]))
@example(b"\x03\x00\x00\x00\x00\x01", b"\x78\x9c")  # whole, but empty
@example(b"", b"")
def test_any_bytes(body, head):
    check_against_zlib(head + body, 2, 3)


def check_against_zlib(packed, height, width):
    """None where zlib fails or has other than these rows, else the ids of its rows."""
    found = panoptic_png.decode_ids(packed, height, width)
    unpacker = zlib.decompressobj()
    try:
        rows = unpacker.decompress(packed)
    except zlib.error:
        rows = b""
    stride = 1 + 3 * width
    is_whole = unpacker.eof and not unpacker.unused_data and len(rows) == height * stride
    if not is_whole or any(kind not in FILTERS for kind in rows[::stride]):
        assert found is None
        return
    colors = np.asarray(Image.open(io.BytesIO(png(width, height, compressed(rows)))))
    assert np.array_equal(found, ids_of(colors))


ROWS = filtered(np.full((2, 3, 3), 7), [0, 0])
GOOD = png(3, 2, compressed(ROWS))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a" + GOOD,
        GOOD[:-1],
        GOOD[:40],
        GOOD[:60] + bytes([GOOD[60] ^ 1]) + GOOD[61:],  # a check sum is wrong
        png(3, 2, compressed(ROWS), form=(8, 6, 0, 0, 0)),  # with alpha
        png(3, 2, compressed(ROWS), form=(16, 2, 0, 0, 0)),
        png(3, 2, compressed(ROWS), form=(8, 2, 0, 0, 1)),  # interlaced
        png(3, 2, compressed(ROWS), extra=[chunk(b"tRNS", bytes(6))]),
        png(3, 3, compressed(ROWS)),
        png(3, 1, compressed(ROWS)),
        png(0, 2, compressed(ROWS)),
        png(3, 2**31 - 1, compressed(ROWS)),
        png(3, 2, compressed(ROWS) + b"x"),
        png(3, 2, compressed(ROWS)[:-1] + b"x"),
        png(3, 2, compressed(filtered(np.full((2, 3, 3), 7), [0, 0])[:-10] + b"\x05" + bytes(9))),  # filter 5
        PNG_SIGNATURE + chunk(b"IDAT", compressed(ROWS)) + chunk(b"IEND", b""),
    ],
)
def test_what_is_unusual_or_damaged_is_left_to_others(content):
    assert decode_ids(content) is None


def test_other_chunks_do_not_matter():
    content = png(3, 2, compressed(ROWS), extra=[chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"tEXt", b"a\0b")])
    assert (decode_ids(content) == 0x070707).all()


def test_files_are_read_alike_with_and_without_a_compiler(tmp_path, monkeypatch):
    ids = np.random.default_rng(0).integers(0, 256**3, (40, 50))
    colors = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    Image.fromarray(colors).save(tmp_path / "ids.png")
    assert np.array_equal(read_panoptic_ids(tmp_path / "ids.png"), ids)
    monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    assert decode_ids((tmp_path / "ids.png").read_bytes()) is None
    assert np.array_equal(read_panoptic_ids(tmp_path / "ids.png"), ids)
