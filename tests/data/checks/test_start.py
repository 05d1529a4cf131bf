"""Before a training: image files against the sizes in their annotations."""

import pytest
from PIL import Image

from focalnet_d2.data.checks import start
from focalnet_d2.data.checks.start import check_start


def record(path, height=20, width=30):
    return {"file_name": str(path), "image_id": 7, "height": height, "width": width}


def saved(path, orientation=None):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(path, **({"exif": exif} if orientation else {}))
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_right_sizes(tmp_path, suffix):
    turned = saved(tmp_path / f"turned.{suffix}", 6)
    records = [record(saved(tmp_path / f"a.{suffix}")), record(turned, height=30, width=20), {"file_name": "no size"}]
    check_start(records, "the data set x")
    check_start([], "the data set x")


@pytest.mark.parametrize(
    ("orientation", "size", "message"),
    [
        (None, (20, 31), r"a\.png has 30 x 20 pixels, but the data set x says 31 x 20 of image 7"),
        (None, (30, 20), "width and height are swapped"),
        (6, (20, 30), r"turn it \(orientation 6\)"),
    ],
)
def test_a_wrong_size_is_an_error(tmp_path, orientation, size, message):
    path = saved(tmp_path / "a.png", orientation)
    with pytest.raises(ValueError, match=message) as raised:
        check_start([record(path, *size)] * 3, "the data set x")
    assert str(raised.value).endswith("(so have 3 of 3 images that were looked at).")


def test_what_is_no_image_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        check_start([record(tmp_path / "a.png")], "x")
    with pytest.raises(FileNotFoundError, match=r"b\.png does not exist"):
        check_start([record(tmp_path / "b.png")], "x")


@pytest.mark.parametrize("key", ["sem_seg_file_name", "pan_seg_file_name"])
def test_labels_of_another_size_than_their_image_are_an_error(tmp_path, key):
    path, labels = saved(tmp_path / "a.jpg", 6), saved(tmp_path / "labels.png")
    sized = {"file_name": str(path), "image_id": 7, key: str(labels)}
    with pytest.raises(ValueError, match=r"labels\.png has 30 x 20 pixels, its image .*a\.jpg 20 x 30: take the two"):
        check_start([sized], "x")
    Image.new("L", (20, 30)).save(labels)
    check_start([sized], "x")
    labels.unlink()
    with pytest.raises(FileNotFoundError, match=r"The label file .*labels\.png does not exist"):
        check_start([sized], "x")
    labels.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"The label file .*labels\.png cannot be read \(it is no image\)"):
        check_start([sized], "x")


def test_pixels_are_not_decoded(tmp_path):
    path = saved(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:60])  # the head is whole
    check_start([record(path)], "x")


def test_of_many_images_some_are_read(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(start, "MOST_FILES", 10)
    monkeypatch.setattr(start, "read_orientation_and_size", lambda name: read.append(name) or (1, (20, 30)))
    check_start([record(str(place)) for place in range(95)], "x")
    assert sorted(map(int, read)) == list(range(0, 95, 10))
