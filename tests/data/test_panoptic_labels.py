"""Panoptic label files: exact ids, files that are none, and the classes made from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from focalnet_d2.data import panoptic_labels
from focalnet_d2.data.panoptic_labels import label_runs, read_panoptic_ids, semantic_from_panoptic
from focalnet_d2.data.panoptic_png import write_panoptic_ids

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(ids=arrays(np.int64, SHAPES, elements=st.integers(0, 256**3 - 1)))
def test_what_is_written_is_read(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("ids") / "new" / "a.png"
    write_panoptic_ids(ids, path)
    read = read_panoptic_ids(path)
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, ids)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]


@pytest.fixture(params=["torchvision", "Pillow"])
def decoder(request, monkeypatch):
    """Both decoders in turn; torchvision may have been built without PNG."""
    if request.param == "Pillow":
        monkeypatch.delattr(panoptic_labels, "decode_png")
        monkeypatch.setattr(panoptic_labels, "decode_png", _no_png, raising=False)


def _no_png(content):
    raise RuntimeError("torchvision was built without PNG")


@pytest.mark.usefixtures("decoder")
def test_colors_are_the_bytes_of_an_id(tmp_path):
    colors = np.array([[[1, 2, 3], [0, 0, 0]], [[255, 255, 255], [7, 0, 0]]], np.uint8)
    Image.fromarray(colors).save(tmp_path / "rgb.png")
    alpha = np.array([[[0], [9]], [[255], [1]]], np.uint8)
    Image.fromarray(np.concatenate([colors, alpha], axis=2)).save(tmp_path / "rgba.png")
    for name in ("rgb.png", "rgba.png"):
        assert read_panoptic_ids(tmp_path / name).tolist() == [[1 + 2 * 256 + 3 * 65536, 0], [256**3 - 1, 7]]


@pytest.mark.usefixtures("decoder")
def test_files_that_hold_no_ids_are_named(tmp_path):
    for mode, name, reason in (
        ("L", "grey.png", "pixels .* RGB"),
        ("P", "palette.png", "pixels .* RGB"),
        ("I;16", "deep.png", "16 bits a colour"),
    ):
        Image.new(mode, (4, 3)).save(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} has {reason}"):
            read_panoptic_ids(tmp_path / name)
    write_panoptic_ids(np.arange(3000).reshape(50, 60), tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-200])
    with pytest.raises(ValueError, match="cut.png cannot be read"):
        read_panoptic_ids(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError, match="none.png does not exist"):
        read_panoptic_ids(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("ids", "match"),
    [
        (np.array([[0, -1]]), "from -1 to 0"),
        (np.array([[256**3]]), "16777216"),
        (np.array([[1.0]]), "float64"),
        (np.array([1, 2]), "\\(2,\\)"),
    ],
)
def test_ids_that_do_not_fit_are_refused(tmp_path, ids, match):
    with pytest.raises(ValueError, match=match):
        write_panoptic_ids(ids, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_panoptic_ids(np.array([[5]]), path)

    def fail(image, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_panoptic_ids(np.array([[6]]), path)
    assert read_panoptic_ids(path).tolist() == [[5]]
    assert list(tmp_path.iterdir()) == [path]


def test_classes_of_segments():
    ids = np.array([[0, 300, 300], [70000, 5, 0]], np.int32)
    segments = [
        {"id": 300, "category_id": 2},
        {"id": 70000, "category_id": 0, "iscrowd": 1},
        {"id": 9, "category_id": 7},  # has no pixel
    ]
    classes = semantic_from_panoptic(ids, segments)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[255, 2, 2], [0, 255, 255]]
    assert semantic_from_panoptic(ids, segments, ignore_label=100).tolist() == [[100, 2, 2], [0, 100, 100]]
    assert (semantic_from_panoptic(ids, []) == 255).all()


def test_many_classes_need_a_wider_type():
    ids = np.array([[1, 0]])
    assert semantic_from_panoptic(ids, [{"id": 1, "category_id": 846}], ignore_label=65535).tolist() == [[846, 65535]]


@pytest.mark.parametrize("label", [-1, 255])
def test_a_class_that_cannot_be_told_from_void_is_refused(label):
    with pytest.raises(ValueError, match=str(label)):
        semantic_from_panoptic(np.ones((2, 2), np.int32), [{"id": 1, "category_id": label}])


def test_runs_end_where_any_map_changes():
    (first, second), lengths = label_runs(np.array([[1, 1, 1], [2, 2, 2]]), np.array([[7, 7, 8], [8, 8, 9]]))
    assert first.tolist() == [1, 1, 2, 2]
    assert second.tolist() == [7, 8, 8, 9]
    assert lengths.tolist() == [2, 1, 2, 1]


@given(labels=arrays(np.uint8, SHAPES, elements=st.integers(0, 2)))
def test_runs_hold_the_whole_map(labels):
    (values,), lengths = label_runs(labels)
    np.testing.assert_array_equal(np.repeat(values, lengths), labels.reshape(-1))
    assert (values[1:] != values[:-1]).all()
