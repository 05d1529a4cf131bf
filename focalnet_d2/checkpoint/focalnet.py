"""FocalNet weights in the layouts of the code bases that publish them.

All name the parameters of a FocalNet alike; they differ in the prefix, in the last norm and head, and in flags that
no shape shows (`focalnet_facts`). A file that fills the backbone only may have smaller kernels and fewer focal levels
than the model (`growth`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from ..modeling.focalnet import FocalNet
from .focalnet_facts import (
    Flags,
    FocalNetFacts,
    classification_flags,
    comparable_facts,
    detrex_flags,
    focalnet_dino_flags,
    focalnet_settings,
    mask2former_flags,
    mm_flags,
    recorded_settings,
)
from .layout import Layout, Rule, Setting, State, drop, holds, rename

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
        raise ValueError(f"the model has several FocalNets ({', '.join(names)}): load each of them by itself")
    return None if not names else names[0] + "." if names[0] else ""


_OTHER_BACKBONES = (
    ("Swin Transformer", "*.attn.relative_position_bias_table"),
    ("ResNet", "*.res2.0.conv1.weight"),
    ("ResNet", "*.layer1.0.conv1.weight"),
)


def other_backbone(names: Sequence[str]) -> str | None:
    """The backbone in a file's names if it is a common one other than a FocalNet."""
    return next((backbone for backbone, pattern in _OTHER_BACKBONES if holds(names, pattern)), None)


def is_output_norm(name: str, prefix: str) -> bool:
    """Whether a name of the model is one of the norms behind the FocalNet's outputs."""
    return _OUTPUT_NORM.within(prefix, prefix).matches(name)


def _backbone_layout(
    name: str,
    prefix: str,
    file_prefix: str,
    recognise: Callable[[list[str]], bool],
    others: tuple[Rule, ...],
    flags_of: Callable[[FocalNetFacts], Flags] | None = None,
) -> Layout:
    def settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[Setting]:
        if flags_of is None:
            return recorded_settings(state, metadata, prefix, file_prefix=file_prefix)
        return focalnet_settings(state, prefix, flags_of)

    return Layout(
        name,
        recognise=lambda names, model_state: recognise(names),
        rules=lambda model, names: (*focalnet_rules(file_prefix, prefix), *others),
        facts=comparable_facts(prefix, growing=True),
        settings=settings,
        backbone_only=True,
    )


def _is_focalnet(names: list[str], prefix: str = "") -> bool:
    return prefix + "patch_embed.proj.weight" in names and prefix + "layers.0.blocks.0.modulation.f.weight" in names


def _has_output_norms(names: list[str]) -> bool:
    return holds(names, "norm<0|1|2|3>.weight")


_MM_HEADS = "<neck|rpn_head|roi_head|bbox_head|decode_head|auxiliary_head>.*"


def backbone_layouts(prefix: str) -> list[Layout]:
    """Files of a classifier, of a FocalNet alone, and of mmdetection or mmsegmentation."""
    return [
        _backbone_layout(
            "Microsoft classification",
            prefix,
            "",
            lambda names: _is_focalnet(names) and not _has_output_norms(names),
            (
                drop("norm.<weight|bias>", "the classifier's last norm"),
                drop("head.<weight|bias>", "the classifier's head"),
            ),
            classification_flags,
        ),
        _backbone_layout(
            "FocalNet backbone", prefix, "", lambda names: _is_focalnet(names) and _has_output_norms(names), ()
        ),
        _backbone_layout(
            "mmdetection or mmsegmentation",
            prefix,
            "backbone.",
            lambda names: _is_focalnet(names, "backbone.") and holds(names, "<rpn_head|bbox_head|decode_head>.*"),
            (drop(_MM_HEADS, "a head of mmdetection or mmsegmentation"),),
            mm_flags,
        ),
    ]


def detector_layouts(prefix: str) -> list[Layout]:
    """Files of whole models, of which a FocalNet takes its part; more general ones come later."""
    reason = "not part of the backbone"
    heads = "<{}|transformer|label_enc|class_embed|bbox_embed>.*"
    return [
        _backbone_layout(
            "FocalNet-DINO",
            prefix,
            "backbone.0.",
            lambda names: _is_focalnet(names, "backbone.0."),
            (drop(heads.format("input_proj"), reason),),
            focalnet_dino_flags,
        ),
        _backbone_layout(
            "detrex",
            prefix,
            "backbone.",
            lambda names: _is_focalnet(names, "backbone.") and holds(names, "neck.convs.#.*", "transformer.*"),
            (drop(heads.format("neck"), reason),),
            detrex_flags,
        ),
        _backbone_layout(
            "Mask2Former",
            prefix,
            "backbone.",
            lambda names: _is_focalnet(names, "backbone.") and holds(names, "sem_seg_head.predictor.*"),
            (drop("<sem_seg_head|criterion>.*", reason), drop("pixel_<mean|std>", reason)),
            mask2former_flags,
        ),
        *(
            _backbone_layout(
                "focalnet_d2",
                prefix,
                ours,
                partial(_is_focalnet, prefix=ours),
                (rename(ours + "*", prefix + "*"), drop("*", reason)),
            )
            for ours in ("backbone.bottom_up.", "backbone.")
        ),
    ]
