"""The files of a folder in little memory, as plain lists would have them."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.folders import stored_texts
from focalnet_d2.data.folders.listing import Listing
from focalnet_d2.data.folders.stored_texts import KeyedTexts, StoredTexts, TextSet, sorted_texts

TEXTS = st.lists(st.text(st.characters(exclude_categories=()), max_size=6), max_size=12)


@given(TEXTS, st.integers(0, 5))
def test_texts_are_those_of_a_list(texts, few):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_texts, "_FEW", few)
        stored = StoredTexts(texts[:3])
        for text in texts[3:5]:
            stored.append(text)
        stored.extend(iter(texts[5:]))
    assert [list(stored), len(stored), stored[1:], stored[::-2]] == [texts, len(texts), texts[1:], texts[::-2]]
    assert not texts or (stored[-1], len(texts) in stored) == (texts[-1], False)
    assert list(stored.in_order()) == sorted(texts)


def test_short_lists_open_no_table(monkeypatch):
    monkeypatch.setattr(stored_texts, "TemporaryTable", None)
    stored = StoredTexts(map(str, range(100)))
    assert [len(stored), stored[99], list(stored.in_order())[:2]] == [100, "99", ["0", "1"]]
    with pytest.raises(TypeError):
        stored.append("one more")


@given(TEXTS)
def test_texts_are_found_by_what_is_in_them(texts):
    keyed = KeyedTexts(texts, lambda text: text[:1])
    for key in {"", "\0", *(text[:1] for text in texts)}:
        assert list(keyed.found(key)) == [text for text in texts if text[:1] == key]


@given(TEXTS, TEXTS)
def test_a_set_of_texts_is_that_of_python(texts, others):
    stored = TextSet()
    assert [text for text in texts if stored.add(text)] == list(dict.fromkeys(texts))
    assert [other in stored for other in others] == [other in texts for other in others]


@pytest.mark.parametrize("count", [3, 4, 9])
def test_many_texts_are_sorted_on_disk(monkeypatch, count):
    monkeypatch.setattr(stored_texts, "_AT_ONCE", 4)
    texts = [f"{7 * one % 10}\udc80" for one in range(count)]
    assert list(sorted_texts(texts)) == sorted(texts)


STEP = st.sampled_from(["a", "b", "a.png", "b.PNG", "a b", "a-", "a0", "é"])


@settings(max_examples=30)
@given(st.sets(st.lists(STEP, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8))
def test_files_are_sorted_and_found_by_folder_and_name(tmp_path_factory, paths):
    root = tmp_path_factory.mktemp("set")
    files = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
    for path in files:
        os.makedirs((root / path).parent, exist_ok=True)
        (root / path).touch()
    listing = Listing(root)
    images = sorted(path for path in files if path.lower().endswith(".png"))
    assert list(listing.files) == sorted(files)
    assert list(listing.images) == images
    for folder in {"", *(path.rpartition("/")[0] for path in files)}:
        own = [path for path in images if path.rpartition("/")[0] == folder]
        assert (list(listing.images_in(folder)), listing.image_counts[folder]) == (own, len(own))
    for name in ("a.png", "b.PNG", "none.png"):
        assert listing.images_named(name) == [path for path in images if path.rpartition("/")[2] == name]


def test_a_link_that_leads_round_in_a_circle_hides_no_other_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / "a" / "round").symlink_to("round")
    (tmp_path / "a" / "nowhere").symlink_to("missing")
    assert list(Listing(tmp_path).files) == ["a/1.png"]


def test_what_cannot_be_looked_at_is_noted(tmp_path, monkeypatch):
    for name in ("open/a.png", "closed/b.png", "1/2/3/4/5/6/7/8/9/c.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "open" / "gone.png").symlink_to("missing.png")
    os.mkfifo(tmp_path / "open" / "pipe.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = Listing(tmp_path)
    assert list(listing.files) == ["open/a.png"]
    assert listing.left_out == ["1/2/3/4/5/6/7/8/9", "closed", "open/gone.png"]
