"""FocalNet as a Detectron2 backbone (Focal Modulation Networks, arXiv:2203.11926, section 3).

Every input size works: the image is padded at the right and bottom to a multiple of the patch size and each map to
an even size before it is halved, so a level is the ceiling of half the one before. Module names are those of the
published weights. Unlike the published dense copies, one class covers every flag that any of them has.

Shapes: B images, H x W positions, C channels, L focal levels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from focalnet_d2.kernels.focal_context import focal_context
from focalnet_d2.kernels.linear import feed_forward, fused_linear
from focalnet_d2.kernels.recomputing import recomputed
from focalnet_d2.layers.activation_checkpointing import maybe_checkpoint

STAGE_NAMES = ("res2", "res3", "res4", "res5")


class FocalModulation(nn.Module):
    """Query times a context gathered over growing windows (arXiv:2203.11926, equations 4 to 6).

    Args:
        dim: channels C.
        focal_window: kernel size of the first focal level, odd; each further level adds 2.
        focal_level: number of depth-wise levels L; the global average is one more.
        use_postln: a LayerNorm between the modulated query and the output projection (FocalNet-H).
        normalize: divide the gathered context by L + 1 (FocalNet-L with 4 levels).
        dropout: rate after the output projection.
    """

    def __init__(
        self,
        dim: int,
        *,
        focal_window: int = 3,
        focal_level: int = 2,
        use_postln: bool = False,
        normalize: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.dim = dim
        self.focal_level = focal_level
        self.normalize = normalize
        self.f = nn.Linear(dim, 2 * dim + focal_level + 1)
        self.h = nn.Conv2d(dim, dim, kernel_size=1)
        self.proj = nn.Linear(dim, dim)
        self.ln = nn.LayerNorm(dim) if use_postln else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False), nn.GELU())
            for kernel in range(focal_window, focal_window + 2 * focal_level, 2)
        )

    def gather_context(self, context: Tensor, gates: Tensor) -> Tensor:
        """Gated sum of the focal levels and the global average: (B, H, W, C), (B, H, W, L+1) -> (B, H, W, C)."""
        gates, last_gate = gates.split([self.focal_level, 1], dim=-1)
        layers = cast("Iterable[tuple[nn.Conv2d, nn.GELU]]", self.focal_layers)
        local, pooled = focal_context(context, gates, [conv.weight for conv, _ in layers])
        global_context = F.gelu(pooled)[:, None, None]  # (B, 1, 1, C)
        context = torch.addcmul(local, global_context, last_gate)
        return context / (self.focal_level + 1) if self.normalize else context

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        query, _, modulator = self.parts(x)
        modulated = recomputed(torch.mul, query, modulator)
        return self.dropout(fused_linear(self.ln(modulated), self.proj.weight, self.proj.bias))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, gates and modulator: (B, H, W, C) -> (B, H, W, C), (B, H, W, L+1), (B, H, W, C)."""
        sizes = [self.dim, self.dim, self.focal_level + 1]
        projected = fused_linear(x, self.f.weight, self.f.bias)  # (B, H, W, 2C+L+1)
        query, context, gates = projected.split(sizes, dim=-1)
        context = self.gather_context(context, gates)
        return query, gates, recomputed(self._modulator, context)

    def _modulator(self, context: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C), by a product, which is faster than a 1x1 convolution."""
        return fused_linear(context, self.h.weight.flatten(1), self.h.bias)


class FeedForward(nn.Module):
    """Two linear layers with the exact GELU between: (..., C) -> (..., C)."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.dropout(feed_forward(self.fc1, self.fc2, x, self.dropout, "gelu"))


@dataclass(frozen=True)
class BlockOptions:
    """What all blocks of a FocalNet have in common; the names are those of `FocalNet`'s arguments."""

    mlp_ratio: float
    drop_rate: float
    use_postln: bool
    use_postln_in_modulation: bool
    use_layerscale: bool
    layerscale_value: float
    normalize_modulator: bool


class FocalBlock(nn.Module):
    """Focal modulation and an MLP, each with a residual connection.

    The norm stands before its branch, or with `use_postln` behind it (before layer scale and the addition).
    """

    def __init__(self, dim: int, focal_level: int, focal_window: int, drop_path: float, options: BlockOptions):
        super().__init__()
        self.use_postln = options.use_postln
        self.norm1 = nn.LayerNorm(dim)
        self.modulation = FocalModulation(
            dim,
            focal_window=focal_window,
            focal_level=focal_level,
            use_postln=options.use_postln_in_modulation,
            normalize=options.normalize_modulator,
            dropout=options.drop_rate,
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, int(dim * options.mlp_ratio), options.drop_rate)
        self.drop_path = StochasticDepth(drop_path, mode="row")
        self.gamma_1 = self.gamma_2 = None
        if options.use_layerscale:
            self.gamma_1 = nn.Parameter(torch.full((dim,), options.layerscale_value))
            self.gamma_2 = nn.Parameter(torch.full((dim,), options.layerscale_value))

    def _branch(self, layer: nn.Module, norm: nn.Module, gamma: nn.Parameter | None, x: Tensor) -> Tensor:
        y = recomputed(norm, layer(x)) if self.use_postln else layer(recomputed(norm, x))
        return self.drop_path(y if gamma is None else gamma * y)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self._branch(self.modulation, self.norm1, self.gamma_1, x)
        return x + self._branch(self.mlp, self.norm2, self.gamma_2, x)


class PatchEmbed(nn.Module):
    """Strided convolution and LayerNorm: the stem, and the step from one stage to the next."""

    def __init__(self, in_chans: int, dim: int, *, kernel: int, stride: int, padding: int = 0, norm: bool = True):
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(in_chans, dim, kernel, stride, padding)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, ceil(H / stride), ceil(W / stride), C)."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.stride, 0, -height % self.stride))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class FocalStage(nn.Module):
    """Blocks of one resolution, and the downsampling that follows them (absent in the last stage)."""

    def __init__(self, blocks: Sequence[FocalBlock], downsample: PatchEmbed | None, use_checkpoint: bool):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.use_checkpoint = use_checkpoint

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C): the blocks only; the network downsamples after it has taken its output."""
        for block in self.blocks:
            x = maybe_checkpoint(block, x, recompute=self.use_checkpoint)
        return x


@BACKBONE_REGISTRY.register()
class FocalNet(Backbone):
    """Hierarchical backbone of focal modulation blocks.

    Sizes and flags of the published networks are in `focalnet_d2.backbone.variants`.

    Args:
        embed_dim: channels C of the first stage; each stage doubles them.
        depths: blocks of each stage.
        focal_levels: depth-wise levels L of each stage.
        focal_windows: kernel size of the first focal level of each stage, odd.
        patch_size: stride of the stem.
        in_chans: channels of the image.
        mlp_ratio: hidden width of the MLP over C.
        patch_norm: LayerNorm behind the stem.
        drop_rate: dropout behind the stem, in the MLPs and behind the modulation.
        drop_path_rate: stochastic depth of the last block; grows linearly from 0 at the first.
        use_conv_embed: overlapping stem (7x7, stride 4) and downsampling (3x3, stride 2).
        stem_padding: padding of the overlapping stem: 2, or 3 in the mmdetection and mmsegmentation copies.
        use_postln: the norms of a block stand behind their branches (L, XL, H).
        use_postln_in_modulation: see `FocalModulation` (H).
        use_layerscale: learned scale of each branch (L, XL, H), starting at `layerscale_value`.
        normalize_modulator: see `FocalModulation` (L with 4 levels).
        out_features: which of res2..res5 to return, in this order; each has its own LayerNorm.
        frozen_stages: as published: >= 0 freezes the stem, n >= 2 also the first n - 1 stages; -1 nothing.
        use_checkpoint: recompute the blocks in the backward pass instead of keeping their activations.

    Raises:
        ValueError: sizes that do not fit each other, an even window, an unknown output name.
    """

    @configurable
    def __init__(
        self,
        embed_dim: int = 96,
        *,
        depths: Sequence[int] = (2, 2, 6, 2),
        focal_levels: Sequence[int] = (2, 2, 2, 2),
        focal_windows: Sequence[int] = (3, 3, 3, 3),
        patch_size: int = 4,
        in_chans: int = 3,
        mlp_ratio: float = 4.0,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        use_conv_embed: bool = False,
        stem_padding: int = 2,
        use_postln: bool = False,
        use_postln_in_modulation: bool = False,
        use_layerscale: bool = False,
        layerscale_value: float = 1e-4,
        normalize_modulator: bool = False,
        out_features: Sequence[str] = STAGE_NAMES,
        frozen_stages: int = -1,
        use_checkpoint: bool = False,
    ):
        super().__init__()
        self.embed_dim, self.patch_size = embed_dim, patch_size
        self.depths, self.focal_levels, self.focal_windows = (
            tuple(depths),
            tuple(focal_levels),
            tuple(focal_windows),
        )
        self.use_conv_embed, self.stem_padding = use_conv_embed, stem_padding
        self.use_postln, self.use_postln_in_modulation = use_postln, use_postln_in_modulation
        self.use_layerscale, self.normalize_modulator = use_layerscale, normalize_modulator
        self.frozen_stages = frozen_stages
        self.out_features = tuple(out_features)
        self._check_sizes()

        self.patch_embed = self._stem(in_chans, patch_norm)
        self.pos_drop = nn.Dropout(drop_rate)
        options = BlockOptions(
            mlp_ratio, drop_rate, use_postln, use_postln_in_modulation, use_layerscale, layerscale_value,
            normalize_modulator,
        )  # fmt: skip
        self.layers = nn.ModuleList(self._stages(options, drop_path_rate, use_checkpoint))
        for name in self.out_features:
            stage = STAGE_NAMES.index(name)
            self.add_module(f"norm{stage}", nn.LayerNorm(self.channels(stage)))
        self.apply(_init_linear)
        self._freeze()

    def _check_sizes(self) -> None:
        stages = len(self.depths)
        if not 1 <= stages <= 4 or not stages == len(self.focal_levels) == len(self.focal_windows):
            raise ValueError(
                "The arguments depths, focal_levels and focal_windows need one entry for each of 1 to 4 stages, "
                f"got {self.depths}, {self.focal_levels}, {self.focal_windows}."
            )
        if any(window % 2 == 0 for window in self.focal_windows):
            raise ValueError(f"All of focal_windows must be odd, got {self.focal_windows}.")
        unknown = [name for name in self.out_features if name not in STAGE_NAMES[:stages]]
        if unknown or not self.out_features:
            raise ValueError(f"The out_features {list(self.out_features)} must be among {list(STAGE_NAMES[:stages])}.")

    def channels(self, stage: int) -> int:
        """Channels of a stage, counted from 0."""
        return self.embed_dim * 2**stage

    def _stem(self, in_chans: int, norm: bool) -> PatchEmbed:
        if not self.use_conv_embed:
            return PatchEmbed(in_chans, self.embed_dim, kernel=self.patch_size, stride=self.patch_size, norm=norm)
        if self.patch_size != 4:
            raise ValueError(f"With use_conv_embed the stride is 4: set patch_size to 4, not {self.patch_size}.")
        return PatchEmbed(in_chans, self.embed_dim, kernel=7, stride=4, padding=self.stem_padding, norm=norm)

    def _stages(self, options: BlockOptions, drop_path_rate: float, use_checkpoint: bool) -> Iterator[FocalStage]:
        total = sum(self.depths)
        rates = [drop_path_rate * i / max(total - 1, 1) for i in range(total)]  # floats: also right on meta
        for stage, depth in enumerate(self.depths):
            dim = self.channels(stage)
            first = sum(self.depths[:stage])
            blocks = [
                FocalBlock(dim, self.focal_levels[stage], self.focal_windows[stage], rate, options)
                for rate in rates[first : first + depth]
            ]
            kernel, padding = (3, 1) if self.use_conv_embed else (2, 0)
            last = stage == len(self.depths) - 1
            downsample = None if last else PatchEmbed(dim, 2 * dim, kernel=kernel, stride=2, padding=padding)
            yield FocalStage(blocks, downsample, use_checkpoint)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        return [self.patch_embed, self.pos_drop, *self.layers[: max(self.frozen_stages - 1, 0)]]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False

    def train(self, mode: bool = True) -> "FocalNet":
        """Sets the mode of all but the frozen stages, which stay in eval mode; returns the network."""
        super().train(mode)
        self._freeze()
        return self

    def layer_depths(self) -> dict[str, int]:
        """Depth of each parameter, for rates that fall with it: 0 the stem, i the i-th block of all stages.

        What follows a stage counts with a block: its output norm with the last one, its downsampling with the next.
        """
        return {name: self._depth(name.split(".")) for name, _ in self.named_parameters()}

    def _depth(self, parts: Sequence[str]) -> int:
        """Depth of the parameter whose name has these parts: `norm2.weight`, `layers.0.blocks.1.mlp.fc1.bias`, ..."""
        if parts[0] == "layers":
            stage, before = int(parts[1]), sum(self.depths[: int(parts[1])])
            is_block = parts[2] == "blocks"
            return before + int(parts[3]) + 1 if is_block else before + self.depths[stage] + 1
        if parts[0].startswith("norm"):
            return sum(self.depths[: int(parts[0].removeprefix("norm")) + 1])
        return 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, in_chans, H, W) -> {name: (B, C * 2^i, ceil(H / stride), ceil(W / stride))} of `out_features`."""
        x = self.pos_drop(self.patch_embed(x))  # (B, H/4, W/4, C)
        features = {}
        for stage, layer in enumerate(cast("Iterable[FocalStage]", self.layers)):
            x = layer(x)
            name = STAGE_NAMES[stage]
            if name in self.out_features:
                features[name] = getattr(self, f"norm{stage}")(x).permute(0, 3, 1, 2)  # (B, C, H, W)
            if layer.downsample is not None:
                x = layer.downsample(x.permute(0, 3, 1, 2))  # (B, H/2, W/2, 2C)
        return {name: features[name] for name in self.out_features}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every output, as Detectron2's necks and heads ask for them."""
        return self.make_output_shape(self.embed_dim, out_features=self.out_features, patch_size=self.patch_size)

    @staticmethod
    def make_output_shape(
        embed_dim: int, *, out_features: Sequence[str] = STAGE_NAMES, patch_size: int = 4
    ) -> dict[str, ShapeSpec]:
        """What `output_shape` of a network with these arguments returns; for recipes, whose heads are built apart."""
        stages = {name: STAGE_NAMES.index(name) for name in out_features}
        return {
            name: ShapeSpec(channels=embed_dim * 2**stage, stride=patch_size * 2**stage)
            for name, stage in stages.items()
        }

    @classmethod
    def from_config(cls, cfg, input_shape: ShapeSpec) -> dict:
        """Arguments from `cfg.MODEL.FOCALNET`, which `focalnet_d2.yacs.add_focalnet_config` makes."""
        arguments = {name.lower(): value for name, value in cfg.MODEL.FOCALNET.items()}
        return {**arguments, "in_chans": input_shape.channels}


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear) and _has_values(module.weight):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _has_values(tensor: Tensor) -> bool:
    """Neither on meta, where drawing would take most of the time, nor a fake tensor."""
    return not tensor.is_meta and type(tensor.detach()) is Tensor
