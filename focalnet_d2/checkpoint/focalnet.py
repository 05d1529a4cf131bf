"""FocalNet weights in the layouts of the code bases that publish them.

All but transformers and timm (`focalnet_names`) name the parameters of a FocalNet alike; they differ in the prefix, in
the last norm and head, and in flags that no shape shows (`read_architecture`). A file that fills the backbone only may
have smaller kernels and fewer focal levels than the model (`growth`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from focalnet_d2.backbone.focalnet import FocalNet

from .focalnet_architecture import (
    Flags,
    FocalNetArchitecture,
    architecture_checks,
    classification_flags,
    detrex_flags,
    focalnet_dino_flags,
    focalnet_settings,
    mask2former_flags,
    mm_flags,
    recorded_settings,
)
from .focalnet_names import TIMM, TRANSFORMERS, ClassifierNames
from .layout import Layout, RequiredSetting, Rule, State, drop, holds, rename

BLOCK = "layers.#.blocks.#."
_KERNEL = rename(BLOCK + "modulation.focal_layers.#.0.weight")
_OUTPUT_NORM = rename("norm<0|1|2|3>.<weight|bias>")
FOCALNET_RULES = (
    rename("patch_embed.<proj|norm>.<weight|bias>"),
    rename(BLOCK + "<norm1|norm2>.<weight|bias>"),
    rename(BLOCK + "<gamma_1|gamma_2>"),
    rename(BLOCK + "modulation.<f|h|ln|proj>.<weight|bias>"),
    _KERNEL,
    rename(BLOCK + "mlp.<fc1|fc2>.<weight|bias>"),
    rename("layers.#.downsample.<proj|norm>.<weight|bias>"),
    _OUTPUT_NORM,
)


def focalnet_rules(file_prefix: str, model_prefix: str) -> tuple[Rule, ...]:
    """The table of a FocalNet with output norms, for a prefix on either side."""
    return tuple(rule.within(file_prefix, model_prefix) for rule in FOCALNET_RULES)


def focalnet_prefix(model: nn.Module) -> str | None:
    """Where the model keeps its FocalNet: "" if it is one, else like `backbone.bottom_up.`; None without one.

    Raises:
        ValueError: the model has several.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, FocalNet)]
    if len(names) > 1:
        raise ValueError(f"The model has several FocalNets ({', '.join(names)}): load each of them by itself.")
    return None if not names else names[0] + "." if names[0] else ""


_OTHER_BACKBONES = (
    ("Swin Transformer", "*.attn.relative_position_bias_table"),
    ("Swin Transformer", "*.attn.w_msa.relative_position_bias_table"),
    ("ResNet", "*.res2.0.conv1.weight"),
    ("ResNet", "*.layer1.0.conv1.weight"),
    ("ResNet", "layer1.0.conv1.weight"),
    ("vision transformer", "blocks.#.attn.qkv.weight"),
    ("vision transformer", "*.blocks.#.attn.qkv.weight"),
)


def other_backbone(names: Sequence[str]) -> str | None:
    """The backbone in a file's names if it is a common one other than a FocalNet."""
    return next((backbone for backbone, pattern in _OTHER_BACKBONES if holds(names, pattern)), None)


_MODELS = (
    ("Cascade Mask R-CNN", "roi_head.bbox_head.#.shared_convs.*"),
    ("Sparse R-CNN", "rpn_head.init_proposal_bboxes.weight"),
    ("Mask R-CNN", "roi_head.mask_head.*"),
    ("ATSS", "bbox_head.atss_cls.weight"),
    ("UPerNet", "decode_head.psp_modules.*"),
    ("DINO", "transformer.<level_embed|level_embeds>"),
    ("Mask2Former", "sem_seg_head.predictor.*"),
)


def published_model(names: Sequence[str]) -> str | None:
    """What model the names of a published file belong to, for messages; None if it is none of the known."""
    return next((model for model, pattern in _MODELS if holds(names, pattern)), None)


def is_output_norm(name: str, prefix: str) -> bool:
    """Whether a name of the model is one of the norms behind the FocalNet's outputs."""
    return _OUTPUT_NORM.within(prefix, prefix).matches(name)


def _backbone_layout(
    name: str,
    prefix: str,
    file_prefix: str,
    recognize: Callable[[Sequence[str]], bool],
    others: tuple[Rule, ...],
    flags_of: Callable[[FocalNetArchitecture], Flags] | None = None,
) -> Layout:
    def settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[RequiredSetting]:
        if flags_of is None or "settings" in metadata:  # one of our own files says it
            return recorded_settings(state, metadata, prefix, file_prefix=file_prefix)
        return focalnet_settings(state, prefix, flags_of)

    return Layout(
        name,
        recognize=lambda names, model_state: recognize(names),
        rules=lambda model, names: (*focalnet_rules(file_prefix, prefix), *others),
        checks=architecture_checks(prefix, growing=True),
        settings=settings,
        backbone_only=True,
    )


SIGNATURE = ("patch_embed.proj.weight", "layers.0.blocks.0.modulation.f.weight")  # by which a FocalNet is known


def is_focalnet(names: Sequence[str], prefix: str = "") -> bool:
    """Whether a file has a FocalNet with our names for its parameters below a prefix."""
    return all(prefix + name in names for name in SIGNATURE)


def _has_output_norms(names: Sequence[str]) -> bool:
    return holds(names, "norm<0|1|2|3>.weight")


MICROSOFT = ClassifierNames(
    "Microsoft classification",
    recognize=lambda names: is_focalnet(names) and not _has_output_norms(names),
    rules=lambda model, prefix: focalnet_rules("", prefix),
    norm="norm.<weight|bias>",
    head="head.<weight|bias>",
    flags=classification_flags,
    container="model",
)
CLASSIFIERS = (MICROSOFT, TRANSFORMERS, TIMM)


def _without_head(source: ClassifierNames, prefix: str) -> Layout:
    ends = (drop(source.norm, "the classifier's last norm"), drop(source.head, "the classifier's head"))
    return Layout(
        source.name,
        recognize=lambda names, state: source.recognize(names),
        rules=lambda model, names: (*source.rules(model, prefix), *ends),
        checks=architecture_checks(prefix, growing=True),
        settings=lambda model, state, metadata: focalnet_settings(state, prefix, source.flags),
        prepare=source.prepare,
        restore=source.restore,
        container=source.container,
        backbone_only=True,
    )


def backbone_layouts(prefix: str) -> list[Layout]:
    """Files of a classifier and of a FocalNet alone."""
    return [
        *(_without_head(source, prefix) for source in CLASSIFIERS),
        _backbone_layout(
            "FocalNet backbone", prefix, "", lambda names: is_focalnet(names) and _has_output_norms(names), ()
        ),
    ]


_NO_BACKBONE = "not part of the backbone"


def _mm_layout(prefix: str) -> Layout:
    heads = "<neck|rpn_head|roi_head|bbox_head|decode_head|auxiliary_head>.*"
    return _backbone_layout(
        "mmdetection or mmsegmentation",
        prefix,
        "backbone.",
        lambda names: is_focalnet(names, "backbone.") and holds(names, "<rpn_head|bbox_head|decode_head>.*"),
        (drop(heads, _NO_BACKBONE),),
        mm_flags,
    )


def detector_layouts(prefix: str) -> list[Layout]:
    """Files of whole models, of which a FocalNet takes its part; more general ones come later."""
    heads = "<{}|transformer|label_enc|class_embed|bbox_embed>.*"
    return [
        _mm_layout(prefix),
        _backbone_layout(
            "FocalNet-DINO",
            prefix,
            "backbone.0.",
            lambda names: is_focalnet(names, "backbone.0."),
            (drop(heads.format("input_proj"), _NO_BACKBONE),),
            focalnet_dino_flags,
        ),
        _backbone_layout(
            "detrex",
            prefix,
            "backbone.",
            lambda names: is_focalnet(names, "backbone.") and holds(names, "neck.convs.#.*", "transformer.*"),
            (drop(heads.format("neck"), _NO_BACKBONE),),
            detrex_flags,
        ),
        _backbone_layout(
            "Mask2Former",
            prefix,
            "backbone.",
            lambda names: is_focalnet(names, "backbone.") and holds(names, "sem_seg_head.predictor.*"),
            (drop("<sem_seg_head|criterion>.*", _NO_BACKBONE), drop("pixel_<mean|std>", _NO_BACKBONE)),
            mask2former_flags,
        ),
        *(
            _backbone_layout(
                "focalnet_d2",
                prefix,
                ours,
                partial(is_focalnet, prefix=ours),
                (rename(ours + "*", prefix + "*"), drop("*", _NO_BACKBONE)),
            )
            for ours in ("backbone.bottom_up.", "backbone.")
        ),
    ]
