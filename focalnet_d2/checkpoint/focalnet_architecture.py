"""What a FocalNet's weights tell by their shapes, and what they do not tell: flags that follow from their source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from focalnet_d2.backbone.variants import FOCALNET_VARIANTS, SIZE_LETTERS

from .layout import ArchitectureCheck, RequiredSetting, State

_KINDS = ("deeper", "iso")


@dataclass(frozen=True)
class FocalNetArchitecture:
    """What the shapes of a FocalNet's weights tell about it; per stage where a tuple."""

    embed_dim: int
    depths: tuple[int, ...]
    focal_levels: tuple[int, ...]
    kernels: tuple[int, ...]  # of the first focal level
    stem_kernel: int
    in_chans: int
    mlp_ratio: float
    use_layerscale: bool
    use_postln_in_modulation: bool

    @property
    def use_conv_embed(self) -> bool:
        return self.stem_kernel == 7

    @property
    def variant(self) -> str | None:
        """Key of FOCALNET_VARIANTS with these sizes, whatever the kernels; None for a size nobody published."""
        matching = [
            name
            for name, flags in FOCALNET_VARIANTS.items()
            if self._has_size_of(flags) and tuple(flags["focal_levels"]) == self.focal_levels
        ]
        return matching[0] if matching else None

    @property
    def size(self) -> str:
        """The network in words, its focal levels aside: FocalNet-L, or the numbers of an unpublished one."""
        for name, flags in FOCALNET_VARIANTS.items():
            if self._has_size_of(flags):
                size, kind = name.split("_")[:2]
                return f"FocalNet-{SIZE_LETTERS[size]}" + (f" {kind}" if kind in _KINDS else "")
        parts = [f"width {self.embed_dim}", f"depths {_commas(self.depths)}", f"a {self.stem_kernel}x stem"]
        parts += ["layer scale"] * self.use_layerscale + ["a norm in the modulation"] * self.use_postln_in_modulation
        return f"a FocalNet ({', '.join(parts)})"

    def _has_size_of(self, flags: Mapping[str, Any]) -> bool:
        stem = 7 if flags.get("use_conv_embed") else flags.get("patch_size", 4)
        return (self.embed_dim, self.depths, self.stem_kernel, self.use_layerscale, self.use_postln_in_modulation) == (
            flags["embed_dim"], tuple(flags["depths"]), stem,
            flags.get("use_layerscale", False), flags.get("use_postln_in_modulation", False),
        )  # fmt: skip


def read_architecture(state: State, prefix: str) -> FocalNetArchitecture | None:
    """The architecture of the FocalNet below a prefix; None if its stem or first block is not there."""
    stem = state.get(prefix + "patch_embed.proj.weight")
    if stem is None or prefix + "layers.0.blocks.0.mlp.fc1.weight" not in state:
        return None
    inside = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
    depths, levels, kernels = [], [], []
    while f"layers.{len(depths)}.blocks.0.modulation.f.weight" in inside:
        stage = f"layers.{len(depths)}.blocks."
        layers = stage + "0.modulation.focal_layers."
        first = state.get(f"{prefix}{layers}0.0.weight")
        depths.append(_count(inside, stage + "{}.modulation.f.weight"))
        levels.append(_count(inside, layers + "{}.0.weight"))
        kernels.append(0 if first is None else first.shape[-1])
    hidden, dim = state[prefix + "layers.0.blocks.0.mlp.fc1.weight"].shape
    return FocalNetArchitecture(
        embed_dim=stem.shape[0],
        depths=tuple(depths),
        focal_levels=tuple(levels),
        kernels=tuple(kernels),
        stem_kernel=stem.shape[-1],
        in_chans=stem.shape[1],
        mlp_ratio=hidden / dim,
        use_layerscale="layers.0.blocks.0.gamma_1" in inside,
        use_postln_in_modulation="layers.0.blocks.0.modulation.ln.weight" in inside,
    )


def _count(names: set[str], pattern: str) -> int:
    count = 0
    while pattern.format(count) in names:
        count += 1
    return count


def _commas(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else ",".join(map(str, values))


def architecture_checks(prefix: str, *, growing: bool = False) -> tuple[ArchitectureCheck, ...]:
    """What to compare of the FocalNets of a file and a model; `growing` accepts what growth can bridge."""

    def of(value: Callable[[FocalNetArchitecture], Any]) -> Callable[[State], Any]:
        return lambda state: None if (architecture := read_architecture(state, prefix)) is None else value(architecture)

    def no_more(file: tuple[int, ...], model: tuple[int, ...]) -> bool:
        return len(file) == len(model) and all(a <= b for a, b in zip(file, model, strict=True))

    levels = ArchitectureCheck(of(lambda architecture: architecture.focal_levels), "{} focal levels", show=_commas)
    kernels = ArchitectureCheck(of(lambda architecture: architecture.kernels), "focal windows {}", show=_commas)
    if growing:
        levels = replace(levels, fits=no_more)
        kernels = replace(kernels, fits=lambda file, model: True)
    return (
        ArchitectureCheck(of(lambda architecture: architecture.size), "{}"),
        levels,
        kernels,
        ArchitectureCheck(of(lambda architecture: architecture.in_chans), "{} input channels", usual=3),
        ArchitectureCheck(of(lambda architecture: architecture.mlp_ratio), "an MLP ratio of {:g}", usual=4),
    )


@dataclass(frozen=True)
class Flags:
    """Flags a file was trained with; None: no source settles it."""

    stem_padding: int
    use_postln: bool | None
    normalize_modulator: bool | None


def _variant_flag(architecture: FocalNetArchitecture, name: str) -> bool | None:
    return None if architecture.variant is None else FOCALNET_VARIANTS[architecture.variant].get(name, False)


def classification_flags(architecture: FocalNetArchitecture) -> Flags:
    """Microsoft's classifiers; of xlarge_fl4 two published sources disagree about the modulator."""
    unsettled = architecture.variant == "xlarge_fl4"
    normalize = None if unsettled else _variant_flag(architecture, "normalize_modulator")
    return Flags(2, _variant_flag(architecture, "use_postln"), normalize)


def library_flags(architecture: FocalNetArchitecture) -> Flags:
    """transformers and timm: as Microsoft's classifiers. Where those normalise the modulator (L with 4 levels) these do
    not, and whether a file was converted or trained by them is unknown.
    """
    flags = classification_flags(architecture)
    return replace(flags, normalize_modulator=None) if flags.normalize_modulator else flags


def focalnet_dino_flags(architecture: FocalNetArchitecture) -> Flags:
    """FocalNet-DINO: its builder normalises the modulator of L and XL with 4 levels."""
    normalize = None if architecture.variant is None else architecture.variant in ("large_fl4", "xlarge_fl4")
    return Flags(2, _variant_flag(architecture, "use_postln"), normalize)


def detrex_flags(architecture: FocalNetArchitecture) -> Flags:
    """detrex: no configuration normalises the modulator."""
    return Flags(2, _variant_flag(architecture, "use_postln"), False)


def mask2former_flags(architecture: FocalNetArchitecture) -> Flags:
    """Mask2Former: no file with a FocalNet is public; of L and XL with 4 levels nobody says if they normalise."""
    unsettled = architecture.variant in (None, "large_fl4", "xlarge_fl4")
    return Flags(2, _variant_flag(architecture, "use_postln"), None if unsettled else False)


def mm_flags(architecture: FocalNetArchitecture) -> Flags:
    """mmdetection and mmsegmentation: another stem padding, and their copy has neither of the other flags."""
    return Flags(3, False, False)


def focalnet_settings(
    state: State, prefix: str, flags_of: Callable[[FocalNetArchitecture], Flags]
) -> list[RequiredSetting]:
    """The settings of the FocalNet below a prefix, by the code base the file comes from."""
    architecture = read_architecture(state, prefix)
    if architecture is None:
        return []
    flags = flags_of(architecture)
    unsettled = "published sources disagree" if architecture.variant else "the size is not a published one"
    settings = [
        RequiredSetting(prefix + "use_postln", flags.use_postln, unsettled),
        RequiredSetting(prefix + "normalize_modulator", flags.normalize_modulator, unsettled),
    ]
    if architecture.use_conv_embed:
        settings.append(RequiredSetting(prefix + "stem_padding", flags.stem_padding))
    return settings


FOCALNET_SETTINGS = ("use_postln", "normalize_modulator", "stem_padding")


def recorded_settings(
    state: State,
    metadata: Mapping[str, Any],
    prefix: str,
    *,
    others: Sequence[str] = (),
    file_prefix: str | None = None,
) -> list[RequiredSetting]:
    """The settings that one of our own files notes about itself: of the FocalNet below a prefix, and `others`.

    The file may be one of a larger model, in which the FocalNet has another prefix.
    """
    architecture = read_architecture(state, prefix)
    names = [] if architecture is None else FOCALNET_SETTINGS if architecture.use_conv_embed else FOCALNET_SETTINGS[:2]
    noted = metadata.get("settings", {})
    settings = [
        RequiredSetting(prefix + name, noted.get((prefix if file_prefix is None else file_prefix) + name))
        for name in names
    ]
    return settings + [RequiredSetting(path, noted.get(path)) for path in others]
