"""Images that are there twice are found, saved again or not; others, however alike, give no alarm."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from focalnet_d2.data.annotations.faults import joined
from focalnet_d2.data.checks import duplicates
from focalnet_d2.data.checks.duplicates import (
    Fingerprints,
    Likeness,
    compare_files,
    difference_hash,
)
from focalnet_d2.data.checks.images import Said, look_at_image
from focalnet_d2.data.checks.repeated_images import repeated_images
from focalnet_d2.data.checks.tasks import LabelTask


def scene(seed, size=(120, 90)):
    """A picture of soft patches, as photos have."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def check(folder, parts):
    """Faults of images by part: {"train": {"a.png": image}}."""
    prints, tasks = Fingerprints(), {}
    for number, (part, images) in enumerate(parts.items()):
        (folder / part).mkdir(exist_ok=True)
        paths = []
        for name, image in images.items():
            path = str(folder / part / name)
            image.save(path)
            paths.append(path)
            looked = look_at_image(path, Said("x.json", name))
            prints.add(number, path, (looked.checksum, difference_hash(looked.image)))
        tasks[part] = lambda paths=paths: (LabelTask("instances", "x.json", path, path) for path in paths)
    return repeated_images(prints, tasks, threads=1).faults


def found(faults):
    return [(fault.kind, fault.severity, tuple(one.rpartition("/")[2] for one in fault.ids)) for fault in faults]


def test_the_same_image_twice_in_a_part(tmp_path):
    images = {"a.png": scene(0), "b.png": scene(1), "c.bmp": scene(0), "d.png": scene(0)}
    faults = joined(check(tmp_path, {"train": images}))
    assert found(faults) == [("exact-duplicate", "warning", ("a.png", "d.png", "c.bmp"))]


def test_leakage(tmp_path):
    parts = {"train": {"a.png": scene(0), "b.png": scene(1)}, "val": {"c.png": scene(2), "d.png": scene(1)}}
    faults = check(tmp_path, parts)
    assert found(faults) == [("leaked-image", "warning", ("b.png", "d.png"))]
    assert faults[0].file == str(tmp_path / "train" / "b.png")
    assert "(val)" in faults[0].message


@pytest.mark.parametrize("change", ["quality", "half"])
def test_an_image_saved_again_is_nearly_the_same(tmp_path, change):
    again = scene(1).resize((60, 45)) if change == "half" else scene(1)
    name = "b.png" if change == "half" else "b.jpg"
    within = check(tmp_path, {"train": {"a.png": scene(1), name: again}})
    across = check(tmp_path, {"train": {"a.png": scene(1), "x.png": scene(2)}, "val": {name: again}})
    assert found(within) == [("near-duplicate", "note", ("a.png", name))]
    assert found(across) == [("nearly-leaked-image", "warning", ("a.png", name))]


def test_equal_names_in_two_parts_are_one_note(tmp_path):
    parts = {"train": {f"{i}.png": scene(i) for i in range(3)}, "val": {f"{i}.png": scene(9 + i) for i in range(1, 4)}}
    (fault,) = check(tmp_path, parts)
    assert (fault.kind, fault.severity, fault.count, fault.ids) == ("same-file-name", "note", 2, ("1.png", "2.png"))


def test_different_images_give_no_alarm(tmp_path):
    dim = Image.fromarray(np.full((90, 120, 3), 20, np.uint8))
    spots = {}
    for place in range(4):  # the same dim ground with one spot elsewhere, as in microscopy
        image = dim.copy()
        image.paste((60, 60, 60), (25 * place, 10 * place, 25 * place + 20, 10 * place + 20))
        spots[f"spot{place}.png"] = image
    scenes = {f"{seed}.png": scene(seed) for seed in range(40)}
    assert check(tmp_path, {"train": {**scenes, **spots}}) == []


def test_an_image_that_cannot_be_read_is_like_no_other():
    prints = Fingerprints()
    for name in ("a.png", "b.png"):
        prints.add(0, name, None)
    assert prints.equal_groups() == prints.similar_pairs() == []
    assert compare_files([("gone.png", "away.png")], threads=1) == [Likeness.DIFFERENT]


@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_within_six_bits_are_candidates(seed):
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**63, 60, dtype=np.int64).tolist()
    for place, one in enumerate(hashes[:]):
        changed = random.choice(64, 1 + place % 9, replace=False).tolist()
        hashes.append(one ^ sum(1 << bit for bit in changed))
    prints = Fingerprints()
    for place, one in enumerate(hashes):
        prints.add(0, f"{place}.png", (place + 1, int(one)))
    expected = [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= duplicates.DIFFERENT_BITS
    ]
    assert prints.similar_pairs() == expected
    assert len(expected) >= 30
