"""From a checkpoint by the command line to a file, and from the file to the results of Predictor."""

import contextlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from focalnet_d2.commands import export, runtime
from focalnet_d2.export.description import KEY
from focalnet_d2.export.runtime import ExportedModel
from focalnet_d2.inference.predictor import Predictor
from tests.inference.checkpoints import small_recipe, write


class Shipped(NamedTuple):
    """A checkpoint, the ONNX file that the command made of it, and two images of different sizes."""

    checkpoint: Path
    file: Path
    images: list[Path]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Shipped:
    folder = tmp_path_factory.mktemp("shipped")
    recipe = small_recipe("mask2former")
    recipe.model.backbone.embed_dim, recipe.model.backbone.depths = 8, [1, 1, 1, 1]
    checkpoint = write(folder / "model.pth", recipe)
    random = np.random.default_rng(0)
    images = []
    for name, size in {"a.png": (70, 90, 3), "b.png": (90, 70, 3)}.items():
        Image.fromarray(random.integers(0, 256, size, np.uint8)).save(folder / name)
        images.append(folder / name)
    assert export.main([str(checkpoint), "--out", str(folder / "model.onnx")]) == 0
    return Shipped(checkpoint, folder / "model.onnx", images)


def error_of(command, *arguments: object) -> str:
    """The one line that a command ends with."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert command.main([str(argument) for argument in arguments]) == 2
    (line,) = errors.getvalue().strip().splitlines()
    return line


def test_results_are_those_of_predictor(shipped):
    predictor, model = Predictor(shipped.checkpoint, device="cpu", threshold=0), ExportedModel(shipped.file)
    model.threshold = 0.0
    for expected, found in zip(predictor(shipped.images), model(shipped.images), strict=True):
        assert found.classes == expected.classes
        assert found.size == expected.size
        assert (found.panoptic_map == expected.panoptic_map).mean() >= 0.999
        assert (found.semantic_map == expected.semantic_map).mean() >= 0.999
        assert [one.class_id for one in found.segments] == [one.class_id for one in expected.segments]
        assert np.abs(found.scores - expected.scores).max() <= 1e-3
        assert found.category_ids == expected.category_ids


def test_files_are_those_that_a_prediction_writes(shipped, tmp_path, capsys):
    arguments = [str(shipped.file), *map(str, shipped.images), "--out", str(tmp_path / "found"), "--batch", "2"]
    assert runtime.main(arguments) == 0
    assert "2 of 2 images" in capsys.readouterr().out
    for prediction in Predictor(shipped.checkpoint, device="cpu")(shipped.images):
        prediction.save(tmp_path / "expected")
    names = sorted(path.name for path in (tmp_path / "expected").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "found").iterdir())
    for name in names:
        found, expected = tmp_path / "found" / name, tmp_path / "expected" / name
        if name.endswith(".png"):
            assert (np.array(Image.open(found)) == np.array(Image.open(expected))).mean() >= 0.999
        else:
            assert without_masks(found) == pytest.approx(without_masks(expected), rel=1e-3, abs=1e-3)


def without_masks(path: Path) -> dict[str, float]:
    """The numbers of a JSON file by where they stand, but for areas and boxes of masks, which a pixel changes."""

    def numbers(value, place):
        if isinstance(value, dict):
            return {k: v for key in value for k, v in numbers(value[key], f"{place}.{key}").items()}
        if isinstance(value, list):
            return {k: v for i, one in enumerate(value) for k, v in numbers(one, f"{place}[{i}]").items()}
        return {place: value} if isinstance(value, int | float) else {}

    found = numbers(json.loads(path.read_text()), "")
    return {place: value for place, value in found.items() if not ("bbox" in place or place.endswith("area"))}


def test_the_file_says_what_it_is(shipped):
    model = ExportedModel(shipped.file)
    about = model.description
    assert (about.model, about.decoder, about.divisor, about.size) == ("Mask2Former", "query_masks", 32, None)
    assert about.steps[0]["name"] == "resize_shortest_edge"
    graph = onnx.load(shipped.file)
    assert {entry.domain for entry in graph.opset_import} == {""}
    assert not any(node.doc_string for node in graph.graph.node)
    assert [entry.key for entry in graph.metadata_props] == [KEY]


def test_an_array_and_a_file_give_the_same(shipped):
    model = ExportedModel(shipped.file)
    pixels = np.array(Image.open(shipped.images[0]))
    sources = [
        shipped.images[0],
        str(shipped.images[0]),
        shipped.images[0].read_bytes(),
        Image.fromarray(pixels),
        pixels,
    ]
    first, *others = model(sources)
    for other in others:
        assert np.array_equal(other.panoptic_map, first.panoptic_map)
    reversed_colors = ExportedModel(shipped.file, channel_order="BGR")(pixels[..., ::-1])
    assert np.array_equal(reversed_colors.panoptic_map, first.panoptic_map)


def test_unreadable_images_do_not_stop_the_rest(shipped, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no image")
    arguments = [shipped.file, tmp_path / "text.jpg", shipped.images[0], "--out", tmp_path / "out"]
    assert runtime.main(list(map(str, arguments))) == 1
    captured = capsys.readouterr()
    assert "text.jpg cannot be read" in captured.err
    assert "1 of 2 images" in captured.out


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_files_that_are_no_models(shipped, tmp_path, content):
    whole = shipped.file.read_bytes()
    (tmp_path / "bad.onnx").write_bytes(whole[: len(whole) // 2] if content is None else content)
    message = error_of(runtime, tmp_path / "bad.onnx", shipped.images[0], "--out", tmp_path)
    assert "bad.onnx cannot be loaded" in message


def test_a_model_of_others(shipped, tmp_path):
    graph = onnx.load(shipped.file)
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "other.onnx")
    assert "other.onnx holds no description" in error_of(
        runtime, tmp_path / "other.onnx", shipped.images[0], "--out", tmp_path
    )
    onnx.helper.set_model_props(graph, {KEY: json.dumps({"schema": 99})})
    onnx.save(graph, tmp_path / "later.onnx")
    with pytest.raises(ValueError, match=r"later\.onnx cannot be used .it has version 99"):
        ExportedModel(tmp_path / "later.onnx")
    with pytest.raises(FileNotFoundError, match="none.onnx does not exist"):
        ExportedModel(tmp_path / "none.onnx")
    (tmp_path / "model.txt").touch()
    with pytest.raises(ValueError, match="model.txt cannot be run"):
        ExportedModel(tmp_path / "model.txt")


def test_checkpoints_that_cannot_be_exported(shipped, tmp_path):
    content = torch.load(shipped.checkpoint)
    torch.save({"model": content["model"]}, tmp_path / "bare.pth")
    assert "bare.pth holds no recipe" in error_of(export, tmp_path / "bare.pth")
    first = next(key for key, value in content["model"].items() if value.is_floating_point())
    content["model"][first] = content["model"][first] * float("nan")
    torch.save(content, tmp_path / "nan.pth")
    assert "nan.pth" in error_of(export, tmp_path / "nan.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    assert "text.pth" in error_of(export, tmp_path / "text.pth")
    assert not list(tmp_path.glob("*.onnx"))


def test_options_that_exclude_each_other(shipped, tmp_path):
    assert "--size" in error_of(export, shipped.checkpoint, "--batch", 2)
    assert "must end in .xml" in error_of(export, shipped.checkpoint, "--format", "openvino", "--out", tmp_path / "a.b")
    assert "either" in error_of(export, shipped.checkpoint, "--half", "--int8", tmp_path)
    assert "takes images of one size" in error_of(
        export, shipped.checkpoint, "--format", "pt2", "--out", tmp_path / "m.pt2"
    )
    assert "no half precision" in error_of(
        export, shipped.checkpoint, "--format", "torchscript", "--half", "--out", tmp_path / "m.torchscript"
    )
    with pytest.raises(SystemExit):
        export.main([str(shipped.checkpoint), "--format", "coreml"])


def test_a_missing_package_is_named_with_its_remedy(shipped, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert export.main([str(shipped.checkpoint), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "pip install 'focalnet-d2[export]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
