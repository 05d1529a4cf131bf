"""Validation images are split off by names, seed and share alone."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.folders.dataset import Split
from focalnet_d2.data.folders.splitting import split_images

NAMES = st.lists(st.text("abc/_.019é", min_size=1, max_size=8), min_size=2, max_size=40, unique=True)
SHARES = st.floats(0.01, 0.99)


@given(NAMES, SHARES, st.integers(0, 5), st.randoms())
@settings(max_examples=60, deadline=None)
def test_every_image_is_in_one_part_whatever_the_order(names, share, seed, random):
    split = Split(share, seed)
    train, val = split_images(names, split)
    assert sorted(train + val) == sorted(names)
    assert train
    assert val
    assert abs(len(val) - share * len(names)) <= max(0.5, 1 - share * len(names), 1 - (1 - share) * len(names)) + 1e-9
    shuffled = random.sample(names, len(names))
    assert split_images([*shuffled, shuffled[0]], split) == (train, val)


@given(NAMES, SHARES, st.text("xyz", min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_added_image_moves_at_most_one_other(names, share, added):
    split = Split(share)
    _, before = split_images(names, split)
    _, after = split_images([*names, added], split)
    assert len(set(before) ^ set(after) - {added}) <= 1


@given(NAMES, SHARES)
@settings(max_examples=60, deadline=None)
def test_groups_stay_together(names, share):
    split = Split(share, groups="^(.)")
    firsts = {name[0] for name in names}
    if len(firsts) < 2:
        with pytest.raises(ValueError, match="No validation images can be split off"):
            split_images(names, split)
        return
    train, val = split_images(names, split)
    assert {name[0] for name in train} | {name[0] for name in val} == firsts
    assert not {name[0] for name in train} & {name[0] for name in val}
    assert train
    assert val


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), SHARES)
@settings(max_examples=60, deadline=None)
def test_each_class_is_split_for_itself(classes, share):
    class_of = {f"{number}": one for number, one in enumerate(classes)}
    counts = {one: classes.count(one) for one in classes}
    if max(counts.values()) < 2:
        return
    train, val = split_images(class_of, Split(share), class_of=class_of.get)
    for one, count in counts.items():
        own = [name for name in val if class_of[name] == one]
        assert len(own) == (0 if count == 1 else min(max(1, int(share * count + 0.5)), count - 1))
    assert len(train) + len(val) == len(classes)


def test_the_seed_decides():
    names = [f"{number}.jpg" for number in range(50)]
    splits = {tuple(split_images(names, replace(Split(), seed=seed))[1]) for seed in range(5)}
    assert len(splits) == 5
    assert all(len(val) == 10 for val in splits)


def test_the_split_of_some_names_is_fixed():
    """Lists that were not written are made again by other processes and versions."""
    assert split_images("abcdefghij", Split(0.3, 7))[1] == ["e", "g", "j"]


def test_a_group_is_the_first_group_of_the_pattern_or_all_that_fits():
    names = ["cam1_001.jpg", "cam1_002.jpg", "cam2_001.jpg", "cam2_002.jpg"]
    for pattern in ("cam\\d", "_?(cam\\d)_"):
        train, val = split_images(names, Split(0.5, groups=pattern))
        assert {name[:4] for name in train} != {name[:4] for name in val}
        assert len(train) == len(val) == 2


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(0), r"data.val_share=0 leaves no image to score"),
        (Split(1.0), r"data.val_share=1.0 must be between"),
        (Split(groups="("), r"data.split_groups='\(' is no regular expression"),
        (Split(groups=".jpg"), r"No validation images can be split off 2 training images in groups by '.jpg'"),
    ],
)
def test_splits_that_cannot_be_are_refused(split, message):
    with pytest.raises(ValueError, match=message):
        split_images(["a.jpg", "b.jpg"], split)


def test_a_single_image_cannot_be_split():
    with pytest.raises(ValueError, match="split off 1 training images: name a validation part by data.val"):
        split_images(["a.jpg"], Split())


@given(NAMES, SHARES, st.sampled_from(["", "^(.)"]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_both_parts_have_labels_where_two_groups_do(names, share, pattern, random):
    split = Split(share, groups=pattern)
    unlabelled = {name for name in names if random.random() < 0.8}
    group = (lambda name: name[0]) if pattern else (lambda name: name)
    if len({group(name) for name in names}) < 2:
        return
    train, val = split_images(names, split, unlabelled=unlabelled)
    plain_train, plain_val = split_images(names, split)
    if all(set(part) - unlabelled for part in (plain_train, plain_val)):
        assert (train, val) == (plain_train, plain_val)
    if len({group(name) for name in set(names) - unlabelled}) >= 2:
        assert set(train) - unlabelled
        assert set(val) - unlabelled
    else:
        assert (train, val) == (plain_train, plain_val)
    assert sorted(train + val) == sorted(names)
    assert {group(name) for name in train}.isdisjoint(group(name) for name in val)


def test_one_group_is_exchanged_and_no_more():
    names = [f"{number}" for number in range(20)]
    val = split_images(names, Split(0.25))[1]
    others = sorted(set(names) - set(val))
    moved = split_images(names, Split(0.25), unlabelled={*val, *others[2:]})[1]
    assert len(set(moved) - set(val)) == len(set(val) - set(moved)) == 1
    assert set(moved) & set(others[:2])
