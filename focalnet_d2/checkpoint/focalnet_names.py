"""The names that Hugging Face transformers and timm give to the parameters of a FocalNet classifier.

transformers renames only. timm makes 1x1 convolutions of the linear layers, has the downsampling at the beginning of
the next stage, and calls the norms behind their branches otherwise than those before them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .focalnet_architecture import Flags, FocalNetArchitecture, library_flags
from .layout import Rule, rename

_WB = "<weight|bias>"


@dataclass(frozen=True)
class ClassifierNames:
    """How a code base saves a FocalNet classifier.

    Args:
        name: what messages call it.
        recognize: names in the file -> whether its FocalNet is in it.
        rules: (model, prefix of its FocalNet) -> key table of the FocalNet without the last norm.
        norm, head: patterns of the last norm and the head.
        flags: what no shape shows.
        prepare, restore, container: see `Layout`.
    """

    name: str
    recognize: Callable[[Sequence[str]], bool]
    rules: Callable[[nn.Module, str], tuple[Rule, ...]]
    norm: str
    head: str
    flags: Callable[[FocalNetArchitecture], Flags]
    prepare: Callable[[dict[str, Tensor]], dict[str, str]] = lambda _: {}
    restore: Callable[[nn.Module, dict[str, Tensor], Sequence[str] | None], list[str]] = lambda *_: []
    container: str | None = None


# transformers

_STAGE, _BLOCK = "focalnet.encoder.stages.#.", "focalnet.encoder.stages.#.layers.#."
_OUR_BLOCK = "layers.#.blocks.#."
_TRANSFORMERS_RULES = (
    rename(f"focalnet.embeddings.patch_embeddings.projection.{_WB}", "patch_embed.proj.<>"),
    rename(f"focalnet.embeddings.norm.{_WB}", "patch_embed.norm.<>"),
    rename(f"{_BLOCK}modulation.projection_in.{_WB}", f"{_OUR_BLOCK}modulation.f.<>"),
    rename(f"{_BLOCK}modulation.projection_context.{_WB}", f"{_OUR_BLOCK}modulation.h.<>"),
    rename(f"{_BLOCK}modulation.projection_out.{_WB}", f"{_OUR_BLOCK}modulation.proj.<>"),
    rename(f"{_BLOCK}modulation.layernorm.{_WB}", f"{_OUR_BLOCK}modulation.ln.<>"),
    rename(f"{_BLOCK}modulation.focal_layers.#.0.weight", f"{_OUR_BLOCK}modulation.focal_layers.#.0.weight"),
    rename(f"{_BLOCK}mlp.<fc1|fc2>.{_WB}", f"{_OUR_BLOCK}mlp.<>.<>"),
    rename(f"{_BLOCK}<norm1|norm2>.{_WB}", f"{_OUR_BLOCK}<>.<>"),
    rename(f"{_BLOCK}<gamma_1|gamma_2>", f"{_OUR_BLOCK}<>"),
    rename(f"{_STAGE}downsample.projection.{_WB}", "layers.#.downsample.proj.<>"),
    rename(f"{_STAGE}downsample.norm.{_WB}", "layers.#.downsample.norm.<>"),
)

TRANSFORMERS = ClassifierNames(
    "Hugging Face transformers",
    recognize=lambda names: {
        "focalnet.embeddings.patch_embeddings.projection.weight",
        "focalnet.encoder.stages.0.layers.0.modulation.projection_in.weight",
    }.issubset(names),
    rules=lambda model, prefix: tuple(rule.within("", prefix) for rule in _TRANSFORMERS_RULES),
    norm=f"focalnet.layernorm.{_WB}",
    head=f"classifier.{_WB}",
    flags=library_flags,
)

# timm

_TIMM_RULES = (
    rename(f"stem.<proj|norm>.{_WB}", "patch_embed.<>.<>"),
    rename(f"{_OUR_BLOCK}modulation.<f|h|proj>.{_WB}"),
    rename(f"{_OUR_BLOCK}modulation.norm.{_WB}", f"{_OUR_BLOCK}modulation.ln.<>"),
    rename(f"{_OUR_BLOCK}modulation.focal_layers.#.0.weight"),
    rename(f"{_OUR_BLOCK}mlp.<fc1|fc2>.{_WB}"),
    rename(f"{_OUR_BLOCK}ls<1|2>.gamma", f"{_OUR_BLOCK}gamma_<>"),
    *(
        rename(f"layers.{stage + 1}.downsample.<proj|norm>.{_WB}", f"layers.{stage}.downsample.<>.<>")
        for stage in range(3)
    ),
)
_LINEAR = rename("*.<modulation.f|modulation.proj|mlp.fc1|mlp.fc2>.weight")


def _timm_rules(model: nn.Module, prefix: str) -> tuple[Rule, ...]:
    """The table; whether norms stand behind their branches shows in their names, so the model must have it alike."""
    post = "_post" if model.get_submodule(prefix.rstrip(".")).use_postln else ""
    norms = rename(f"{_OUR_BLOCK}norm<1|2>{post}.{_WB}", f"{_OUR_BLOCK}norm<>.<>")
    return tuple(rule.within("", prefix) for rule in (*_TIMM_RULES, norms))


def _from_convolutions(tensors: dict[str, Tensor]) -> dict[str, str]:
    """(C_out, C_in, 1, 1) -> (C_out, C_in) of the linear layers: the same numbers, so not reported."""
    for name, tensor in tensors.items():
        if _LINEAR.matches(name):
            tensors[name] = tensor.flatten(1)
    return {}


def _to_convolutions(model: nn.Module, tensors: dict[str, Tensor], class_names: Sequence[str] | None) -> list[str]:
    """The inverse."""
    for name, tensor in tensors.items():
        if _LINEAR.matches(name):
            tensors[name] = tensor[:, :, None, None]
    return []


TIMM = ClassifierNames(
    "timm",
    recognize=lambda names: {"stem.proj.weight", "layers.0.blocks.0.modulation.f.weight"}.issubset(names),
    rules=_timm_rules,
    norm=f"norm.{_WB}",
    head=f"head.fc.{_WB}",
    flags=library_flags,
    prepare=_from_convolutions,
    restore=_to_convolutions,
)
