"""Files that are moved into place: of names of any length, and not at all after an error."""

from pathlib import Path

import pytest

from focalnet_d2.export.exporting import unfinished_files


@pytest.mark.parametrize("name", ["model.onnx", "n" * 250 + ".onnx", "é" * 125 + ".onnx"])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path, name):
    with unfinished_files(tmp_path / "new" / name) as unfinished:
        unfinished.write_text("whole")
        assert not (tmp_path / "new" / name).exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_an_error_leaves_nothing(tmp_path: Path):
    def write_half():
        with unfinished_files(tmp_path / "model.onnx") as unfinished:
            unfinished.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert list(tmp_path.iterdir()) == []
