"""Every published layout in every published size: recognised, loaded into its recipe, named by the inspection.

And every wrong pair of a file and a model is refused with the reason. All on the meta device.
"""

import pickle
from dataclasses import dataclass
from functools import cache

import pytest
import torch

from focalnet_d2.checkpoint import check_checkpoint, select_weights
from focalnet_d2.checkpoint.export import export_state, save_as
from focalnet_d2.model_zoo import inspection
from focalnet_d2.model_zoo.inspection import inspect_checkpoint
from tests.checkpoint import published_layouts as published
from tests.recipes import RECIPES, meta_model, recipe_named

LETTERS = {"tiny": "T", "small": "S", "base": "B", "large": "L", "xlarge": "XL", "huge": "H"}
CLASSIC = ("tiny_srf", "tiny_lrf", "small_srf", "small_lrf", "base_srf", "base_lrf")
DEEPER = tuple(size for size in published.SIZES if "deeper" in size)
LARGE = ("large_fl3", "large_fl4", "xlarge_fl3", "xlarge_fl4", "huge_fl3", "huge_fl4")
ISO = ("tiny_iso", "small_iso", "base_iso")


@dataclass(frozen=True)
class File:
    """A published file: how its names are made, and what is to be found out about it.

    Args:
        recipe: the shipped recipe that it fits; None: no published number belongs to it.
        keys: entries, where the descriptions of the files count them.
        says: words of the inspection.
    """

    layout: str
    family: str
    size: str
    make: str
    arguments: tuple = ()
    recipe: str | None = None
    keys: int | None = None
    says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join(map(str, (self.layout.replace(" ", "_"), self.family.replace(" ", "_"), self.size))) + "".join(
            f"-{argument}" for argument in self.arguments if isinstance(argument, int)
        )

    @property
    def content(self) -> dict:
        return content_of(self)


@cache
def content_of(file: File) -> dict:
    first = (file.arguments[0],) if file.make == "dino" else ()
    shapes = getattr(published, file.make)(*first, file.size, *file.arguments[len(first) :])
    return published.published_file(file.layout, shapes)


def classifier_recipe(size: str, classes: int) -> str | None:
    resolution = "224" if size.startswith("huge") else "384"
    return f"classifier_focalnet_{size}" + (f"_22k_{resolution}" if classes == 21842 else "")


CLASSIFIER_KEYS = {
    "tiny_srf": 212, "tiny_lrf": 224, "small_srf": 404, "base_srf": 404, "small_lrf": 428, "base_lrf": 428,
    "large_fl3": 476, "xlarge_fl3": 476, "large_fl4": 500, "xlarge_fl4": 500, "huge_fl3": 524, "huge_fl4": 548,
    "tiny_iso": 212, "small_iso": 212, "base_iso": 236,
}  # fmt: skip


def classifiers() -> list[File]:
    files = []
    for size in (*CLASSIC, *ISO, *LARGE):
        classes = 21842 if size in LARGE else 1000
        recipe = classifier_recipe(size, classes)
        for layout, make in (
            ("Microsoft classification", "microsoft"), ("Hugging Face transformers", "transformers"), ("timm", "timm"),
        ):  # fmt: skip
            about = dict(recipe=recipe, keys=CLASSIFIER_KEYS[size], says=(f"{classes} rows",))
            files.append(File(layout, "classifier", size, make, (classes,), **about))
    return files


def mm_files() -> list[File]:
    """mmdetection's and mmsegmentation's."""
    files = []
    for size in (*CLASSIC, *DEEPER):
        keys = {"tiny_lrf": 270}.get(size)
        recipe = f"mask_rcnn_focalnet_{size}_1x"
        files.append(File("mmdetection", "Mask R-CNN", size, "mask_rcnn", (), recipe, keys, says=("80 rows",)))
    for size in (*CLASSIC, *(size for size in DEEPER if size.endswith("srf"))):
        keys = {"tiny_lrf": 310}.get(size)
        recipe = f"upernet_focalnet_{size}"
        files.append(File("mmsegmentation", "UPerNet", size, "upernet", (), recipe, keys, says=("150 rows",)))
    for size in ("tiny_srf", "tiny_lrf"):
        for family, make, keys, says in (
            ("Cascade Mask R-CNN", "cascade_mask_rcnn", 376, "a Cascade Mask R-CNN"),
            ("ATSS", "atss", 277, "focal windows 11,9,9,7"),
            ("Sparse R-CNN", "sparse_rcnn", 486, "300 proposals"),
        ):
            recipe = f"{make}_focalnet_{size}_3x"
            keys = keys if size == "tiny_lrf" else None
            files.append(File("mmdetection", family, size, make, (), recipe, keys, (says, "80 rows")))
    return files


def dinos() -> list[File]:
    def file(layout: str, size: str, scales: int, classes: int, recipe: str | None, keys: int | None = None) -> File:
        make, says = layout.lower().replace("-", "_"), (f"{scales} feature scales", "900 queries", f"{classes} rows")
        return File(
            layout, "DINO", size, "dino", (make, scales, classes), recipe and f"dino_focalnet_{recipe}", keys, says
        )

    official, detrex = "FocalNet-DINO", "detrex"
    return [
        file(official, "large_fl3", 4, 91, "large_fl3_4scale_12ep", 839),
        file(official, "large_fl4", 5, 91, "large_fl4_5scale_12ep", 869),
        file(official, "large_fl4", 5, 366, "large_fl4_objects365"),
        file(official, "huge_fl4", 5, 91, "huge"),
        file(official, "huge_fl4", 5, 366, "huge_objects365"),
        file(official, "xlarge_fl4", 5, 91, None),
        file(official, "huge_fl3", 4, 91, None),
        file(detrex, "tiny_lrf", 4, 80, "tiny_lrf_4scale_12ep_detrex", 595),
        file(detrex, "small_lrf", 4, 80, "small_lrf_4scale_12ep_detrex", 799),
        file(detrex, "base_lrf", 4, 80, "base_lrf_4scale_12ep_detrex", 799),
        file(detrex, "large_fl3", 4, 80, "large_fl3_4scale_12ep_detrex", 847),
        file(detrex, "large_fl4", 4, 80, "large_fl4_4scale_12ep_detrex", 871),
        file(detrex, "large_fl4", 5, 80, "large_fl4_5scale_12ep_detrex", 877),
    ]


def mask2formers() -> list[File]:
    kinds = (("coco_panoptic", 133, 200), ("coco_instance", 80, 200), ("ade20k_semantic", 150, 100))
    files = []
    for size in ("tiny_lrf", "small_lrf", "base_lrf", "large_fl3", "large_fl4"):
        for kind, classes, queries in kinds:
            recipe = f"mask2former_focalnet_{size}_{kind}"
            if recipe in RECIPES:
                queries = recipe_named(recipe).model.decoder.num_queries
                keys = {"large_fl3": 773, "large_fl4": 797}.get(size)
                says = (f"{queries} queries", f"{classes} rows")
                files.append(
                    File("Mask2Former", "Mask2Former", size, "mask2former", (classes, queries), recipe, keys, says)
                )
    return files


FILES = [*classifiers(), *mm_files(), *dinos(), *mask2formers()]


@pytest.fixture(autouse=True, scope="module")
def shared_models():
    """The inspection uses the models that the other tests build, and looks at no recipes but those of the matrix."""
    names = [name for name in RECIPES if "_mini_" in name] + [file.recipe for file in FILES if file.recipe is not None]
    patch = pytest.MonkeyPatch()
    patch.setattr(inspection, "list_recipes", lambda: sorted(set(names)))
    patch.setattr(inspection, "_recipe", recipe_named)
    patch.setattr(inspection, "_meta_model", meta_model)
    yield
    patch.undo()


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_published_file_is_recognized_loaded_and_named(file):
    content = file.content
    tensors = select_weights(content).tensors
    assert file.keys in (None, len(tensors))
    found = inspect_checkpoint(content)
    assert (found.layout, found.family, found.backbone.variant) == (file.layout, file.family, file.size)
    assert found.tensors == len(tensors)
    text = str(found)
    size, *kind = file.size.split("_")
    assert f"FocalNet-{LETTERS[size]}{' ' + kind[0] if kind[0] in ('deeper', 'iso') else ''}, " in text
    assert f"{published.SIZES[file.size][2]} focal levels" in text
    assert [words for words in file.says if words not in text] == []
    assert (file.recipe is None) == (not found.fits)
    if file.recipe is not None:
        assert file.recipe in found.fits
        report = check_checkpoint(meta_model(file.recipe), content)
        assert (report.layout, report.missing) == (file.layout, [])
        assert len(report.loaded) + len(report.skipped) == len(tensors)


WRITTEN_SIZES = ("tiny_srf", "tiny_lrf", "tiny_deeper_srf", "large_fl3", "large_fl4", "huge_fl4", "base_iso")


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.recipe is not None and file.size in WRITTEN_SIZES], ids=str
)
def test_a_model_is_written_as_the_published_file_that_it_reads(file):
    exported = export_state(meta_model(file.recipe), file.layout)
    assert exported.content().keys() == file.content.keys()
    published_shapes = {name: value.shape for name, value in select_weights(file.content).tensors.items()}
    assert {name: value.shape for name, value in exported.tensors.items()} == published_shapes


# Wrong pairs: a file, the recipe it is loaded into, and the words that name the cause


def shapes(layout: str, make: str, *arguments, **options) -> dict:
    return published.published_file(layout, getattr(published, make)(*arguments, **options))


def masks(*arguments, **options) -> dict:
    return shapes("mmdetection", "mask_rcnn", *arguments, **options)


MASKS, CASCADE = "mask_rcnn_focalnet_tiny_srf_1x", "cascade_mask_rcnn_focalnet_tiny_srf_3x"
SPARSE, SEGMENTER = "sparse_rcnn_focalnet_tiny_srf_3x", "upernet_focalnet_tiny_srf"
DINO, DETREX = "dino_focalnet_large_fl4_5scale_12ep", "dino_focalnet_large_fl4_5scale_12ep_detrex"
PANOPTIC, CLASSIFIER = "mask2former_focalnet_large_fl3_coco_panoptic", "classifier_focalnet_tiny_srf"


@pytest.mark.parametrize(
    ("file", "recipe", "cause"),
    [
        # size
        (masks("small_srf"), MASKS, ["it holds FocalNet-S", "the model has FocalNet-T"]),
        (masks("tiny_deeper_srf"), MASKS, ["it holds FocalNet-T deeper", "the model has FocalNet-T"]),
        (shapes("mmsegmentation", "upernet", "base_srf"), SEGMENTER, ["it holds FocalNet-B", "has FocalNet-T"]),
        (shapes("Mask2Former", "mask2former", "base_lrf", 133, 200), PANOPTIC, ["FocalNet-B", "has FocalNet-L"]),
        (shapes("", "dino", "focalnet_dino", "xlarge_fl4", 5, 91), DINO, ["holds FocalNet-XL", "has FocalNet-L"]),
        (shapes("", "microsoft", "huge_fl3", 1000), CLASSIFIER, ["it holds FocalNet-H", "the model has FocalNet-T"]),
        (shapes("", "timm", "tiny_iso", 1000), CLASSIFIER, ["it holds FocalNet-T iso", "the model has FocalNet-T"]),
        # focal levels, also of a classifier for a detector, where they may grow but not shrink
        (masks("tiny_lrf"), MASKS, ["it holds 3 focal levels", "the model has 2 focal levels"]),
        (shapes("", "transformers", "tiny_lrf", 1000), CLASSIFIER, ["3 focal levels", "has 2 focal levels"]),
        (shapes("", "microsoft", "tiny_lrf", 1000), MASKS, ["it holds 3 focal levels", "the model has 2 focal levels"]),
        (shapes("", "dino", "detrex", "large_fl3", 5, 80), DETREX, ["holds 3 focal levels", "has 4 focal levels"]),
        # windows
        (masks("tiny_srf", windows=(3,) * 4), MASKS, ["it holds focal windows 3", "the model has focal windows 9"]),
        (masks("tiny_srf", windows=(11, 9, 9, 7)), MASKS, ["windows 11,9,9,7", "has focal windows 9"]),
        # feature scales
        (shapes("", "dino", "focalnet_dino", "large_fl4", 4, 91), DINO, ["4 feature scales", "has 5 feature scales"]),
        (shapes("", "dino", "detrex", "large_fl4", 4, 80), DETREX, ["4 feature scales", "has 5 feature scales"]),
        # queries
        (shapes("mmdetection", "sparse_rcnn", "tiny_srf", proposals=100), SPARSE, ["100 proposals", "300 proposals"]),
        (shapes("", "mask2former", "large_fl3", 133, 100), PANOPTIC, ["it holds 100 queries", "has 200 queries"]),
        # classes
        (masks("tiny_srf", 20), MASKS, ["has 20 classes and the model 80", "model.num_classes=20"]),
        (shapes("mmsegmentation", "upernet", "tiny_srf", 21), SEGMENTER, ["has 21 classes and the model 150"]),
        (shapes("", "dino", "focalnet_dino", "large_fl4", 5, 366), DINO, ["has 366 classes and the model 80"]),
        (shapes("", "mask2former", "large_fl3", 80, 200), PANOPTIC, ["has 80 classes and the model 133"]),
        (shapes("", "microsoft", "tiny_srf", 10), CLASSIFIER, ["has 10 classes and the model 1000"]),
        # what no shape shows
        (shapes("", "dino", "focalnet_dino", "large_fl4", 5, 91), DETREX, ["model.position_embedding.temperature=20"]),
        (shapes("", "dino", "detrex", "large_fl4", 5, 80), DINO, ["model.shared_heads=False"]),
        (shapes("", "microsoft", "large_fl4", 21842), DETREX, ["normalize_modulator=True", "train.keep_settings=True"]),
    ],
)  # fmt: skip
def test_a_wrong_size_is_named(file, recipe, cause):
    with pytest.raises(ValueError, match="The checkpoint") as error:
        check_checkpoint(meta_model(recipe), file)
    assert [words for words in cause if words not in str(error.value)] == []
    assert "\n" not in str(error.value)


@cache
def one_file_of_each_model() -> dict[str, tuple[dict, str]]:
    """Family -> a file and the recipe that it fits; of equal sizes where they can be."""
    return {
        "Mask R-CNN": (masks("tiny_srf"), MASKS),
        "Cascade Mask R-CNN": (shapes("mmdetection", "cascade_mask_rcnn", "tiny_srf"), CASCADE),
        "ATSS": (shapes("mmdetection", "atss", "tiny_srf"), "atss_focalnet_tiny_srf_3x"),
        "Sparse R-CNN": (shapes("mmdetection", "sparse_rcnn", "tiny_srf"), SPARSE),
        "UPerNet": (shapes("mmsegmentation", "upernet", "tiny_srf"), SEGMENTER),
        "DINO": (shapes("", "dino", "detrex", "large_fl3", 4, 80), "dino_focalnet_large_fl3_4scale_12ep_detrex"),
        "Mask2Former": (shapes("", "mask2former", "large_fl3", 133, 200), PANOPTIC),
        "ImageClassifier": (shapes("", "microsoft", "tiny_srf", 1000), CLASSIFIER),
    }


MODELS = tuple(one_file_of_each_model())


@pytest.mark.parametrize("held", [name for name in MODELS if name != "ImageClassifier"])
@pytest.mark.parametrize("wanted", MODELS)
def test_a_file_of_another_model_is_named_unless_its_backbone_is_asked_for(held, wanted):
    file, model = one_file_of_each_model()[held][0], meta_model(one_file_of_each_model()[wanted][1])
    if held == wanted:
        assert not check_checkpoint(model, file).missing
        return
    with pytest.raises(ValueError, match="The checkpoint") as error:
        check_checkpoint(model, file)
    assert f"a {held}" in str(error.value) or f"an {held}" in str(error.value)
    assert wanted.replace(" ", "").replace("-", "") in str(error.value).replace(" ", "").replace("-", "")
    same_kind = {held, wanted} == {"Mask R-CNN", "Cascade Mask R-CNN"}
    assert ("train.backbone_only=True" in str(error.value)) != same_kind


@pytest.mark.parametrize("wanted", [name for name in MODELS if name not in ("DINO", "Mask2Former", "ImageClassifier")])
def test_a_classifier_starts_any_model_of_its_size(wanted):
    file, model = one_file_of_each_model()["ImageClassifier"][0], meta_model(one_file_of_each_model()[wanted][1])
    report = check_checkpoint(model, file)
    assert report.layout == "Microsoft classification"
    assert report.missing
    assert set(report.skipped) == {"norm.weight", "norm.bias", "head.weight", "head.bias"}


# What is no file of a FocalNet


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("layers.0.blocks.0.attn.relative_position_bias_table", "a Swin Transformer and not a FocalNet"),
        ("backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table", "a Swin Transformer and not a FocalNet"),
        ("layer1.0.conv1.weight", "a ResNet and not a FocalNet"),
        ("backbone.bottom_up.res2.0.conv1.weight", "a ResNet and not a FocalNet"),
        ("blocks.0.attn.qkv.weight", "a vision transformer and not a FocalNet"),
        ("encoder.conv.weight", "no layout"),
    ],
)
@pytest.mark.parametrize("recipe", [MASKS, CLASSIFIER, DINO])
def test_another_architecture_is_named(name, words, recipe):
    file = {"model": {name: torch.ones(1), "head.bias": torch.ones(1)}}
    for read in (inspect_checkpoint, lambda content: check_checkpoint(meta_model(recipe), content)):
        with pytest.raises(ValueError, match=words):
            read(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page, not the weights"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (pickle.dumps({"optimizer": {"state": {}, "param_groups": []}, "iteration": 4}), "holds no weights"),
        (pickle.dumps(["a list"]), "holds a list, not a dictionary"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, words):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    for read in (inspect_checkpoint, lambda file: check_checkpoint(meta_model(MASKS), file)):
        with pytest.raises(ValueError, match=words):
            read(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    save_as(path, {"model": {"head.bias": torch.ones(999)}}, {"head.bias": torch.ones(999)})
    path.write_bytes(path.read_bytes()[:-500])
    for read in (inspect_checkpoint, lambda file: check_checkpoint(meta_model(MASKS), file)):
        with pytest.raises(ValueError, match="truncated"):
            read(path)


def test_a_file_that_lacks_a_tensor_is_refused_by_its_name():
    file = dict(masks("tiny_srf")["state_dict"])
    del file["neck.fpn_convs.2.conv.bias"]
    with pytest.raises(ValueError, match=r"names missing in the file: 1 \(backbone\.fpn_output4\.bias\)"):
        check_checkpoint(meta_model(MASKS), {"state_dict": file})
    found = inspect_checkpoint({"state_dict": file})
    assert not found.fits
    assert "names missing in the file" in found.refused[MASKS]
    assert "fpn_output4" in str(found)
