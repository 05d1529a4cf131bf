"""The files of a folder in little memory, as plain lists would have them."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.folders.compact_texts import ChosenTexts, CompactTexts
from focalnet_d2.data.folders.listing import Listing

TEXTS = st.lists(st.text(st.characters(exclude_categories=()), max_size=6), max_size=12)


@given(TEXTS, st.data())
def test_texts_are_those_of_a_list(texts, data):
    compact = CompactTexts(texts)
    assert [list(compact), len(compact), compact[1:], compact[::-2]] == [texts, len(texts), texts[1:], texts[::-2]]
    places = data.draw(st.lists(st.integers(0, len(texts) - 1))) if texts else []
    chosen = ChosenTexts(compact, places)
    assert [list(chosen), chosen[:2]] == [[texts[one] for one in places], [texts[one] for one in places[:2]]]
    assert list(ChosenTexts(compact, places, only_name=True)) == [texts[one].rpartition("/")[2] for one in places]
    assert not texts or (compact[-1], len(texts) in compact) == (texts[-1], False)


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
    folders = {f"{folder}/{name}".lstrip("/") for folder, names in listing.images_by_folder.items() for name in names}
    assert folders == set(images)
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
