"""What all preparations stand on: workers, the journal, and whether a PNG is complete."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.preparation.files import GRAY, RGB, PngHeader, is_complete_png, read_labels, write_png
from focalnet_d2.data.preparation.jobs import Journal, run_jobs

SETTINGS = {"made_by": "a test"}


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_jobs(workers):
    assert list(run_jobs(abs, range(-20, 0), workers=workers, description="numbers")) == list(range(20, 0, -1))
    assert list(run_jobs(abs, [], workers=workers, description="nothing")) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_error_of_a_job_comes_after_the_results_before_it(workers):
    results = run_jobs(float, ["1", "2", "three", "4"], workers=workers, description="numbers")
    assert [next(results), next(results)] == [1.0, 2.0]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_death_of_a_worker_is_said():
    with pytest.raises(RuntimeError, match="run the same command again, it continues"):
        list(run_jobs(os._exit, [1] * 4, workers=2, description="deaths"))


@given(cut=st.integers(0, 200))
def test_journal_cut_anywhere_keeps_a_beginning_and_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / "a.journal"
    entries = {"a": [1, "x"], "b": {"size": [2, 3]}, "c": None}
    journal = Journal(path, SETTINGS)
    for key, value in entries.items():
        journal.add(key, value)
    path.write_bytes(path.read_bytes()[:cut])
    again = Journal(path, SETTINGS)
    kept = len(again.results)
    assert list(again.results.items()) == list(entries.items())[:kept]
    assert kept == 3 or cut < 200
    for key in list(entries)[kept:]:
        again.add(key, entries[key])
    assert Journal(path, SETTINGS).results == entries


def test_journal_of_other_settings_is_dropped(tmp_path):
    Journal(tmp_path / "a.journal", SETTINGS).add("a", 1)
    assert Journal(tmp_path / "a.journal", {"made_by": "another"}).results == {}
    assert Journal(tmp_path / "a.journal", SETTINGS).results == {}


def test_every_cut_off_png_is_incomplete(tmp_path):
    path = tmp_path / "a.png"
    header = PngHeader(7, 5, 8, GRAY)
    write_png(path, np.arange(35, dtype=np.uint8).reshape(5, 7))
    content = path.read_bytes()
    assert is_complete_png(path, header)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert not is_complete_png(path, header)
    path.unlink()
    assert not is_complete_png(path, header)


@pytest.mark.parametrize("other", [PngHeader(5, 7, 8, GRAY), PngHeader(7, 5, 16, GRAY), PngHeader(7, 5, 8, RGB)])
def test_png_of_another_size_or_kind_is_not_the_one(tmp_path, other):
    write_png(tmp_path / "a.png", np.zeros((5, 7), np.uint8))
    assert not is_complete_png(tmp_path / "a.png", other)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_of_few_bits_gives_indices(tmp_path, bits):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette([200] * 768)
    image.save(tmp_path / "a.png", bits=bits)
    assert read_labels(tmp_path / "a.png", (2, 2)).tolist() == [[0, 1], [1, 0]]


def test_gray_of_one_bit_is_refused(tmp_path):
    """Pillow would stretch it to 0 and 255."""
    Image.new("1", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is a 2x2 1-bit grey PNG"):
        read_labels(tmp_path / "a.png", (2, 2))
