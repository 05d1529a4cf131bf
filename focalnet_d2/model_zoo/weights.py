"""Published weight files: what they are, where they are, under which license, and which recipe they belong to.

Names and addresses are those of the READMEs of microsoft/FocalNet, FocalNet/FocalNet-DINO and detrex and of Microsoft's
Hugging Face pages; nothing is guessed, so a file whose only address is closed is listed with that address.
"""

from dataclasses import dataclass

MIT = "MIT (repository)"
APACHE = "Apache-2.0 (repository)"
MIT_AND_APACHE = "MIT (repository), Apache-2.0 (Hugging Face)"

_RELEASE = "https://github.com/microsoft/FocalNet/releases/download/v1.0.0/"
_HUGGING_FACE = "https://huggingface.co/"
_DETREX = "https://github.com/IDEA-Research/detrex-storage/releases/download/"
# Closed to the public since May 2023 (microsoft/FocalNet, issues 43 and 51). The R-CNNs, ATSS, UPerNet and the
# isotropic classifiers were published nowhere else.
_CLOSED = "https://projects4jw.blob.core.windows.net/focalnet/release/"


@dataclass(frozen=True)
class Mirror:
    """An address of a file.

    Attributes:
        url: where it is.
        sha256: of the file there, None where nobody states it.
        size: bytes of the file there, None where nobody states them.
        size_tolerance: bytes by which the file may differ from a size that was stated rounded.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    size_tolerance: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether this address is known to refuse downloads."""
        return self.url.startswith(_CLOSED)


@dataclass(frozen=True)
class WeightFile:
    """A published file.

    Attributes:
        name: as published.
        content: what it holds, in words.
        license: as stated, and where.
        mirrors: its addresses, in the order in which they are tried; none for what comes with this repository.
        recipe: the recipe whose trained model it holds.
        sha256, size: of the one file there is, if all copies are known to be equal.
    """

    name: str
    content: str
    license: str
    mirrors: tuple[Mirror, ...] = ()
    recipe: str | None = None
    sha256: str | None = None
    size: int | None = None

    @property
    def is_released(self) -> bool:
        """Whether it comes with the repository or an address is not known to be closed."""
        return not self.mirrors or not all(mirror.is_closed for mirror in self.mirrors)


def _classifiers() -> list[WeightFile]:
    files = []
    for size in ("tiny", "small", "base"):
        for field in ("srf", "lrf"):
            name = f"focalnet_{size}_{field}.pth"
            mirrors = (Mirror(_RELEASE + name), Mirror(f"{_CLOSED}classification/{name}"))
            files.append(
                WeightFile(name, "ImageNet-1K classifier", MIT, mirrors, recipe=f"classifier_focalnet_{size}_{field}")
            )
    return files


def _isotropic_classifiers() -> list[WeightFile]:
    page = "spaces/jw2yang/focalnet-modulators/resolve/main/"
    digest = "4cac290e8d0b3383bd481f695811e32297d34e0a21fcd17af4ed0595456a840c"
    copies = {"base": (Mirror(f"{_HUGGING_FACE}{page}focalnet_base_iso_16.pth", digest, 349_107_129),)}
    return [
        WeightFile(
            f"focalnet_{size}_iso_16.pth",
            "ImageNet-1K classifier, isotropic",
            MIT,
            (*copies.get(size, ()), Mirror(f"{_CLOSED}classification/focalnet_{size}_iso_16.pth")),
            recipe=f"classifier_focalnet_{size}_iso",
        )
        for size in ("tiny", "small", "base")
    ]


def _large_classifiers() -> list[WeightFile]:
    digest = "4d14fe47c7d7138e911be356ff8170d316d2918af7c504c914c2f88ffb16465b"
    page = f"{_HUGGING_FACE}microsoft/focalnet-large-lrf-fl4/resolve/main/"
    copies = {"large_lrf_384_fl4": (Mirror(f"{page}focalnet_large_lrf_384_fl4.pth", digest, 478_697_063),)}
    files = []
    for variant, size, pixels in (("large", "384", 384), ("xlarge", "384", 384), ("huge", "224", 224)):
        for level, suffix in (("fl3", ""), ("fl4", "_fl4")):
            part = f"{variant}_lrf_{size}{suffix}"
            name = f"focalnet_{part}.pth"
            released = () if variant == "huge" else (Mirror(_RELEASE + name),)
            mirrors = (*copies.get(part, ()), *released, Mirror(f"{_CLOSED}classification/{name}"))
            terms = MIT_AND_APACHE if part in copies else MIT
            recipe = f"classifier_focalnet_{variant}_{level}_22k_{size}"
            files.append(WeightFile(name, f"ImageNet-22K classifier, {pixels} pixels", terms, mirrors, recipe=recipe))
    return files


def _closed(folder: str, name: str, content: str, recipe: str) -> WeightFile:
    return WeightFile(name, content, MIT, (Mirror(f"{_CLOSED}{folder}/{name}"),), recipe=recipe)


def _mm_detectors() -> list[WeightFile]:
    mask_rcnn = [
        _closed(
            "detection",
            f"focalnet_{size}_{field}_maskrcnn_{schedule}.pth",
            "Mask R-CNN on COCO",
            f"mask_rcnn_focalnet_{size}_{field}_{schedule}",
        )
        for size in ("tiny", "small", "base")
        for field in ("srf", "lrf")
        for schedule in ("1x", "3x")
    ]
    others = [
        _closed("detection", f"focalnet_tiny_lrf_{short}_3x.pth", f"{title} on COCO", f"{recipe}_focalnet_tiny_lrf_3x")
        for short, title, recipe in (
            ("cascade_maskrcnn", "Cascade Mask R-CNN", "cascade_mask_rcnn"),
            ("atss", "ATSS", "atss"),
            ("sparsercnn", "Sparse R-CNN", "sparse_rcnn"),
        )
    ]
    return mask_rcnn + others


def _upernets() -> list[WeightFile]:
    return [
        _closed(
            "segmentation",
            f"focalnet_{size}_{field}_upernet_160k.pth",
            "UPerNet on ADE20K",
            f"upernet_focalnet_{size}_{field}",
        )
        for size in ("tiny", "small", "base")
        for field in ("srf", "lrf")
    ]


def _focalnet_dino() -> list[WeightFile]:
    files = []
    for name, page, content, recipe, size in (
        (
            "focalnet_large_fl4_pretrained_on_o365.pth", "focalnet-large-fl4-dino-o365",
            "DINO on Objects365 v2", "dino_focalnet_large_fl4_objects365", None,
        ),
        (
            "focalnet_large_fl4_o365_finetuned_on_coco.pth", "focalnet-large-fl4-dino-o365-cocoft",
            "DINO on COCO, from Objects365", "dino_focalnet_large_fl4_objects365_to_coco", 2_740_000_000,  # "2.74 GB"
        ),
    ):  # fmt: skip
        url = f"{_HUGGING_FACE}microsoft/{page}/resolve/main/{name}"
        mirrors = (Mirror(url, size=size, size_tolerance=5_000_000), Mirror(f"{_CLOSED}detection/{name}"))
        files.append(WeightFile(name, content, "Apache-2.0 (Hugging Face)", mirrors, recipe=recipe))
    return files


def _detrex() -> list[WeightFile]:
    return [
        WeightFile(
            path.rpartition("/")[2],
            "DINO on COCO, by detrex",
            APACHE,
            (Mirror(f"{_DETREX}{path}"),),
            recipe=f"dino_focalnet_large_{which}_detrex",
        )
        for path, which in (
            ("v0.2.1/dino_focal_large_lrf_384_4scale_12ep.pth", "fl3_4scale_12ep"),
            ("v0.4.0/dino_focal_large_3level_4scale_36ep.pth", "fl3_4scale_36ep"),
            ("v0.2.1/dino_focal_large_lrf_384_fl4_4scale_12ep.pth", "fl4_4scale_12ep"),
            ("v0.2.1/dino_focalnet_large_lrf_384_fl4_5scale_12ep.pth", "fl4_5scale_12ep"),
        )
    ]


def _shipped() -> list[WeightFile]:
    return [
        WeightFile(
            "dino_focalnet_mini_day.safetensors",
            "small DINO on generated images",
            APACHE,
            recipe="dino_focalnet_mini_quickstart",
            sha256="32bb802e32da15e5ae7e243aa3f4ac178d0e17c46ca73d940e045c33257cad1a",
            size=6_713_320,
        ),
        WeightFile(
            "mask2former_focalnet_mini.safetensors",
            "small Mask2Former on generated images",
            APACHE,
            recipe="mask2former_focalnet_mini_quickstart",
            sha256="aca59284d2e62ec15877408f9b6c92a3bf873ff7fe61883a6689b1c2f6cf30b9",
            size=8_047_948,
        ),
    ]


WEIGHT_FILES: dict[str, WeightFile] = {
    file.name: file
    for file in (
        *_classifiers(),
        *_isotropic_classifiers(),
        *_large_classifiers(),
        *_mm_detectors(),
        *_upernets(),
        *_focalnet_dino(),
        *_detrex(),
        *_shipped(),
    )
}


def trained_weights(recipe: str) -> WeightFile | None:
    """The published file with the trained model of a recipe."""
    return next((file for file in WEIGHT_FILES.values() if file.recipe == recipe), None)
