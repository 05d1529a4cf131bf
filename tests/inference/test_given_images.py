"""`Predictor` and the runtime of exported files take the same images, and refuse the others by the same sentence."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from focalnet_d2.data.class_map import class_map
from focalnet_d2.export import runtime
from focalnet_d2.export.description import Description
from focalnet_d2.inference.predictor import Predictor
from tests.inference.checkpoints import small_recipe, write

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


class Session:
    """A classifier of two classes that looks at nothing."""

    description = Description("Any", "classes", {}, class_map(range(2), list("ab"))).to_json()

    def __call__(self, images: np.ndarray, image_sizes: np.ndarray) -> dict[str, np.ndarray]:
        return {"logits": np.zeros((len(images), 2), np.float32)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    checkpoint = write(tmp_path_factory.mktemp("run") / "model_best.pth", small_recipe("dino"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runtime, "open_session", lambda path, **options: Session())
        exported = runtime.ExportedModel("model.onnx")
    return Predictor(checkpoint, device="cpu"), exported


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    (path / "empty").mkdir()
    (path / "photos").mkdir()
    for name in ("photos/a.png", "photos/b.png"):
        Image.fromarray(PIXELS).save(path / name)
    (path / "notes.txt").write_text("no image")
    (path / "clip.mp4").write_bytes(b"no video")
    return path


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


ONE = {
    "path": lambda folder: folder / "photos" / "a.png",
    "text": lambda folder: str(folder / "photos" / "a.png"),
    "bytes": lambda _: png(),
    "bytearray": lambda _: bytearray(png()),
    "memoryview": lambda _: memoryview(png()),
    "Pillow": lambda _: Image.fromarray(PIXELS),
    "colors": lambda _: PIXELS,
    "gray": lambda _: PIXELS[..., 0],
    "16 bits": lambda _: PIXELS[..., :1].astype(np.uint16) * 257,
    "floats": lambda _: np.dstack([PIXELS, PIXELS[..., :1]]) / 255,
}
SEVERAL = {
    "folder": lambda folder: folder / "photos",
    "pattern": lambda folder: str(folder / "photos" / "*.png"),
    "list": lambda _: [PIXELS, png()],
    "tuple": lambda folder: (folder / "photos" / "a.png", Image.fromarray(PIXELS)),
    "generator": lambda folder: (folder / "photos" / name for name in ("a.png", "b.png")),
    "dict's keys": lambda folder: {str(folder / "photos" / name): 1 for name in ("a.png", "b.png")}.keys(),
}
REFUSED = {
    "None": (lambda _: None, "A NoneType is no image: give a path"),
    "number": (lambda _: 3, "A int is no image"),
    "dict": (lambda folder: {"a": PIXELS}, "A dict is no image"),
    "open file": (lambda _: io.BytesIO(png()), "A BytesIO is no image"),
    "list in a list": (lambda _: [[PIXELS]], "A list is no image"),
    "empty path": (lambda _: "", "'' is no path"),
    "address": (lambda _: "https://example.org/a.jpg", "https://example.org/a.jpg is an address on the net"),
    "missing file": (lambda folder: folder / "none.jpg", "none.jpg does not exist"),
    "empty folder": (lambda folder: folder / "empty", "There is no image in"),
    "pattern without a match": (lambda folder: str(folder / "*.tif"), "There is no image in"),
    "text file": (lambda folder: folder / "notes.txt", "notes.txt cannot be read (it is no image)"),
    "bytes of no image": (lambda _: b"no image", "of 8 bytes in memory cannot be read"),
    "folder in a list": (lambda folder: [folder / "photos"], "photos is a folder where one image is wanted"),
    "pattern in a list": (lambda folder: [str(folder / "*.png")], "*.png does not exist"),
    "video in a list": (lambda folder: [folder / "clip.mp4"], "clip.mp4 is a video where one image is wanted"),
    "floats to 255": (lambda _: PIXELS.astype(np.float32), "floats must be from 0 to 1"),
    "whole numbers of 32 bits": (lambda _: PIXELS.astype(np.int32), "give uint8, uint16 or floats"),
    "NaN": (lambda _: np.full((4, 4), np.nan), "pixels that are NaN"),
    "several images in one array": (lambda _: PIXELS[None], "given as list(array)"),
    "two channels": (lambda _: PIXELS[..., :2], "1, 3 or 4 channels"),
    "no pixels": (lambda _: PIXELS[:0], "it has no pixels"),
    "masked values": (lambda _: np.ma.masked_less(PIXELS, 9), "has masked values"),
    "floats of Pillow": (lambda _: Image.fromarray(PIXELS[..., 0].astype(np.float32)), "mode 'F'"),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_image_gives_one_result(kind, models, folder):
    assert [model(ONE[kind](folder)).size for model in models] == [(24, 32)] * 2


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_images_give_a_list(kind, models, folder):
    for model in models:
        found = model(SEVERAL[kind](folder))
        assert [one.size for one in found] == [(24, 32)] * 2


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_predicted_is_refused_by_one_sentence(kind, models, folder):
    source, words = REFUSED[kind]
    errors = []
    for model in models:
        with pytest.raises((TypeError, ValueError, FileNotFoundError)) as caught:
            model(source(folder))
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]
    assert words in errors[0][1]


def test_tensors_are_for_those_that_have_torch(models):
    predictor, exported = models
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    assert predictor(tensor).size == (24, 32)
    with pytest.raises(TypeError, match="A Tensor is no image"):
        exported(tensor)


def test_a_video_is_no_image_of_an_exported_file(models, folder):
    with pytest.raises(ValueError, match=r"clip\.mp4 is a video where one image is wanted"):
        models[1](folder / "clip.mp4")
