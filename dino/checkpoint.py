"""Layouts of DINO checkpoints: FocalNet-DINO's official files, detrex's, and our own.

One network, three sets of names. FocalNet-DINO stores its shared heads once per decoder layer and again inside the
decoder, numbers the decoder's norms by their place in the code (`norm1` follows cross attention), has a class row for
every COCO category id from 0 to 90 and one label row more. detrex numbers the norms in order of use and counts the
encoder's heads as those of one more decoder layer. Both differ in what no shape shows: `_settings`. Stable-DINO's files
are detrex's with the memory fusion in addition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from torch import Tensor, nn

from focalnet_d2.checkpoint.classes import spread_rows
from focalnet_d2.checkpoint.focalnet import focalnet_rules
from focalnet_d2.checkpoint.focalnet_architecture import (  # fmt: skip
    architecture_checks,
    detrex_flags,
    focalnet_dino_flags,
    focalnet_settings,
    recorded_settings,
)
from focalnet_d2.checkpoint.layout import (  # fmt: skip
    ArchitectureCheck,
    ClassRows,
    Layout,
    RequiredSetting,
    Rule,
    State,
    count_numbers,
    count_of,
    holds,
    length_of,
    merge,
    rename,
    same_tensor,
)
from focalnet_d2.checkpoint.native import native_layout
from focalnet_d2.layers.mlp import prior_bias

FOCALNET = "backbone.bottom_up."
_ATTENTION = "<sampling_offsets|attention_weights|value_proj|output_proj>.<weight|bias>"
_WB = "<weight|bias>"
_ONE_HEAD = "if every decoder layer has its own heads, set model.shared_heads=False"

# What both call the same

_COMMON_RULES = (
    rename(f"transformer.decoder.norm.{_WB}", "decoder.norm.<>"),
    rename(f"transformer.decoder.ref_point_head.layers.#.{_WB}", "decoder.ref_point_head.layers.#.<>"),
    rename("transformer.tgt_embed.weight", "query_selection.tgt_embed.weight"),
    rename(f"transformer.<enc_output|enc_output_norm>.{_WB}", "query_selection.<>.<>"),
    rename("label_enc.weight", "denoising.label_enc.weight"),
)

# FocalNet-DINO

_FOCALNET_DINO_RULES = (
    *_COMMON_RULES,
    *focalnet_rules("backbone.0.", FOCALNET),
    rename(f"input_proj.#.<0|1>.{_WB}", "backbone.input_proj.#.<>.<>"),
    rename("transformer.level_embed", "level_embed"),
    rename(f"transformer.encoder.layers.#.self_attn.{_ATTENTION}", "encoder.layers.#.self_attn.<>.<>"),
    rename(f"transformer.encoder.layers.#.<norm1|norm2|linear1|linear2>.{_WB}", "encoder.layers.#.<>.<>"),
    rename(f"transformer.decoder.layers.#.cross_attn.{_ATTENTION}", "decoder.layers.#.cross_attn.<>.<>"),
    rename(
        "transformer.decoder.layers.#.self_attn.<in_proj_weight|in_proj_bias|out_proj.weight|out_proj.bias>",
        "decoder.layers.#.self_attn.<>",
    ),
    rename(f"transformer.decoder.layers.#.<norm1|norm2|norm3|linear1|linear2>.{_WB}", "decoder.layers.#.<>.<>"),
    rename(f"transformer.enc_out_class_embed.{_WB}", "query_selection.class_embed.<>"),
    rename(f"transformer.enc_out_bbox_embed.layers.#.{_WB}", "query_selection.bbox_embed.layers.#.<>"),
)


def _focalnet_dino_rules(model: Any, names: Sequence[str]) -> tuple[Rule, ...]:
    layers = count_numbers(names, "transformer.decoder.layers") or len(model.decoder.layers)
    return _FOCALNET_DINO_RULES + tuple(
        merge(f"{prefix}{head.format(layer)}.{_WB}", f"{head.format(0 if model.shared_heads else layer)}.<>", _ONE_HEAD)
        for prefix in ("", "transformer.decoder.")
        for head in ("class_embed.{}", "bbox_embed.{}.layers.#")
        for layer in range(layers)
    )


# detrex

_DETREX_RULES = (
    *_COMMON_RULES,
    *focalnet_rules("backbone.", FOCALNET),
    rename(f"neck.convs.#.conv.{_WB}", "backbone.input_proj.#.0.<>"),
    rename(f"neck.convs.#.norm.{_WB}", "backbone.input_proj.#.1.<>"),
    rename("transformer.level_embeds", "level_embed"),
    rename(f"transformer.encoder.layers.#.attentions.0.{_ATTENTION}", "encoder.layers.#.self_attn.<>.<>"),
    rename(f"transformer.encoder.layers.#.ffns.0.layers.0.0.{_WB}", "encoder.layers.#.linear1.<>"),
    rename(f"transformer.encoder.layers.#.ffns.0.layers.1.{_WB}", "encoder.layers.#.linear2.<>"),
    rename(f"transformer.encoder.layers.#.norms.0.{_WB}", "encoder.layers.#.norm1.<>"),
    rename(f"transformer.encoder.layers.#.norms.1.{_WB}", "encoder.layers.#.norm2.<>"),
    rename(
        "transformer.decoder.layers.#.attentions.0.attn.<in_proj_weight|in_proj_bias|out_proj.weight|out_proj.bias>",
        "decoder.layers.#.self_attn.<>",
    ),
    rename(f"transformer.decoder.layers.#.attentions.1.{_ATTENTION}", "decoder.layers.#.cross_attn.<>.<>"),
    rename(f"transformer.decoder.layers.#.ffns.0.layers.0.0.{_WB}", "decoder.layers.#.linear1.<>"),
    rename(f"transformer.decoder.layers.#.ffns.0.layers.1.{_WB}", "decoder.layers.#.linear2.<>"),
    rename(f"transformer.decoder.layers.#.norms.0.{_WB}", "decoder.layers.#.norm2.<>"),
    rename(f"transformer.decoder.layers.#.norms.1.{_WB}", "decoder.layers.#.norm1.<>"),
    rename(f"transformer.decoder.layers.#.norms.2.{_WB}", "decoder.layers.#.norm3.<>"),
)


def _detrex_rules(model: Any, names: Sequence[str]) -> tuple[Rule, ...]:
    """The table; the index of the extra level and of the encoder's heads depend on the file's sizes.

    Raises:
        ValueError: such a file is to be written from a model with one head for all decoder layers.
    """
    if model.shared_heads and not names:
        raise ValueError(
            "A detrex file has heads for every decoder layer: set model.shared_heads=False before loading."
        )
    extra = count_numbers(names, "neck.convs") or len(model.backbone.in_features)
    encoder = count_numbers(names, "transformer.decoder.layers") or len(model.decoder.layers)
    heads = tuple(
        merge(f"{prefix}{head}.{_WB}", f"{target}.<>", _ONE_HEAD)
        for prefix in ("", "transformer.decoder.")
        for head, target in (
            (f"class_embed.{encoder}", "query_selection.class_embed"),
            (f"bbox_embed.{encoder}.layers.#", "query_selection.bbox_embed.layers.#"),
            ("class_embed.#", "class_embed.#"),
            ("bbox_embed.#.layers.#", "bbox_embed.#.layers.#"),
        )
    )
    extra_level = (
        rename(f"neck.extra_convs.0.conv.{_WB}", f"backbone.input_proj.{extra}.0.<>"),
        rename(f"neck.extra_convs.0.norm.{_WB}", f"backbone.input_proj.{extra}.1.<>"),
    )
    return extra_level + _DETREX_RULES + _fusion_rules(model, names) + heads


# Stable-DINO: detrex's names, and those of the memory fusion that the model has

_FUSION, _DENSE, _SIMPLE = "encoder.fusion.", "transformer.encoder.fusion_layer", "transformer.fusion_run"
_NO_FUSION = (
    "no memory fusion",
    "model.encoder.fusion=null, or model.encoder.fusion.start_from_memory=True to train one from here",
)


def _fusion_rules(model: Any, names: Sequence[str]) -> tuple[Rule, ...]:
    """The table of the dense fusion, or of a simple one with or without a norm; see `MemoryFusion`."""
    fusion = model.encoder.fusion
    for kind, sources in ((_DENSE, "all"), (_SIMPLE, "ends")):
        if any(name.startswith(kind) for name in names):
            _check_order(model, kind, sources)
    is_simple = any(name.startswith(_SIMPLE) for name in names) or (not names and fusion and fusion.sources == "ends")
    if not is_simple:
        modules = {f"{_DENSE}.0": "linear", f"{_DENSE}.1": "norm"}
    elif f"{_SIMPLE}.weight" in names or not (names or fusion.has_norm):
        modules = {_SIMPLE: "linear"}
    else:
        modules = {f"{_SIMPLE}.0": "linear", f"{_SIMPLE}.1": "norm"}
    return tuple(rename(f"{theirs}.{_WB}", f"{_FUSION}{ours}.<>") for theirs, ours in modules.items())


def _check_order(model: Any, kind: str, sources: str) -> None:
    """Raises ValueError if a model with one encoder layer, where shapes do not tell, has not the sources of a file."""
    fusion = model.encoder.fusion
    if fusion is not None and len(model.encoder.layers) == 1 and fusion.sources != sources:
        raise ValueError(
            f"The file holds {kind}, which the model would read in another order: set "
            f"model.encoder.fusion.sources={sources}."
        )


def _fusion(state: State) -> tuple[str, str] | None:
    """What a message calls the memory fusion, and what to type for the like."""
    weight = state.get(f"{_FUSION}linear.weight")
    if weight is None:
        return _NO_FUSION if "encoder.layers.0.norm2.weight" in state else None
    norm = "with" if f"{_FUSION}norm.weight" in state else "without"
    return f"a memory fusion of {weight.shape[1] // weight.shape[0]} stages {norm} a norm", "a recipe of Stable-DINO"


def _start_fusion(model: Any, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Lets a file without a memory fusion into a model that starts one from the memory."""
    fusion, layers = model.encoder.fusion, model.encoder.layers
    if fusion is None or not fusion.start_from_memory or not layers or f"{_FUSION}linear.weight" in tensors:
        return {}
    norm = [tensors.get(f"encoder.layers.{len(layers) - 1}.norm2.{name}") for name in ("weight", "bias")]
    fits = all(one is not None and one.shape == own.shape for one, own in zip(norm, layers[-1].norm2.parameters()))
    passing = fusion.passing_memory(*norm) if fits else fusion.state_dict()  # the norm itself is then refused
    tensors |= {_FUSION + name: value for name, value in passing.items()}
    return {_FUSION + name: "starts so that the memory stays what it is without a fusion" for name in passing}


# What shapes tell


def _shared_heads(state: State) -> bool | None:
    heads, layers = count_numbers(state, "class_embed"), count_numbers(state, "decoder.layers")
    return None if layers < 2 or heads == 0 else heads == 1


def _outputs(state: State) -> str | None:
    found = [f"res{i + 2}" for i in range(4) if f"{FOCALNET}norm{i}.weight" in state]
    return ",".join(found) or None


CHECKS = (
    *architecture_checks(FOCALNET),
    ArchitectureCheck(length_of("level_embed"), "{} feature scales", "model.backbone.num_levels={}"),
    ArchitectureCheck(_outputs, "backbone outputs {}", "model.backbone.bottom_up.out_features=[{}]"),
    ArchitectureCheck(length_of("level_embed", 1), "width {}", "model.backbone.dim={}", usual=256),
    ArchitectureCheck(count_of("encoder.layers"), "{} encoder layers", "model.encoder.num_layers={}"),
    ArchitectureCheck(count_of("decoder.layers"), "{} decoder layers", "model.decoder.num_layers={}"),
    ArchitectureCheck(length_of("encoder.layers.0.linear1.weight"), "feed-forward width {}", usual=2048),
    ArchitectureCheck(
        length_of("query_selection.tgt_embed.weight"), "{} queries", "model.query_selection.num_queries={}"
    ),
    ArchitectureCheck(_fusion, "{0[0]}", "{0[1]}", usual=_NO_FUSION),
    ArchitectureCheck(_shared_heads, "heads shared by all decoder layers: {}", "model.shared_heads={}"),
)


# What shapes do not tell


def _same_heads(state: State) -> bool:
    weights = [state[name] for name in state if name.startswith("class_embed.") and name.endswith(".weight")]
    return all(same_tensor(weights[0], weight) for weight in weights[1:])


_TEMPERATURE, _TEMPERATURE_WIDTH = "position_embedding.temperature", "position_embedding.temperature_width"


def _temperatures(model: Any, height: float | None, width: float | None) -> list[RequiredSetting]:
    """Those of the position encoding; the width's is asked for apart only where it is not that of the height."""
    encoding, settings = model.position_embedding, [RequiredSetting(_TEMPERATURE, height)]
    if width != height or getattr(encoding, "temperature_width", None) != getattr(encoding, "temperature", None):
        settings.append(RequiredSetting(_TEMPERATURE_WIDTH, width))
    return settings


def _focalnet_dino_settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[RequiredSetting]:
    return [
        *_temperatures(model, 20, 20),
        RequiredSetting("position_embedding.offset", 0),
        RequiredSetting("mask_padding_in_eval", True),
        RequiredSetting("shared_heads", _same_heads(state)),
        *focalnet_settings(state, FOCALNET, focalnet_dino_flags),
    ]


def _detrex_settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[RequiredSetting]:
    return [
        *_temperatures(model, 10000, 10000),
        RequiredSetting("position_embedding.offset", -0.5),
        RequiredSetting("mask_padding_in_eval", False),
        *focalnet_settings(state, FOCALNET, detrex_flags),
    ]


_OWN_SETTINGS = ("position_embedding.offset", "mask_padding_in_eval")
_SOURCES = _FUSION + "sources"


def _own_settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[RequiredSetting]:
    """As the file notes them; older files have one temperature, which is also that of the width.

    What a memory fusion has as sources shows in its shape, unless there is a single encoder layer.
    """
    noted = metadata.get("settings", {})
    height = noted.get(_TEMPERATURE)
    is_unclear = f"{_FUSION}linear.weight" in state and count_numbers(state, "encoder.layers") == 1
    own = (*_OWN_SETTINGS, _SOURCES) if is_unclear else _OWN_SETTINGS
    others = recorded_settings(state, metadata, FOCALNET, others=own)
    return [*_temperatures(model, height, noted.get(_TEMPERATURE_WIDTH, height)), *others]


# Classes

_COCO_THINGS = [category for category in COCO_CATEGORIES if category["isthing"]]
COCO_IDS = tuple(category["id"] for category in _COCO_THINGS)  # 80 ids between 1 and 90
OBJECTS365_IDS = tuple(range(1, 366))


def _focalnet_dino_names(rows: int) -> list[str | None] | None:
    """Class of each row of an official COCO file, whose rows are category ids; other files are not known."""
    if rows != 91:
        return None
    names = {category["id"]: category["name"] for category in _COCO_THINGS}
    return [names.get(row) for row in range(rows)]


def _detrex_names(rows: int) -> list[str] | None:
    return [category["name"] for category in _COCO_THINGS] if rows == len(_COCO_THINGS) else None


_LABELS = "denoising.label_enc.weight"
_CLASS_TENSORS = (f"class_embed.#.{_WB}", f"query_selection.class_embed.{_WB}", _LABELS)
_SELECTIONS = {(91, 80): COCO_IDS, (366, 365): OBJECTS365_IDS}


def _drop_spare_labels(tensors: dict[str, Tensor]) -> dict[str, str]:
    """FocalNet-DINO's label table has a row more than there are classes, which nothing reads."""
    labels, head = tensors.get(_LABELS), tensors.get("query_selection.class_embed.bias")
    if labels is None or head is None or labels.shape[0] <= head.shape[0]:
        return {}
    tensors[_LABELS] = labels[: head.shape[0]]
    return {_LABELS: f"{labels.shape[0] - head.shape[0]} unused label row is left out"}


def _add_rows(model: Any, tensors: dict[str, Tensor], class_names: Sequence[str] | None) -> list[str]:
    """FocalNet-DINO's rows: one for every category id of COCO or Objects365, and the spare label."""
    notes, known = [], _detrex_names(model.num_classes)
    wanted = next((rows for rows, classes in _SELECTIONS if classes == model.num_classes), None)
    if wanted is not None and (class_names is None or known is None or list(class_names) == known):
        for name in ClassRows(_CLASS_TENSORS).keys(tensors):
            fill = prior_bias() if name.endswith(".bias") else 0
            tensors[name] = spread_rows(tensors[name], wanted, _SELECTIONS[wanted, model.num_classes], fill)
        notes.append(
            f"{model.num_classes} class rows become {wanted}, one for each category id; the rows of ids without a "
            "class have weight 0 and the bias that a head starts with"
        )
    labels = tensors[_LABELS]
    tensors[_LABELS] = spread_rows(labels, len(labels) + 1, range(len(labels)))
    return [*notes, "the label table gets a spare last row of zeros, which nothing reads"]


LAYOUTS = (
    Layout(
        "FocalNet-DINO",
        recognize=lambda names, state: holds(names, "backbone.0.*", "transformer.level_embed", "label_enc.weight"),
        rules=_focalnet_dino_rules,
        checks=CHECKS,
        settings=_focalnet_dino_settings,
        prepare=_drop_spare_labels,
        fill=_start_fusion,
        classes=ClassRows(_CLASS_TENSORS, _focalnet_dino_names, _SELECTIONS),
        restore=_add_rows,
    ),
    Layout(
        "detrex",
        recognize=lambda names, state: holds(names, "neck.convs.*", "transformer.level_embeds", "label_enc.weight"),
        rules=_detrex_rules,
        checks=CHECKS,
        settings=_detrex_settings,
        fill=_start_fusion,
        classes=ClassRows(_CLASS_TENSORS, _detrex_names),
    ),
    replace(
        native_layout(
            "query_selection.*",
            "denoising.label_enc.weight",
            focalnet=FOCALNET,
            checks=CHECKS,
            classes=ClassRows(_CLASS_TENSORS),
            others=(_TEMPERATURE, _TEMPERATURE_WIDTH, *_OWN_SETTINGS, _SOURCES),
        ),
        settings=_own_settings,
        fill=_start_fusion,
    ),
)
